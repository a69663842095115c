"""How PaddleX turns a picture into the tensor of a model, per task family.

Source:
    paddlex 3.7.2, `inference/models/{text_detection,text_recognition,image_classification}/processors.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.samples.normalisation import RECOGNITION, Normalisation
from hpi_agent.samples.operators import MAX_SIDE, Colours
from hpi_agent.samples.resizing import PageLimits, Size, line_width, resize
from hpi_core.errors import Refused

Picture = NDArray[np.uint8]
"""Red, green and blue, shape (height, width, 3), 0 to 255."""
Tensor = NDArray[np.float32]

SMALLEST_PAGE: Final = 64
"""Pages whose sides add up to less are padded with black to 32 x 32. Unit: pixels."""


@dataclass(frozen=True)
class PagePreparation:
    """For text detection: a page of any size, resized within limits."""

    colours: Colours
    normalisation: Normalisation
    limits: PageLimits
    exact: Size | None
    """Every page gets this size; None: as the limits say."""

    def tensor(self, page: Picture, smallest: Size = (1, 1), largest: Size = (MAX_SIDE, MAX_SIDE)) -> Tensor:
        """Return the tensor of one page, shape (1, 3, height, width), within the sides that the model takes."""
        padded = _padded(page)
        width, height = self.exact or (
            min(max(side, low), high)
            for side, low, high in zip(
                self.limits.size(padded.shape[1], padded.shape[0]), smallest, largest, strict=True
            )
        )
        return self.normalisation.apply(_ordered(resize(padded, (width, height)), self.colours))[None]


@dataclass(frozen=True)
class LinePreparation:
    """For text recognition: one line, resized to a height and padded to the width of its batch."""

    colours: Colours
    height: int
    usual_width: int
    """Narrower lines are padded to it. Unit: pixels."""
    exact_width: int | None
    """Every line is stretched to it; None: lines keep their shape."""
    batch: int
    """Lines in one call, at most."""

    def tensor(self, lines: Sequence[Picture], longest: int = 3200) -> Tensor:
        """Return the tensor of one batch, shape (lines, 3, height, width of the widest)."""
        tensors = [self._line(line, longest) for line in lines]
        width = max(tensor.shape[2] for tensor in tensors)
        return np.stack([np.pad(tensor, ((0, 0), (0, 0), (0, width - tensor.shape[2]))) for tensor in tensors])

    def _line(self, line: Picture, longest: int) -> Tensor:
        height, width = line.shape[:2]
        if self.exact_width is not None:
            drawn = padded = self.exact_width
        else:
            drawn, padded = line_width(width, height, self.height, self.usual_width, longest)
        tensor = RECOGNITION.apply(_ordered(resize(line, (drawn, self.height)), self.colours))
        return np.pad(tensor, ((0, 0), (0, 0), (0, padded - drawn)))


@dataclass(frozen=True)
class PicturePreparation:
    """For classification: a picture of one size."""

    colours: Colours
    normalisation: Normalisation
    shorter_side: int | None
    """The picture is resized so that its shorter side has this length. Unit: pixels."""
    exact: Size | None
    """Or to exactly this size."""
    crop: Size | None
    """Its middle is cut out in this size."""
    filter: str
    """`opencv linear`, or `pillow` and the name of one of Pillow's filters."""

    @property
    def size(self) -> Size | None:
        """Width and height of the tensor; None: they depend on the picture."""
        return self.crop or self.exact

    def tensor(self, picture: Picture) -> Tensor:
        """Return the tensor of one picture, shape (1, 3, height, width).

        Raises:
            Refused: The picture is smaller than what is cut out of it.
        """
        resized = self._resized(picture)
        if self.crop is not None:
            resized = _middle(resized, self.crop)
        return self.normalisation.apply(_ordered(resized, self.colours))[None]

    def _resized(self, picture: Picture) -> Picture:
        height, width = picture.shape[:2]
        if self.exact is not None:
            size = self.exact
        elif self.shorter_side is not None:
            scale = self.shorter_side / min(width, height)
            size = (round(width * scale), round(height * scale))
        else:
            size = (width, height)
        library, _, name = self.filter.partition(" ")
        if library == "opencv":
            return resize(picture, size)
        # Inside, because a server's start reads preparations and prepares nothing.
        from PIL import Image

        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling[name.upper()]))


Preparation = PagePreparation | LinePreparation | PicturePreparation


def _ordered(picture: Picture, colours: Colours) -> Picture:
    return picture[:, :, ::-1] if colours == "BGR" else picture


def _padded(page: Picture) -> Picture:
    height, width = page.shape[:2]
    if height + width >= SMALLEST_PAGE:
        return page
    padded = np.zeros((max(32, height), max(32, width), 3), dtype=np.uint8)
    padded[:height, :width] = page
    return padded


def _middle(picture: Picture, size: Size) -> Picture:
    height, width = picture.shape[:2]
    if width < size[0] or height < size[1]:
        raise Refused(f"a picture of {width} x {height} pixels after resizing is smaller than the {size} cut out of it")
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    return picture[top : top + size[1], left : left + size[0]]
