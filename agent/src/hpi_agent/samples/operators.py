"""The steps that an `inference.yml` lists before inference: which there are, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from hpi_core.errors import Refused

Colours = Literal["BGR", "RGB"]
"""Order of a picture's channels in the tensor."""

MAX_OPERATORS: Final = 64
MAX_SIDE: Final = 2**14
"""Longest side of a tensor that a picture is prepared for. Unit: pixels."""

WHERE: Final = "inference.yml PreProcess.transform_ops"


class UnknownPreparation(Refused):
    """Nobody here knows how PaddleX prepares a picture for the model."""


def read_operators(inference: Mapping[str, Any], known: frozenset[str]) -> dict[str, Mapping[str, Any]]:
    """Return the arguments of every operator by its name.

    Args:
        inference: The parsed `inference.yml`.
        known: The operators that PaddleX's predictor of the family has.

    Raises:
        UnknownPreparation: There are no operators, or there is one that PaddleX's predictor does not have.
        Refused: The list is malformed.
    """
    part = inference.get("PreProcess")
    written = part.get("transform_ops") if isinstance(part, Mapping) else None
    if written is None:
        raise UnknownPreparation(f"{WHERE} is not there")
    if not isinstance(written, list) or len(written) > MAX_OPERATORS:
        raise Refused(f"{WHERE}: must be a list of at most {MAX_OPERATORS} operators; correct inference.yml")
    operators: dict[str, Mapping[str, Any]] = {}
    for entry in written:
        if not isinstance(entry, Mapping) or len(entry) != 1:
            raise Refused(f"{WHERE}: each must be one mapping NAME: arguments, got {str(entry)[:80]!r}")
        [(name, arguments)] = entry.items()
        if name not in known:
            raise UnknownPreparation(f"{WHERE} has {str(name)[:80]!r}; known for this task: {sorted(known)}")
        if not isinstance(arguments, Mapping | None):
            raise Refused(f"{WHERE} {name}: must be a mapping or null, got {str(arguments)[:80]!r}")
        operators[name] = arguments or {}
    return operators


def read_colours(operators: Mapping[str, Mapping[str, Any]]) -> Colours:
    """Return the order of channels: RGB unless `DecodeImage` says otherwise.

    Raises:
        UnknownPreparation: It wants grey pictures, or channels before the rows.
    """
    arguments = operators.get("DecodeImage")
    if arguments is None:
        return "RGB"
    mode = arguments.get("img_mode")
    if mode not in ("BGR", "RGB") or arguments.get("channel_first", False) is not False:
        raise UnknownPreparation(f"{WHERE} DecodeImage: known are img_mode BGR and RGB, rows first; got {arguments}")
    return "BGR" if mode == "BGR" else "RGB"


def read_side(where: str, written: Any) -> int:
    """Return a side in pixels.

    Raises:
        Refused: It is no whole number within bounds.
    """
    if type(written) is not int or not 1 <= written <= MAX_SIDE:
        raise Refused(f"{where}: must be a whole number of pixels from 1 to {MAX_SIDE}, got {str(written)[:80]!r}")
    return written


def read_sides(where: str, written: Any, count: int) -> tuple[int, ...]:
    """Return a list of sides in pixels.

    Raises:
        Refused: It is not a list of that many whole numbers within bounds.
    """
    if not isinstance(written, list) or len(written) != count:
        raise Refused(f"{where}: must be a list of {count} whole numbers, got {str(written)[:80]!r}")
    return tuple(read_side(where, side) for side in written)
