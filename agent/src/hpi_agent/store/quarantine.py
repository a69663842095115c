"""Where damaged things go: kept for a person to look at, with the reason beside them, and few of them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Final

MAX_QUARANTINED: Final = 8
"""Most things kept; the oldest goes first."""

REASON: Final = ".reason"


def put_in_quarantine(root: Path, path: Path, label: str, problem: str) -> Path:
    """Move something damaged out of the way and return where it lies now.

    Raises:
        OSError: It cannot be moved.
    """
    folder = root / "quarantine"
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((_number(name) for name in os.listdir(folder)), default=0)
    place = folder / f"{number:08d}-{label[:32]}-{secrets.token_hex(4)}"
    path.rename(place)
    # On a full disk the reason may be lost here; it has been logged as well.
    with contextlib.suppress(OSError):
        place.with_name(place.name + REASON).write_text(problem + "\n", encoding="utf-8")
        for old in quarantined(root)[:-MAX_QUARANTINED]:
            remove_quarantined(old)
    return place


def quarantined(root: Path) -> list[Path]:
    """Return what is in quarantine, in the order in which it came."""
    try:
        names = os.listdir(root / "quarantine")
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [root / "quarantine" / name for name in sorted(names, key=_order) if not name.endswith(REASON)]


def reason_of(path: Path) -> str:
    """Return why something is in quarantine."""
    try:
        return path.with_name(path.name + REASON).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return "no reason was written down"


def remove_quarantined(path: Path) -> None:
    """Delete something from quarantine, with its reason.

    Raises:
        OSError: It cannot be deleted.
    """
    path.with_name(path.name + REASON).unlink(missing_ok=True)
    remove_anything(path)


def remove_anything(path: Path) -> None:
    """Delete a file, a link or a directory; what is gone already is no error.

    Raises:
        OSError: It cannot be deleted.
    """
    while path.is_dir() and not path.is_symlink():
        # Where two processes delete the same thing, each finds that the other was faster, and goes on.
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _order(name: str) -> tuple[int, str]:
    return _number(name), name


def _number(name: str) -> int:
    digits = name.split("-", 1)[0]
    return int(digits) if digits.isdecimal() else 0
