"""What passes remember of each pipeline, and nothing of those that are gone."""

from __future__ import annotations

from typing import Final

from hpi_operator.passes.ledger import Ledger

A: Final = ("ns", "a")
B: Final = ("ns", "b")
ELSEWHERE: Final = ("other", "a")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def found(ledger: Ledger, pipeline: tuple[str, str], runtime: str = "r1", *engines: str) -> tuple[bool, bool]:
    return ledger.found(pipeline, engines=frozenset(engines), runtime=runtime, ready="True")


def test_the_first_round_is_over_when_every_pipeline_had_its_pass() -> None:
    ledger = Ledger()
    before = ledger.is_complete
    ledger.begin([A, B])
    ledger.had_pass(A)
    half = ledger.is_complete
    ledger.had_pass(B)

    assert (before, half, ledger.is_complete) == (False, False, True)


def test_a_pipeline_that_had_its_pass_before_the_round_began_is_not_waited_for() -> None:
    ledger = Ledger()
    found(ledger, A)

    ledger.begin([A])

    assert ledger.is_complete


def test_a_round_that_has_begun_does_not_begin_again() -> None:
    ledger = Ledger()
    ledger.begin([])

    ledger.begin([A])

    assert ledger.is_complete


def test_a_cluster_without_pipelines_has_had_its_round() -> None:
    ledger = Ledger()
    ledger.begin([])

    assert ledger.is_complete


def test_what_changed_is_told_once() -> None:
    ledger = Ledger()

    first = found(ledger, A, "r1", "e1")
    same = found(ledger, A, "r1", "e1")
    other_engine = found(ledger, A, "r1", "e2")
    other_runtime = found(ledger, A, "r2", "e2")

    assert (first, same, other_engine, other_runtime) == ((True, True), (False, False), (True, False), (False, True))


def test_engines_are_summed_up_over_a_namespace_and_pipelines_over_all() -> None:
    ledger = Ledger()
    found(ledger, A, "r1", "e1", "e2")
    found(ledger, B, "r2", "e2")
    found(ledger, ELSEWHERE, "r1", "e9")

    assert ledger.engines_of("ns") == (frozenset("ab"), frozenset({"e1", "e2"}))
    assert (ledger.pipelines_with("r1"), ledger.pipelines_with("r3")) == (2, 0)
    assert ledger.by_readiness() == {"True": 3, "False": 0, "Unknown": 0}


def test_a_pipeline_that_is_gone_leaves_nothing_behind() -> None:
    ledger = Ledger()
    found(ledger, A, "r1", "e1")

    assert (ledger.forget(A), ledger.forget(A)) == (True, False)
    assert (ledger.engines_of("ns"), ledger.pipelines_with("r1")) == ((frozenset(), frozenset()), 0)


def test_a_status_is_as_old_as_its_last_write() -> None:
    clock = Clock()
    ledger = Ledger(clock)
    never = ledger.status_age_seconds(A)
    ledger.status_written(A)
    clock.now += 3.0

    assert (never, ledger.status_age_seconds(A), ledger.status_age_seconds(B)) == (float("inf"), 3.0, float("inf"))


def test_a_pipeline_waits_from_its_first_pass_without_what_it_needs_to_the_first_with_it() -> None:
    clock = Clock()
    ledger = Ledger(clock)

    first = ledger.waits(A, for_others=True)
    clock.now += 5.0
    second = ledger.waits(A, for_others=True)
    over = ledger.waits(A, for_others=False)
    clock.now += 5.0

    assert (first, second, over, ledger.waits(A, for_others=True)) == (0.0, 5.0, 0.0, 0.0)
