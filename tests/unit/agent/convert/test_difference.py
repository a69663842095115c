"""The difference of two answers: the largest of their distances, in parts of the largest value of the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from hpi_agent.convert.difference import difference

finite = arrays.arrays(np.float32, st.integers(1, 8), elements=st.floats(-1e6, 1e6, width=32))


@given(reference=finite)
def test_an_answer_equals_itself(reference: NDArray[np.float32]) -> None:
    assert difference(reference.copy(), reference) == 0.0


@given(reference=finite, factor=st.sampled_from([2.0, 0.5, 1024.0]))
def test_the_unit_of_the_answer_does_not_matter(reference: NDArray[np.float32], factor: float) -> None:
    answer = reference + np.float32(1)

    one, other = difference(answer, reference), difference(answer * factor, reference * factor)

    assert one == other or (isinstance(one, str) and isinstance(other, str))


def test_a_value_near_zero_does_not_blow_the_difference_up() -> None:
    reference, answer = np.array([1e-30, 2.0]), np.array([1e-7, 2.0])

    assert difference(answer, reference) == pytest.approx(5e-8)


def test_integers_and_booleans_are_compared_as_numbers() -> None:
    reference = np.array([0, 255], dtype=np.uint8)

    assert difference(np.array([1, 255], dtype=np.uint8), reference) == pytest.approx(1 / 255)
    assert difference(np.array([True]), np.array([True])) == 0.0
    assert difference(np.array([False]), np.array([True])) == 1.0


@pytest.mark.parametrize(
    ("answer", "reference", "said"),
    [
        ([1.0, 2.0], [1.0], "its shape is (2,), Paddle's is (1,)"),
        ([1.0], [np.nan], "Paddle's own answer holds NaN"),
        ([np.nan], [1.0], "it holds NaN or infinity"),
        ([np.inf], [1.0], "it holds NaN or infinity"),
        ([np.inf], [np.inf], "Paddle's own answer holds NaN or infinity"),
        ([0.5], [0.0], "Paddle answers zeros alone, it answers up to 0.5"),
    ],
)
def test_what_cannot_be_compared_is_told_in_words(answer: list[float], reference: list[float], said: str) -> None:
    found = difference(np.array(answer), np.array(reference))

    assert isinstance(found, str)
    assert found.startswith(said)


def test_two_empty_answers_and_two_of_zeros_do_not_differ() -> None:
    assert difference(np.zeros((0, 4)), np.zeros((0, 4))) == 0.0
    assert difference(np.zeros(3), np.zeros(3)) == 0.0
