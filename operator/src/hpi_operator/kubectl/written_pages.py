"""Pages that are made from the code: printed, or put in the place of the old one."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def print_or_write(program: str, about: str | None, text: Callable[[], str], arguments: Sequence[str]) -> int:
    """Print a page, or write it to the file behind `-o`; return the exit code.

    Args:
        program: How the command is called.
        about: What it does, in one sentence.
        text: Makes the page.
        arguments: Of the command.
    """
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write it to FILE")
    path: Path | None = parser.parse_args(arguments).output
    if path is None:
        sys.stdout.write(text())
        return 0
    # A reader sees the old page or the new one whole.
    aside = path.with_name(f".{path.name}")
    aside.write_text(text(), encoding="utf-8")
    os.replace(aside, path)
    return 0
