from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.remeasure import check_choice, turns
from bench.six_models import classifier_inference_yml
from hpi_agent.engines.base import TensorSpec
from hpi_agent.samples.profile import declared_profile
from hpi_agent.samples.read_preparation import read_preparation
from hpi_agent.select.answers import family_of


@pytest.mark.parametrize(
    ("chosen", "best", "verdict"),
    [
        pytest.param(11_000, 10_000, "within 10 %", id="exactly a tenth behind"),
        pytest.param(11_001, 10_000, "too slow", id="more than a tenth behind"),
        pytest.param(10_000, 10_000, "within 10 %", id="as fast"),
        pytest.param(1_149, 1_000, "within noise", id="15 % behind below 2 ms"),
        pytest.param(1_160, 1_000, "too slow", id="more than the noise below 2 ms"),
        pytest.param(2_000, 1_900, "within 10 %", id="2 ms is not below 2 ms"),
    ],
)
def test_a_choice_holds_within_a_tenth_of_the_best_or_within_noise_below_2_ms(
    chosen: int, best: int, verdict: str
) -> None:
    checked = check_choice("ours", {"ours": chosen, "other": best})

    assert checked.verdict == verdict


def test_the_best_is_named_with_the_ratio_to_it() -> None:
    checked = check_choice("a", {"a": 12_000, "b": 10_000, "c": 30_000})

    assert (checked.best, checked.ratio) == ("b", 1.2)


@given(count=st.integers(1, 8), number=st.integers(0, 100))
def test_everybody_has_one_turn_in_every_round(count: int, number: int) -> None:
    order = turns(count, number)

    assert sorted(order) == list(range(count))


def test_nobody_follows_the_same_one_in_two_rounds_running() -> None:
    rounds = (turns(3, 0), turns(3, 1))

    predecessors = [{after: before for before, after in pairwise(order)} for order in rounds]

    assert predecessors == [{1: 0, 2: 1}, {1: 2, 0: 1}]


@given(count=st.integers(1, 8))
def test_everybody_begins_as_many_rounds_as_everybody_else(count: int) -> None:
    first = [turns(count, number)[0] for number in range(2 * count)]

    assert sorted(first) == sorted([*range(count), *range(count)])


def test_no_candidate_at_all_takes_no_turn() -> None:
    assert turns(0, 3) == []


def test_the_classifier_is_fed_lines_of_48_by_192_pixels_and_judged_by_its_classes() -> None:
    inference = classifier_inference_yml()
    spec = TensorSpec("x", "float32", (None, 3, None, None))

    family = family_of(inference)
    assert family == "classification"
    preparation = read_preparation("cls", family, inference, {})
    profile = declared_profile(inference, family, [spec])

    assert getattr(preparation, "size", None) == (192, 48)
    assert profile["x"] == ((1, 3, 48, 192), (1, 3, 48, 192), (8, 3, 48, 192))
