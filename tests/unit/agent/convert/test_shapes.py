"""The shapes on which a conversion is checked, and the values that fill them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.convert.shapes import checked_shapes, noise
from hpi_agent.engines.base import TensorSpec
from hpi_core.errors import Refused

DETECTOR = [[1, 3, 32, 32], [1, 3, 736, 736], [1, 3, 4000, 4000]]
RECOGNISER = [[1, 3, 48, 160], [1, 3, 48, 320], [8, 3, 48, 3200]]
CLASSIFIER = [[1, 3, 224, 224], [1, 3, 224, 224], [8, 3, 224, 224]]
FIXED = [[1, 3, 512, 512]] * 3


@pytest.mark.parametrize(
    ("profile", "third"),
    [
        (DETECTOR, (1, 3, 352, 1088)),
        (RECOGNISER, (2, 3, 48, 480)),
        (CLASSIFIER, (2, 3, 224, 224)),
    ],
    ids=["detector", "recogniser", "classifier"],
)
def test_the_third_shape_has_other_proportions_and_another_batch_where_the_model_allows(
    profile: list[list[int]], third: tuple[int, ...]
) -> None:
    *_, last = checked_shapes({"x": profile})

    assert last == {"x": third}


def test_smallest_and_usual_shapes_come_first() -> None:
    first, second, _ = checked_shapes({"x": DETECTOR})

    assert (first, second) == ({"x": (1, 3, 32, 32)}, {"x": (1, 3, 736, 736)})


def test_a_model_that_declares_nothing_has_no_shapes_to_check() -> None:
    assert checked_shapes({}) == []


def test_a_shape_is_checked_once() -> None:
    assert checked_shapes({"x": FIXED}) == [{"x": (1, 3, 512, 512)}]


def test_all_inputs_of_a_model_get_the_same_batch() -> None:
    profile = {"image": [[1, 3, 640, 640], [1, 3, 640, 640], [8, 3, 640, 640]], "scale": [[1, 2], [1, 2], [8, 2]]}

    *_, last = checked_shapes(profile)

    assert last == {"image": (2, 3, 640, 640), "scale": (2, 2)}


sizes = st.integers(1, 4)


@given(steps=st.lists(st.tuples(st.integers(1, 64), sizes, sizes), min_size=1, max_size=5))
def test_every_checked_shape_lies_within_the_profile_in_steps_of_the_smallest(
    steps: list[tuple[int, int, int]],
) -> None:
    low = [size for size, _, _ in steps]
    middle = [size * factor for size, factor, _ in steps]
    high = [size * factor * more for size, factor, more in steps]

    for shapes in checked_shapes({"x": [low, middle, high]}):
        found = shapes["x"]
        assert all(a <= size <= b for a, size, b in zip(low, found, high, strict=True)) or found[0] in (1, 2)
        assert all(size % a == 0 for a, size in zip(low[1:], found[1:], strict=True))


@pytest.mark.parametrize(
    "profile",
    [[], [[1, 3]], [[1, 3], [1, 3, 4], [1, 3]], [[0, 3], [1, 3], [1, 3]], [[2, 3], [1, 3], [4, 3]], [[1], [3], [2]]],
    ids=["empty", "one shape", "two ranks", "zero", "smallest above usual", "usual above largest"],
)
def test_a_profile_that_is_none_is_refused(profile: list[list[int]]) -> None:
    with pytest.raises(Refused, match=r"the dynamic shapes of 'x' must be \[smallest, usual, largest\]"):
        checked_shapes({"x": profile})


SPECS = (TensorSpec("im_shape", "float32", (None, 2)), TensorSpec("image", "float32", (None, 3, None, None)))
SHAPES = {"im_shape": (1, 2), "image": (1, 3, 8, 8)}


def test_the_same_shapes_get_the_same_values() -> None:
    first, second = noise(SPECS, SHAPES), noise(SPECS, SHAPES)

    assert all(np.array_equal(first[name], second[name]) for name in SHAPES)


def test_images_are_noise_and_sizes_are_ones() -> None:
    feeds = noise(SPECS, SHAPES)

    assert feeds["im_shape"].tolist() == [[1.0, 1.0]]
    assert 0.8 < feeds["image"].std() < 1.2


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool", "uint8"])
def test_values_have_the_declared_type(dtype: str) -> None:
    feeds = noise((TensorSpec("x", dtype, (None, 3, 4)),), {"x": (2, 3, 4)})  # type: ignore[arg-type]

    assert (feeds["x"].dtype.name, feeds["x"].shape) == (dtype, (2, 3, 4))


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"image": (1, 3, 8, 8)}, "exactly the inputs"),
        ({**SHAPES, "more": (1,)}, "exactly the inputs"),
        ({**SHAPES, "image": (1, 4, 8, 8)}, "does not fit it"),
        ({**SHAPES, "image": (1, 3, 8)}, "does not fit it"),
        ({**SHAPES, "image": (0, 3, 8, 8)}, "does not fit it"),
    ],
    ids=["missing", "unknown", "size", "rank", "zero"],
)
def test_shapes_that_do_not_fit_the_declaration_are_refused(shapes: dict[str, tuple[int, ...]], said: str) -> None:
    with pytest.raises(Refused, match=said):
        noise(SPECS, shapes)
