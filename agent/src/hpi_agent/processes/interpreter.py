"""The command line that runs a module of ours in a child, by this interpreter or by that of another environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import hpi_agent
import hpi_core

BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.py")


def command_for(module: str, *arguments: str, interpreter: Path | None = None) -> list[str]:
    """Return the command that runs a module as a program.

    Args:
        module: Dotted name of a module of ours. For another interpreter it and all it imports must need nothing but
            the standard library and what that environment has: of `hpi_core`, not `hpi_core.api`.
        arguments: Its arguments.
        interpreter: The Python of another environment; it sees `hpi_agent` and `hpi_core` from where they lie, the
            packages of its own environment, and nothing else: no variable PYTHON*, no user site, no current directory.
            None: the Python that runs this program, with all it sees.
    """
    if interpreter is None:
        return [sys.executable, "-m", module, *arguments]
    packages = [str(Path(package.__path__[0])) for package in (hpi_agent, hpi_core)]
    # -B: that environment may lie in the store, where a file that nobody published is damage.
    return [str(interpreter), "-I", "-B", str(BOOTSTRAP), *packages, module, *arguments]
