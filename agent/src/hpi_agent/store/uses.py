"""Who uses an entry, and in what order entries were used.

Order is told by numbers and never by time: a clock that was set back must not make the newest engine the first to go.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

_DIGITS: Final = 20
"""Every number has as many, so that one is written over another in one piece."""


def number_use(path: Path, descriptor: int) -> None:
    """Give an entry the next number; it is now the one used last.

    Args:
        path: The file `uses/<label>`.
        descriptor: Of that file.
    """
    number = 1 + max(use_numbers(path.parent).values(), default=0)
    # Where nothing can be written nothing is collected either, so the order there is of no use to anybody.
    with contextlib.suppress(OSError):
        os.pwrite(descriptor, b"%0*d\n" % (_DIGITS, number), 0)


def use_numbers(folder: Path) -> dict[str, int]:
    """Return the number of the last use of every entry, by its label; an entry never used has none, or 0."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {name: _read_number(folder / name) for name in names}


def _read_number(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        text = os.read(descriptor, _DIGITS)
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    # A power failure can leave an empty file: its entry counts as used long ago.
    return int(text) if text.isdigit() else 0
