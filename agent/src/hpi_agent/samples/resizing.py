"""Resize pictures as the library behind PaddleX's pipelines does, without that library.

Pillow's bilinear filter averages over the pixels that it drops; OpenCV's does not. The filter here is OpenCV's, off by
at most one grey level, because OpenCV rounds its weights to 11 bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

STRIDE: Final = 32
"""Sides of a page are multiples of this: a detector halves it five times."""

Size = tuple[int, int]
"""Width and height. Unit: pixels."""


def resize(picture: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """Return a picture in another size, interpolated between the four nearest pixels.

    Args:
        picture: Shape (height, width, 3).
        size: Width and height, each at least 1.

    Source:
        OpenCV 4.10, `resize` with INTER_LINEAR: pixel centres lie at half-integers, the border repeats.
    """
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    left, right, part_x = _neighbours(width, size[0])
    upper, lower, part_y = _neighbours(height, size[1])
    resized = np.empty((size[1], size[0], picture.shape[2]), dtype=np.uint8)
    for channel in range(picture.shape[2]):
        # One channel at a time: a large photograph in float32 would be twelve bytes a pixel, several times over.
        plane = picture[:, :, channel]
        rows = plane[upper] * (1 - part_y)[:, None] + plane[lower] * part_y[:, None]
        resized[:, :, channel] = np.rint(rows[:, left] * (1 - part_x) + rows[:, right] * part_x)
    return resized


def _neighbours(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the two old pixels around each new one, and how near it is to the second, 0 to 1."""
    centres = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    first = np.floor(centres).astype(np.int64)
    return first, np.minimum(first + 1, old - 1), (centres - first).astype(np.float32)


@dataclass(frozen=True)
class PageLimits:
    """How PaddleX bounds the sides of a page before text is looked for in it."""

    side: int
    """What the shorter side is raised to (`min`), the longer one is lowered to (`max`), or the longer one is made
    (`resize_long`). Unit: pixels."""
    kind: Literal["min", "max", "resize_long"]
    longest: int = 4000
    """No side gets longer than this. Unit: pixels."""

    def size(self, width: int, height: int) -> Size:
        """Return the size of a page for the detector.

        Source:
            paddlex 3.7.2, `DetResizeForTest.resize_image_type0`.
        """
        ratio = self._ratio(width, height)
        new_width, new_height = int(width * ratio), int(height * ratio)
        if max(new_width, new_height) > self.longest:
            ratio = self.longest / max(new_width, new_height)
            new_width, new_height = int(new_width * ratio), int(new_height * ratio)
        return _to_stride(new_width), _to_stride(new_height)

    def _ratio(self, width: int, height: int) -> float:
        if self.kind == "resize_long":
            return self.side / max(width, height)
        if self.kind == "max":
            return min(1.0, self.side / max(width, height))
        return max(1.0, self.side / min(width, height))


def _to_stride(side: int) -> int:
    return max(round(side / STRIDE) * STRIDE, STRIDE)


def line_width(width: int, height: int, line_height: int, usual_width: int, longest: int) -> tuple[int, int]:
    """Return the width of a line of text after resizing, and of the tensor it is padded to.

    Args:
        width: Of the picture. Unit: pixels.
        height: Of the picture. Unit: pixels.
        line_height: Of the tensor. Unit: pixels.
        usual_width: The narrowest tensor. Unit: pixels.
        longest: The widest tensor. Unit: pixels.

    Source:
        paddlex 3.7.2, `OCRReisizeNormImg`.
    """
    ratio = width / height
    padded = int(line_height * max(usual_width / line_height, ratio))
    if padded > longest:
        return longest, longest
    return min(padded, math.ceil(line_height * ratio)), padded
