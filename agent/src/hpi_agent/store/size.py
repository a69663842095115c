"""Sizes as people write them: `10GiB`, `500 MB`, or a plain number of bytes."""

from __future__ import annotations

import re
from typing import Final

from hpi_core.errors import Refused

_UNITS: Final = {
    "": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_SIZE: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,3}))? ?([A-Za-z]{0,3})")


def bytes_of(text: str) -> int:
    """Return a size in bytes, rounded down.

    Raises:
        Refused: The text is not a size.
    """
    matched = _SIZE.fullmatch(text.strip())
    if matched is None or matched[3] not in _UNITS:
        raise Refused(f"a size is a number with one of {[unit for unit in _UNITS if unit]} or none, got {text!r}")
    fraction = (matched[2] or "").ljust(3, "0")
    return int(matched[1] + fraction) * _UNITS[matched[3]] // 1000


def size_text(size_bytes: int) -> str:
    """Return a size for people: three digits or so, in binary units."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes >= _UNITS[unit]:
            return f"{size_bytes / _UNITS[unit]:.1f} {unit}"
    return f"{size_bytes} B"
