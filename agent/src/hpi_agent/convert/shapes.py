"""The input shapes on which a conversion is checked, from what a model declares of its dynamic shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec
from hpi_core.errors import Refused

Shapes = Mapping[str, tuple[int, ...]]
"""One shape per input, by name."""

SEED: Final = 20_261_121
MAX_BATCH: Final = 2
"""Two images are enough to see a batch that is folded into another axis."""


def checked_shapes(profile: Mapping[str, Sequence[Sequence[int]]]) -> list[Shapes]:
    """Return the shapes to check: smallest, usual, and a third of other proportions and another batch.

    In the third, heights are half of the usual and widths one and a half of it, in steps of the smallest and within
    the declared bounds: swapped axes and sizes frozen by a converter show there. The largest shapes are not checked:
    a detector at 4000 x 4000 takes Paddle without oneDNN 20 s and several GB.

    Args:
        profile: For every input its smallest, usual and largest shape, as `inference.yml` declares them under `Hpi`.

    Returns:
        Two or three sets of shapes, one where all are alike, none for an empty profile.

    Raises:
        Refused: A profile is not three shapes of one rank with 1 ≤ smallest ≤ usual ≤ largest.
    """
    if not profile:
        return []
    for name, shapes in profile.items():
        _check(name, shapes)
    found: list[Shapes] = []
    for position in (0, 1):
        found.append({name: tuple(shapes[position]) for name, shapes in profile.items()})
    found.append({name: _third(*shapes) for name, shapes in profile.items()})
    return [shapes for position, shapes in enumerate(found) if shapes not in found[:position]]


def _third(smallest: Sequence[int], usual: Sequence[int], largest: Sequence[int]) -> tuple[int, ...]:
    shape = [min(MAX_BATCH, largest[0])] if usual else []
    for axis in range(1, len(usual)):
        low, middle, high = smallest[axis], usual[axis], largest[axis]
        wanted = middle * 3 // 2 if axis == len(usual) - 1 else middle // 2
        shape.append(max(low, min(wanted, high) // low * low))
    return tuple(shape)


def _check(name: str, shapes: Sequence[Sequence[int]]) -> None:
    sound = (
        len(shapes) == 3
        and len({len(shape) for shape in shapes}) == 1
        and all(1 <= low <= middle <= high for low, middle, high in zip(*shapes, strict=True))
    )
    if not sound:
        raise Refused(
            f"the dynamic shapes of {name!r} must be [smallest, usual, largest] of one rank, each at least 1 and not "
            f"below the one before, got {[list(shape) for shape in shapes]}"
        )


def noise(specs: Sequence[TensorSpec], shapes: Shapes) -> dict[str, NDArray[Any]]:
    """Return seeded values of the given shapes: standard normal for images, ones for vectors of sizes and scales.

    Args:
        specs: What the model declares of its inputs.
        shapes: The shape of every input.

    Raises:
        Refused: The names differ, or a shape does not fit the declaration.
    """
    declared = [spec.name for spec in specs]
    if set(declared) != set(shapes):
        raise Refused(f"shapes must be given for exactly the inputs {declared}, got {sorted(shapes)}")
    generator = np.random.default_rng(SEED)
    feeds: dict[str, NDArray[Any]] = {}
    for spec in specs:
        shape = tuple(shapes[spec.name])
        fits = len(shape) == len(spec.shape) and all(
            size >= 1 and wanted in (None, size) for size, wanted in zip(shape, spec.shape, strict=False)
        )
        if not fits:
            raise Refused(f"input {spec.name!r} is declared as {spec.shape}, the shape {shape} does not fit it")
        is_image = len(shape) > 2 and spec.dtype.startswith("float")
        values = generator.standard_normal(shape) if is_image else np.ones(shape)
        feeds[spec.name] = values.astype(spec.dtype)
    return feeds
