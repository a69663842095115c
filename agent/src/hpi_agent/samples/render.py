"""Rendered inputs of a task family, in the mix of shapes that its models meet in real traffic.

Source:
    Which shapes: pages of A4 at 100 dots per inch, screens of 1280 x 720, small scans and receipts, resized as the
    pipeline would; lines in batches of the pipeline's size, padded to the widest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec, format_shape
from hpi_agent.samples.drawing import font_identity
from hpi_agent.samples.lines import batches, render_lines
from hpi_agent.samples.pages import render_pages
from hpi_agent.samples.pictures import render_figures
from hpi_agent.samples.preparation import (
    LinePreparation,
    PagePreparation,
    PicturePreparation,
    Preparation,
)
from hpi_agent.samples.profile import Profile, Shapes
from hpi_agent.samples.resizing import STRIDE, Size
from hpi_agent.samples.sample import Sample
from hpi_core.errors import Refused

RENDERER_VERSION: Final = 1
"""Raised when the same seed gives other pictures; a part of the samples' digest."""

SINGLE_PICTURES: Final = 16
"""Pictures that a classifier gets one at a time, where it takes batches; the others come in one batch."""
MAX_PICTURE_BATCH: Final = 8
FREE_PICTURE: Final[Size] = (288, 224)
"""Size of pictures where the model takes any. Unit: pixels."""


def rendered_samples(spec: TensorSpec, profile: Profile, preparation: Preparation, seed: int) -> tuple[Sample, ...]:
    """Return the rendered samples of a model with one input, the same for the same seed.

    Raises:
        Refused: What `inference.yml` prepares does not fit what the model file declares.
    """
    shapes = profile[spec.name]
    if isinstance(preparation, PagePreparation):
        tensors = _pages(preparation, shapes, seed)
    elif isinstance(preparation, LinePreparation):
        tensors = _lines(preparation, shapes, seed)
    else:
        tensors = _figures(preparation, shapes, seed)
    return tuple(sample_of(spec, label, tensor) for label, tensor in tensors)


def sample_of(spec: TensorSpec, label: str, tensor: NDArray[Any]) -> Sample:
    """Return a sample of one tensor.

    Raises:
        Refused: The model file declares another shape than `inference.yml` prepares.
    """
    fits = len(spec.shape) == tensor.ndim and all(
        wanted in (None, size) for size, wanted in zip(tensor.shape, spec.shape, strict=True)
    )
    if not fits:
        raise Refused(
            f"{label}: inference.yml prepares pictures as {format_shape(tensor.shape)}; the input {spec.name!r} of the "
            f"model file has the shape {format_shape(spec.shape)}, where ? is free; correct inference.yml, or export "
            "the model again"
        )
    return Sample(f"{label}, {format_shape(tensor.shape)}", {spec.name: tensor})


def filled(tensor: NDArray[np.float32], fewest: int) -> NDArray[np.float32]:
    """Return a batch, filled up with its own pictures to the fewest that the model takes."""
    if len(tensor) >= fewest:
        return tensor
    return np.resize(tensor, (fewest, *tensor.shape[1:]))


def page_sides(shapes: Shapes) -> tuple[Size, Size]:
    """Return the smallest and the largest page (width, height) that a detector takes, in whole strides where it can."""
    smallest, _, largest = shapes
    (low_height, low_width), (high_height, high_width) = smallest[2:], largest[2:]
    return (low_width, low_height), (_whole(low_width, high_width), _whole(low_height, high_height))


def _whole(low: int, high: int) -> int:
    return max(low, high - high % STRIDE)


def _pages(preparation: PagePreparation, shapes: Shapes, seed: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    smallest, largest = page_sides(shapes)
    for number, page in enumerate(render_pages(seed), 1):
        tensor = preparation.tensor(page.picture, smallest, largest)
        yield f"page {number} ({page.name})", filled(tensor, shapes[0][0])


def _lines(preparation: LinePreparation, shapes: Shapes, seed: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    most, longest = shapes[2][0], shapes[2][3]
    for number, page in enumerate(render_lines(seed), 1):
        for part, lines in enumerate(batches(page, min(preparation.batch, most)), 1):
            tensor = preparation.tensor([line.picture for line in lines], longest)
            yield f"lines of page {number}, batch {part}", filled(tensor, shapes[0][0])


def _figures(preparation: PicturePreparation, shapes: Shapes, seed: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    fewest, most = shapes[0][0], shapes[2][0]
    width, height = preparation.size or FREE_PICTURE
    # Half as large again, so that resizing and cutting have something to do.
    figures = render_figures(seed, (width * 3 // 2, height * 3 // 2))
    tensors = [preparation.tensor(figure.picture) for figure in figures]
    singles = SINGLE_PICTURES if fewest == 1 else 0
    if fewest == most == 1:
        singles = len(figures)
    for number, tensor in enumerate(tensors[:singles]):
        yield f"picture {number + 1} ({figures[number].name})", tensor
    yield from _picture_batches(tensors[singles:], max(fewest, min(most, MAX_PICTURE_BATCH)))


def _picture_batches(tensors: Sequence[NDArray[np.float32]], size: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for start in range(0, len(tensors), size):
        yield f"batch of {size} pictures", filled(np.concatenate(tensors[start : start + size]), size)


def renderer_identity(seed: int) -> dict[str, Any]:
    """Return what rendered pictures depend on beside the model."""
    return {"version": RENDERER_VERSION, "seed": seed, "font": font_identity()}
