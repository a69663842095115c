"""Ranges of input shapes as `inference.yml` and the settings of a backend write them, checked; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hpi_core.errors import Refused

Shape = tuple[int, ...]
Shapes = tuple[Shape, Shape, Shape]
"""Smallest, usual and largest shape of one input."""
Profile = Mapping[str, Shapes]

MAX_INPUTS: Final = 64
MAX_RANK: Final = 8
MAX_DIMENSION: Final = 2**20


def read_profile(place: str, written: Any) -> dict[str, Shapes]:
    """Return the shapes of each input.

    Args:
        place: What to call them in messages.
        written: By input a list of three shapes: smallest, usual, largest.

    Raises:
        Refused: They are malformed.
    """
    if not isinstance(written, Mapping) or len(written) > MAX_INPUTS:
        raise malformed(place, written, f"a mapping of at most {MAX_INPUTS} inputs")
    return {str(name): _read_shapes(f"{place}.{name}", shapes) for name, shapes in written.items()}


def _read_shapes(place: str, written: Any) -> Shapes:
    if not isinstance(written, list) or len(written) != 3:
        raise malformed(place, written, "three shapes: smallest, usual, largest")
    smallest, usual, largest = (_read_shape(place, shape) for shape in written)
    if not len(smallest) == len(usual) == len(largest):
        raise malformed(place, written, "three shapes of one rank")
    if not all(low <= middle <= high for low, middle, high in zip(smallest, usual, largest, strict=True)):
        raise malformed(place, written, "smallest <= usual <= largest in every dimension")
    return smallest, usual, largest


def _read_shape(place: str, written: Any) -> Shape:
    if not isinstance(written, list) or len(written) > MAX_RANK:
        raise malformed(place, written, f"shapes of at most {MAX_RANK} dimensions")
    if not all(type(size) is int and 1 <= size <= MAX_DIMENSION for size in written):
        raise malformed(place, written, f"whole dimensions from 1 to {MAX_DIMENSION}")
    return tuple(written)


def malformed(place: str, seen: Any, allowed: str) -> Refused:
    """Return the error that says what was seen at a place and what is allowed there."""
    return Refused(f"{place}: must be {allowed}, got {_short(seen)}; correct it or leave it out")


def _short(seen: Any) -> str:
    text = repr(seen)
    return text if len(text) <= 120 else text[:119] + "…"
