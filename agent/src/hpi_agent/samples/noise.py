"""Seeded noise at the declared shapes, for models that nobody knows a picture for.

Answers on noise say nothing about texts or classes, so engines can only be compared by their numbers on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec, format_shape
from hpi_agent.samples.profile import Profile, Shape
from hpi_agent.samples.sample import Sample
from hpi_core.errors import Refused

NOISE_VERSION: Final = 1
"""Raised when the same seed and shapes give other numbers; a part of the samples' digest."""

MAX_INPUT_ELEMENTS: Final = 2**22
"""Elements of one input in the largest sample: four pictures of a megapixel in one colour."""
MAX_DECLARED_ELEMENTS: Final = 2**26
"""Elements of one input that a declared smallest or usual shape may have; no smaller one would be true to it."""
SHRINKING_STEPS: Final = 64
DIVISOR: Final = 32
"""Shrunken sides stay multiples of this where the model's own sides are: networks halve pictures five times."""
SMALL_INTEGERS: Final = 10

USUAL_SAMPLES: Final = 3

InputData = Mapping[str, tuple[tuple[float, ...], ...]]


def noise_samples(
    specs: Sequence[TensorSpec], profile: Profile, input_data: InputData, seed: int
) -> tuple[Sample, ...]:
    """Return samples at the smallest, the usual and a bounded largest shape, the same for the same seed.

    Args:
        specs: The inputs that the model file declares.
        profile: Smallest, usual and largest shape of each.
        input_data: Three rows of values for inputs that are not pictures; see `declared_input_data`.
        seed: At least 0.

    Raises:
        Refused: A smallest or usual shape has too many elements.
    """
    smallest, usual, _ = ({spec.name: profile[spec.name][stage] for spec in specs} for stage in range(3))
    for name, shape in (*smallest.items(), *usual.items()):
        if math.prod(shape) > MAX_DECLARED_ELEMENTS:
            raise Refused(
                f"the input {name!r} has the declared shape {format_shape(shape)} of {math.prod(shape)} elements; "
                f"at most {MAX_DECLARED_ELEMENTS} are rendered as noise; declare smaller shapes, or give samples"
            )
    largest = bounded_largest(profile, specs)
    stages = [("smallest", 0, smallest), *[("usual", 1, usual)] * USUAL_SAMPLES, ("largest", 2, largest)]
    if smallest == usual == largest:
        stages = stages[1:-1]
    return tuple(
        Sample(
            f"noise {number} at the {stage} shape, " + ", ".join(f"{n} {format_shape(s)}" for n, s in shapes.items()),
            dict(_feeds(specs, shapes, {name: rows[row] for name, rows in input_data.items()}, (seed, number))),
        )
        for number, (stage, row, shapes) in enumerate(stages)
    )


def bounded_largest(profile: Profile, specs: Sequence[TensorSpec]) -> dict[str, Shape]:
    """Return the largest shapes with at most `MAX_INPUT_ELEMENTS` each, all shrunken towards the usual ones alike.

    The inputs shrink together, so that a batch stays the same batch in all of them. Usual shapes are never shrunken.
    """
    for step in range(SHRINKING_STEPS, 0, -1):
        shapes = {spec.name: _between(profile[spec.name], step / SHRINKING_STEPS) for spec in specs}
        if all(math.prod(shape) <= MAX_INPUT_ELEMENTS for shape in shapes.values()):
            return shapes
    return {spec.name: profile[spec.name][1] for spec in specs}


def _between(shapes: tuple[Shape, Shape, Shape], part: float) -> Shape:
    _, usual, largest = shapes
    return tuple(_side(low, high, part) for low, high in zip(usual, largest, strict=True))


def _side(usual: int, largest: int, part: float) -> int:
    size = int(usual * (largest / usual) ** part)
    if usual % DIVISOR == 0 and largest % DIVISOR == 0:
        size -= size % DIVISOR
    return min(max(size, usual), largest)


def _feeds(
    specs: Sequence[TensorSpec],
    shapes: Mapping[str, Shape],
    values: Mapping[str, tuple[float, ...]],
    seed: tuple[int, int],
) -> Iterator[tuple[str, NDArray[Any]]]:
    for index, spec in enumerate(specs):
        shape = shapes[spec.name]
        if spec.name in values:
            # A shrunken batch takes the first rows: the declared ones are the same for every picture.
            flat = np.resize(np.array(values[spec.name]), math.prod(shape))
            yield spec.name, flat.reshape(shape).astype(spec.dtype)
        elif spec.name == "im_shape":
            yield spec.name, np.resize(_picture_sides(specs, shapes), shape).astype(spec.dtype)
        elif spec.name == "scale_factor":
            yield spec.name, np.ones(shape, dtype=spec.dtype)
        else:
            yield spec.name, _random(np.random.default_rng([*seed, index]), spec.dtype, shape)


def _picture_sides(specs: Sequence[TensorSpec], shapes: Mapping[str, Shape]) -> Shape:
    """Return height and width of the first picture among the inputs."""
    return next((shapes[spec.name][-2:] for spec in specs if len(spec.shape) == 4), (1, 1))


def _random(generator: np.random.Generator, dtype: str, shape: Shape) -> NDArray[Any]:
    if dtype.startswith("float"):
        # Normalised pictures have about this spread.
        return generator.standard_normal(shape, dtype=np.float32).astype(dtype)
    return generator.integers(0, 2 if dtype == "bool" else SMALL_INTEGERS, shape).astype(dtype)
