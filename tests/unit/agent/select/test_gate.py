"""The accuracy gate: how far two answers are apart, and who may serve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from hpi_agent.select.answers import Settings
from hpi_agent.select.gate import Accuracy, Level, difference, judge, largest_difference, tolerance_of

arrays = npst.arrays(np.float32, npst.array_shapes(max_dims=3, max_side=4), elements=st.floats(-100, 100, width=32))


def scores(*classes: int, top: float = 0.9) -> dict[str, NDArray[np.float32]]:
    """Return the answer of a classifier with ten classes, one row per picture."""
    array = np.full((len(classes), 10), (1 - top) / 9, np.float32)
    array[np.arange(len(classes)), list(classes)] = top
    return {"scores": array}


MANY = scores(*range(10), *range(10))


def judged(answer: dict[str, NDArray[np.float32]], precision: str = "float32", **accuracy: object) -> tuple[bool, str]:
    judgement = judge(
        precision,  # type: ignore[arg-type]
        Accuracy(**accuracy),  # type: ignore[arg-type]
        [answer],
        [MANY],
        "classification",
        Settings(),
    )
    return judgement.passed, judgement.task


def shifted(by: float) -> dict[str, NDArray[np.float32]]:
    return {"scores": MANY["scores"] + np.float32(by)}


@given(arrays)
def test_an_array_does_not_differ_from_itself(array: NDArray[np.float32]) -> None:
    assert difference(array, array.copy()) == 0.0


@given(arrays, st.floats(0.5, 4))
def test_scaling_both_sides_changes_nothing(array: NDArray[np.float32], factor: float) -> None:
    other = array + np.float32(1)
    scaled = difference(other.astype(np.float64) * factor, array.astype(np.float64) * factor)

    assert scaled == pytest.approx(difference(other.astype(np.float64), array.astype(np.float64)), rel=1e-9)


def test_the_difference_is_relative_to_the_largest_value_of_the_reference() -> None:
    assert difference(np.array([1.0, 0.001]), np.array([1.0, 0.0])) == pytest.approx(0.001)


@pytest.mark.parametrize(
    "answer",
    [np.array([1.0, np.nan]), np.array([1.0, np.inf]), np.zeros(3), np.zeros(2, np.float32), np.array([0.0, 1.0])],
    ids=["NaN", "infinity", "another shape", "another type", "a reference of zeros"],
)
def test_what_cannot_be_compared_is_infinitely_far(answer: NDArray[np.float64]) -> None:
    assert difference(answer, np.zeros(2)) == float("inf")


def test_integers_are_compared_exactly() -> None:
    assert difference(np.array([3, 4]), np.array([3, 4])) == 0.0
    assert difference(np.array([3, 5]), np.array([3, 4])) == float("inf")


def test_the_worst_output_of_the_worst_sample_counts() -> None:
    reference = [{"a": np.ones(2), "b": np.ones(2)}] * 2
    answers = [{"a": np.ones(2), "b": np.ones(2) * 1.1}, {"a": np.ones(2) * 1.2, "b": np.ones(2)}]

    assert largest_difference(answers, reference) == pytest.approx(0.2)


@pytest.mark.parametrize("answers", [[], [{"b": np.ones(2)}]], ids=["a sample is missing", "another output"])
def test_answers_that_do_not_match_are_infinitely_far(answers: list[dict[str, NDArray[np.float64]]]) -> None:
    assert largest_difference(answers, [{"a": np.ones(2)}]) == float("inf")


def test_float32_and_tf32_have_a_tolerance_and_a_given_one_wins() -> None:
    assert (tolerance_of("float32", Accuracy()), tolerance_of("tf32", Accuracy())) == (1e-4, 2e-3)
    assert [tolerance_of(one, Accuracy()) for one in ("bfloat16", "float16", "int8")] == [None, None, None]
    assert [tolerance_of(one, Accuracy(tolerance=0.01)) for one in ("float32", "tf32")] == [0.01, 0.01]


@pytest.mark.parametrize(("by", "passed"), [(0.9e-4 * 0.9, True), (1.1e-4 * 0.9, False)])
def test_float32_passes_by_numbers_up_to_its_tolerance(by: float, passed: bool) -> None:
    assert judged(shifted(by), level="Numeric") == (passed, "NotNeeded")


@pytest.mark.parametrize(("by", "passed"), [(1.9e-3 * 0.9, True), (2.1e-3 * 0.9, False)])
def test_tf32_passes_by_its_numbers_up_to_a_tolerance_of_its_own(by: float, passed: bool) -> None:
    assert judged(shifted(by), "tf32") == (passed, "Agreed")
    assert judged(shifted(by), "tf32", level="Numeric") == (passed, "NotNeeded")


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_a_reduced_precision_passes_by_the_task_alone(precision: str) -> None:
    assert judged(shifted(0.004), precision) == (True, "Agreed")
    assert judged(scores(*range(10), *range(9), 0), precision) == (False, "Differed")


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_a_reduced_precision_never_passes_by_numbers(precision: str) -> None:
    assert judged(MANY, precision, level="Numeric") == (False, "NotNeeded")


def test_a_reduced_precision_that_nothing_can_judge_is_told_what_would_let_it_pass() -> None:
    judgement = judge("float16", Accuracy(), [MANY], [MANY], None, Settings())

    assert (judgement.passed, judgement.task) == (False, "Ungated")
    assert judgement.reason.endswith(
        "float16 passes by numbers where accuracy.level is Numeric and a tolerance is given"
    )


@pytest.mark.parametrize(("minimum", "task"), [(20, "Agreed"), (21, "Ungated")])
def test_a_reference_that_answers_too_little_gates_nothing_by_the_task(minimum: int, task: str) -> None:
    assert judged(MANY, minimum_samples=minimum) == (True, task)
    assert judged(shifted(0.004), "bfloat16", minimum_samples=minimum)[0] is (task == "Agreed")


def test_without_a_family_only_the_numbers_count() -> None:
    judgement = judge("float32", Accuracy(), [MANY], [MANY], None, Settings())

    assert (judgement.passed, judgement.task) == (True, "Ungated")


@pytest.mark.parametrize(("by", "passed"), [(0.00089, True), (0.00091, False)])
def test_float32_beyond_its_tolerance_passes_up_to_ten_times_of_it_where_every_answer_agrees(
    by: float, passed: bool
) -> None:
    assert judged(shifted(by)) == (passed, "Agreed")
    assert judged(shifted(by), level="Numeric") == (False, "NotNeeded")
    assert judged(shifted(by), minimum_samples=21) == (False, "Ungated")
    assert judged(shifted(by), tolerance=1e-4) == (False, "Agreed")


def test_float32_beyond_its_tolerance_does_not_pass_where_an_answer_differs() -> None:
    tie = np.full((20, 10), 0.1, np.float32)
    answer, reference = tie.copy(), tie.copy()
    answer[:, 3], reference[:, 4] = 0.10005, 0.10005

    judgement = judge(
        "float32", Accuracy(), [{"scores": answer}], [{"scores": reference}], "classification", Settings()
    )

    assert (judgement.passed, judgement.task) == (False, "Differed")


def test_a_tolerance_of_the_users_admits_what_the_default_refuses() -> None:
    assert judged(shifted(0.004))[0] is False
    assert judged(shifted(0.004), tolerance=0.01)[0] is True


def test_a_tolerance_of_the_users_admits_no_reduced_precision_but_where_numbers_alone_are_asked_for() -> None:
    undecided = {"scores": np.full_like(MANY["scores"], 0.1)}

    assert tolerance_of("bfloat16", Accuracy("Auto", 0.01)) is None
    assert judged(undecided, "bfloat16", tolerance=1.0) == (False, "Differed")
    assert judged(shifted(0.004), "bfloat16", level="Numeric", tolerance=0.01) == (True, "NotNeeded")


def test_a_class_that_flips_within_the_tolerance_is_shown_and_does_not_refuse_float32() -> None:
    tie = np.full((20, 10), 0.1, np.float32)
    answer, reference = tie.copy(), tie.copy()
    answer[:, 3], reference[:, 4] = 0.100001, 0.100001

    judgement = judge(
        "float32", Accuracy(), [{"scores": answer}], [{"scores": reference}], "classification", Settings()
    )

    assert (judgement.passed, judgement.task) == (True, "Differed")
    assert "20 of 20 answers differ" in judgement.reason


def test_the_level_task_refuses_float32_whose_answers_differ_and_admits_one_whose_numbers_do() -> None:
    assert judged(scores(*range(10), *range(9), 0), level="Task") == (False, "Differed")
    assert judged(shifted(0.004), level="Task") == (True, "Agreed")


def test_the_level_task_without_enough_answers_leaves_float32_to_its_numbers() -> None:
    assert judged(MANY, level="Task", minimum_samples=21) == (True, "Ungated")
    assert judged(shifted(0.004), level="Task", minimum_samples=21) == (False, "Ungated")
    assert judged(MANY, "bfloat16", level="Task", minimum_samples=21) == (False, "Ungated")


ONE = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("answers", "references", "reason"),
    [
        ([], [{"a": ONE}], "0 samples were answered, the reference answers 1"),
        ([{"b": ONE}], [{"a": ONE}], "sample 1: the outputs are ['b'], the reference's ['a']"),
        ([{"a": ONE[:1]}], [{"a": ONE}], "sample 1: output 'a' has shape (1, 2), the reference's (2, 2)"),
        ([{"a": ONE.astype("f8")}], [{"a": ONE}], "sample 1: output 'a' has dtype float64, the reference's float32"),
        ([{"a": ONE}, {"a": ONE * np.nan}], [{"a": ONE}] * 2, "sample 2: output 'a' holds NaN or infinity"),
        ([{"a": ONE * np.inf}], [{"a": ONE}], "sample 1: output 'a' holds NaN or infinity"),
        (
            [{"a": ONE}],
            [{"a": ONE * np.nan}],
            "sample 1: the reference itself answers NaN or infinity in 'a', nothing can be judged on it",
        ),
    ],
)
@pytest.mark.parametrize("level", ["Auto", "Numeric", "Task"])
def test_what_cannot_be_compared_never_passes_and_says_what_was_seen(
    answers: list[dict[str, NDArray[np.float32]]],
    references: list[dict[str, NDArray[np.float32]]],
    reason: str,
    level: Level,
) -> None:
    judgement = judge("float32", Accuracy(level), answers, references, "classification", Settings())

    assert (judgement.passed, judgement.reason, judgement.largest_difference) == (False, reason, float("inf"))


@given(arrays, st.floats(-1, 1, width=32))
def test_an_answer_passes_numeric_exactly_when_its_difference_is_within_the_tolerance(
    array: NDArray[np.float32], shift: float
) -> None:
    answer = {"a": array + np.float32(shift)}

    judgement = judge("float32", Accuracy("Numeric"), [answer], [{"a": array}], None, Settings())

    assert judgement.passed is (difference(answer["a"], array) <= 1e-4)
    assert judgement.largest_difference == difference(answer["a"], array)
