"""From the bytes of a picture to the numbers a network was trained on, as PaddleX's `NormalizeImage` does it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_core.errors import Refused

Channels = tuple[float, float, float]

IMAGENET_MEAN: Final[Channels] = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Final[Channels] = (0.229, 0.224, 0.225)
"""What PaddleX takes where `inference.yml` says nothing (paddlex 3.7.2), in the order of the picture's channels."""

_NUMBER: Final = r"[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?"
_FRACTION: Final = re.compile(rf"\s*({_NUMBER})\s*(?:/\s*({_NUMBER})\s*)?")
MAX_SCALE_CHARACTERS: Final = 64


@dataclass(frozen=True)
class Normalisation:
    """Per channel: (value * scale - mean) / deviation."""

    scale: float
    mean: Channels
    deviation: Channels

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the tensor of a picture.

        Args:
            picture: Shape (height, width, 3).

        Returns:
            Shape (3, height, width).
        """
        factor = np.array([self.scale / deviation for deviation in self.deviation], dtype=np.float32)
        offset = np.array(
            [-mean / deviation for mean, deviation in zip(self.mean, self.deviation, strict=True)], dtype=np.float32
        )
        tensor = picture.astype(np.float32) * factor + offset
        return np.ascontiguousarray(tensor.transpose(2, 0, 1))


RECOGNITION: Final = Normalisation(1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
"""What PaddleX does to every line of text, whatever `inference.yml` says: -1 is black, 1 is white."""


def read_normalisation(where: str, arguments: Mapping[str, Any]) -> Normalisation:
    """Return what the arguments of `NormalizeImage` say.

    Raises:
        Refused: A value is not what PaddleX's operator takes.
    """
    deviation = _channels(f"{where}.std", arguments.get("std"), IMAGENET_DEVIATION)
    if 0.0 in deviation:
        raise Refused(f"{where}.std: must not contain 0, got {list(deviation)}; correct inference.yml")
    return Normalisation(
        read_scale(f"{where}.scale", arguments.get("scale")),
        _channels(f"{where}.mean", arguments.get("mean"), IMAGENET_MEAN),
        deviation,
    )


def read_scale(where: str, written: Any) -> float:
    """Return a scale, written as a number or as a fraction such as `1./255.`; PaddleX evaluates it as Python.

    Raises:
        Refused: It is neither.
    """
    if written is None:
        return 1 / 255
    if isinstance(written, int | float) and not isinstance(written, bool) and math.isfinite(written):
        return float(written)
    if isinstance(written, str) and len(written) <= MAX_SCALE_CHARACTERS:
        fraction = _FRACTION.fullmatch(written)
        if fraction is not None:
            above, below = float(fraction[1]), float(fraction[2] or 1)
            if below and math.isfinite(above / below):
                return above / below
    raise Refused(
        f"{where}: must be a number or a fraction such as '1./255.', got {str(written)[:80]!r}; correct inference.yml"
    )


def _channels(where: str, written: Any, default: Channels) -> Channels:
    if written is None:
        return default
    values = [written] * 3 if isinstance(written, int | float) else written
    if not (
        isinstance(values, list)
        and len(values) == 3
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        and all(math.isfinite(value) for value in values)
    ):
        raise Refused(f"{where}: must be three finite numbers, got {str(written)[:80]!r}; correct inference.yml")
    first, second, third = (float(value) for value in values)
    return first, second, third
