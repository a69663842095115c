from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.engines.base import TensorSpec, check_feeds
from hpi_agent.samples.noise import MAX_DECLARED_ELEMENTS, MAX_INPUT_ELEMENTS, bounded_largest, noise_samples
from hpi_agent.samples.profile import Shapes
from hpi_core.errors import Refused
from support.model_inputs import spec

X = spec("x", None, 3, None, None)
DETECTOR: Shapes = ((1, 3, 32, 32), (1, 3, 736, 736), (1, 3, 4000, 4000))


def test_noise_has_the_smallest_the_usual_and_a_bounded_largest_shape() -> None:
    samples = noise_samples([X], {"x": DETECTOR}, {}, 1)

    shapes = [sample.feeds["x"].shape for sample in samples]

    assert shapes == [(1, 3, 32, 32), *[(1, 3, 736, 736)] * 3, (1, 3, 1152, 1152)]
    assert "smallest shape, x (1, 3, 32, 32)" in samples[0].label


def test_a_model_with_one_shape_gets_three_samples_that_differ() -> None:
    first, second, third = noise_samples([X], {"x": ((1, 3, 8, 8),) * 3}, {}, 1)

    assert not np.array_equal(first.feeds["x"], second.feeds["x"])
    assert not np.array_equal(second.feeds["x"], third.feeds["x"])


def test_noise_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    arrays = [[sample.feeds["x"] for sample in noise_samples([X], {"x": DETECTOR}, {}, seed)] for seed in (1, 1, 2)]

    assert all(np.array_equal(one, other) for one, other in zip(arrays[0], arrays[1], strict=True))
    assert not np.array_equal(arrays[0][0], arrays[2][0])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "uint64"])
def test_integers_are_small_and_not_negative(dtype: str) -> None:
    declared = TensorSpec("ids", dtype, (None, 64))  # type: ignore[arg-type]

    samples = noise_samples([declared], {"ids": ((1, 64), (1, 64), (8, 64))}, {}, 1)

    largest = samples[-1].feeds["ids"]
    assert largest.dtype == dtype
    assert 0 <= int(largest.min()) < int(largest.max()) <= 9


def test_what_a_picture_is_told_of_itself_is_its_size_and_no_scaling() -> None:
    specs = [spec("im_shape", None, 2), X, spec("scale_factor", None, 2)]
    profile = {"im_shape": ((1, 2),) * 3, "x": ((1, 3, 64, 96),) * 3, "scale_factor": ((1, 2),) * 3}

    feeds = noise_samples(specs, profile, {}, 1)[0].feeds

    assert (feeds["im_shape"].tolist(), feeds["scale_factor"].tolist()) == ([[64.0, 96.0]], [[1.0, 1.0]])


def test_declared_values_are_taken_row_by_row_even_where_the_batch_is_shrunken() -> None:
    specs = [spec("scale_factor", None, 2), X]
    profile = {"scale_factor": ((1, 2), (1, 2), (8, 2)), "x": ((1, 3, 800, 800), (1, 3, 800, 800), (8, 3, 800, 800))}
    data = {"scale_factor": ((2.0, 2.0), (1.0, 1.0), (0.67,) * 16)}

    samples = noise_samples(specs, profile, data, 1)

    assert [sample.feeds["scale_factor"].tolist() for sample in samples[:2]] == [[[2.0, 2.0]], [[1.0, 1.0]]]
    assert np.unique(samples[-1].feeds["scale_factor"]) == np.float32(0.67)
    assert len(samples[-1].feeds["scale_factor"]) == len(samples[-1].feeds["x"]) == 2


def test_the_largest_declared_shape_is_given_and_one_more_is_refused() -> None:
    row = spec("x", None)
    largest, beyond = (MAX_DECLARED_ELEMENTS,), (MAX_DECLARED_ELEMENTS + 1,)

    with pytest.raises(Refused, match=f"at most {MAX_DECLARED_ELEMENTS}"):
        noise_samples([row], {"x": ((1,), beyond, beyond)}, {}, 1)

    assert bounded_largest({"x": ((1,), largest, largest)}, [row]) == {"x": largest}


sizes = st.tuples(st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 4096)).map(sorted)


@given(st.lists(st.lists(sizes, min_size=1, max_size=4), min_size=1, max_size=3))
def test_the_largest_shape_stays_between_the_usual_and_the_declared_one(inputs: list[list[list[int]]]) -> None:
    profile: dict[str, Shapes] = {
        f"x{index}": tuple(tuple(size[stage] for size in shape) for stage in range(3))  # type: ignore[misc]
        for index, shape in enumerate(inputs)
    }
    specs = [spec(name, *[None] * len(shapes[0])) for name, shapes in profile.items()]

    largest = bounded_largest(profile, specs)

    for name, (_, usual, declared) in profile.items():
        assert all(low <= size <= high for low, size, high in zip(usual, largest[name], declared, strict=True))
    bounded = all(math.prod(shape) <= MAX_INPUT_ELEMENTS for shape in largest.values())
    assert bounded or largest == {name: shapes[1] for name, shapes in profile.items()}


small = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)).map(sorted)


@given(st.lists(small, max_size=4), st.sampled_from(["float32", "float16", "float64", "int64", "bool"]))
def test_noise_always_fits_what_the_model_declares(shape: list[list[int]], dtype: str) -> None:
    declared = TensorSpec("x", dtype, (None,) * len(shape))  # type: ignore[arg-type]
    shapes: Shapes = tuple(tuple(size[stage] for size in shape) for stage in range(3))  # type: ignore[assignment]

    samples = noise_samples([declared], {"x": shapes}, {}, 1)

    assert all(check_feeds((declared,), sample.feeds) for sample in samples)
