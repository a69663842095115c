"""From rounds to figures, and from figures to a choice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.select.candidate import Candidate
from hpi_agent.select.decision import Timing
from hpi_agent.select.timing import HOPELESS_FACTOR, choose, is_hopeless, is_noise, slower_reason, summarise

OPENVINO = Candidate("openvino", "float32", 2)
ONNXRUNTIME = Candidate("onnxruntime", "float32", 2)
PADDLE = Candidate("paddle", "float32", 2, (("run_mode", "paddle"),))

rounds_of_times = st.integers(1, 5).flatmap(
    lambda samples: st.lists(
        st.lists(st.integers(1, 10**6), min_size=samples, max_size=samples), min_size=1, max_size=20
    )
)


def a_timing(p50: int) -> Timing:
    return Timing(10, 4, p50, 2 * p50, 2**28, 50_000)


@given(rounds_of_times)
def test_the_median_lies_between_the_fastest_and_the_slowest_round(rounds: list[list[int]]) -> None:
    timing = summarise(rounds, 1, 1)

    means = [sum(one) / len(one) for one in rounds]
    assert round(min(means)) <= timing.p50_microseconds <= round(max(means))


@given(rounds_of_times)
def test_at_least_99_of_100_inferences_take_no_longer_than_p99(rounds: list[list[int]]) -> None:
    timing = summarise(rounds, 1, 1)

    single = [value for one in rounds for value in one]
    assert sum(value <= timing.p99_microseconds for value in single) >= 0.99 * len(single)
    assert timing.p99_microseconds in single


def test_one_slow_round_does_not_move_the_median() -> None:
    assert summarise([[100, 100], [100, 102], [9000, 9000]], 1, 1).p50_microseconds == 101


def test_the_fastest_candidate_is_chosen() -> None:
    chosen, reason = choose({OPENVINO: a_timing(60_000), ONNXRUNTIME: a_timing(40_000)})

    assert chosen == ONNXRUNTIME
    assert reason == "measured 40.0 ms, 1.50 times as fast as openvino"


def test_within_noise_the_earlier_in_the_table_is_chosen_and_the_reason_says_so() -> None:
    chosen, reason = choose({OPENVINO: a_timing(40_500), ONNXRUNTIME: a_timing(40_000)})

    assert chosen == OPENVINO
    assert "within noise of onnxruntime (40.0 ms)" in reason


@pytest.mark.parametrize(
    ("p50", "best", "noise"),
    [
        (103_000, 100_000, True),
        (103_100, 100_000, False),
        (1_149, 1_000, True),
        (1_151, 1_000, False),
        (2_100, 1_990, False),
    ],
)
def test_noise_is_3_percent_and_15_below_2_milliseconds(p50: int, best: int, noise: bool) -> None:
    assert is_noise(p50, best) is noise


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=3))
def test_the_chosen_one_is_never_further_from_the_best_than_noise(times: list[int]) -> None:
    timings = dict(zip((OPENVINO, ONNXRUNTIME, PADDLE), map(a_timing, times), strict=False))

    chosen, _ = choose(timings)

    assert is_noise(timings[chosen].p50_microseconds, min(times))


def test_the_only_candidate_says_that_it_is_alone() -> None:
    assert choose({OPENVINO: a_timing(1_500)})[1] == "measured 1.50 ms, the only candidate that passed"


def test_a_candidate_far_behind_is_hopeless_and_one_at_the_limit_is_not() -> None:
    slow = int(100 * HOPELESS_FACTOR)

    hopeless = is_hopeless({OPENVINO: [[100]], ONNXRUNTIME: [[slow]], PADDLE: [[slow + 1]]})

    assert list(hopeless) == [PADDLE]
    assert hopeless[PADDLE] == "3.0 times the time of the best after 1 rounds"


def test_who_is_slower_is_told_by_how_much() -> None:
    assert slower_reason(a_timing(60_000), a_timing(40_000)) == "measured 60.0 ms, 1.50 times that of the chosen one"


def test_candidates_that_differ_in_precision_alone_are_measured_apart() -> None:
    reduced = replace(OPENVINO, precision="bfloat16")

    assert choose({OPENVINO: a_timing(40_000), reduced: a_timing(20_000)})[0] == reduced


def test_a_graph_too_fast_for_the_clock_is_chosen_and_divides_nothing() -> None:
    timings = {OPENVINO: a_timing(0), ONNXRUNTIME: a_timing(900)}

    assert choose(timings)[0] == OPENVINO
    assert slower_reason(timings[ONNXRUNTIME], timings[OPENVINO]) == (
        "measured 0.90 ms, 900.00 times that of the chosen one"
    )
    assert list(is_hopeless({OPENVINO: [[0]], ONNXRUNTIME: [[900]]})) == [ONNXRUNTIME]
