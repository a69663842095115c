"""Of several candidates at most one believes that it leads, whatever clocks and the API server do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi_operator.kube.election import Election, Pace, uptime
from hpi_operator.kube.errors import Away, Conflict
from hpi_operator.kube.resources import Resource
from hpi_operator.plan.intent import Manifest

PACE: Final = Pace.of(60)
LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass
class LeaseStore:
    """The one Lease, with the preconditions that the API server checks, and an API server that may be away."""

    lease: dict[str, Any] | None = None
    version: int = 0
    is_away: bool = False
    before_put: list[Callable[[], object]] = field(default_factory=list)
    timeouts: list[float] = field(default_factory=list)

    def get(self, resource: Resource, name: str, namespace: str, *, timeout_seconds: float) -> Manifest | None:
        self._answer(timeout_seconds)
        return self.lease

    def put_lease(self, manifest: Manifest, timeout_seconds: float) -> Manifest:
        while self.before_put:
            self.before_put.pop()()
        self._answer(timeout_seconds)
        there = None if self.lease is None else self.lease["metadata"]["resourceVersion"]
        if manifest["metadata"].get("resourceVersion") != there:
            raise Conflict("somebody wrote in between")
        self.version += 1
        self.lease = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(self.version)}}
        return self.lease

    def _answer(self, timeout_seconds: float) -> None:
        self.timeouts.append(timeout_seconds)
        if self.is_away:
            raise Away("nobody answers")

    @property
    def holder(self) -> str:
        return "" if self.lease is None else self.lease["spec"]["holderIdentity"]


@dataclass
class Clock:
    """Seconds that pass when a test says so, and the time on the wall, which may say anything."""

    now: float = 1_000.0
    wall: datetime = LONG_AGO

    def __call__(self) -> float:
        return self.now


def a_candidate(store: LeaseStore, clock: Clock, identity: str, pace: Pace = PACE) -> Election:
    return Election(
        store,  # type: ignore[arg-type]
        "hpi-system",
        "hpi-operator",
        identity,
        pace,
        clock=clock,
        now=lambda: clock.wall,
        spread=lambda: 0.5,
    )


def test_the_first_candidate_leads_and_the_second_waits() -> None:
    store, clock = LeaseStore(), Clock()
    one, two = a_candidate(store, clock, "one"), a_candidate(store, clock, "two")

    assert (one.try_once(), two.try_once()) == (True, False)
    assert (one.is_leader, two.is_leader, store.holder) == (True, False, "one")


def test_a_holder_that_renews_stays() -> None:
    store, clock = LeaseStore(), Clock()
    one, two = a_candidate(store, clock, "one"), a_candidate(store, clock, "two")
    one.try_once()

    for _ in range(50):
        clock.now += PACE.renew_seconds
        assert (one.try_once(), two.try_once()) == (True, False)
    assert store.lease is not None
    assert store.lease["spec"]["leaseTransitions"] == 0


@pytest.mark.parametrize(("late", "leads"), [(-0.1, False), (0.1, True)])
def test_another_one_begins_after_nine_tenths_of_the_lease_and_not_before(late: float, leads: bool) -> None:
    store, clock = LeaseStore(), Clock()
    one, two = a_candidate(store, clock, "one"), a_candidate(store, clock, "two")
    one.try_once()
    two.try_once()

    clock.now += PACE.takeover_seconds + late

    assert two.try_once() is leads
    assert not one.is_leader


@pytest.mark.parametrize(("late", "leads"), [(-0.1, True), (0.1, False)])
def test_a_holder_that_cannot_renew_stops_by_itself_before_anybody_begins(late: float, leads: bool) -> None:
    store, clock = LeaseStore(), Clock()
    one = a_candidate(store, clock, "one")
    one.try_once()
    store.is_away = True

    clock.now += PACE.deadline_seconds + late

    assert one.try_once() is leads


def test_a_holder_survives_an_api_server_that_is_away_for_half_a_minute() -> None:
    store, clock = LeaseStore(), Clock()
    one = a_candidate(store, clock, "one")
    one.try_once()
    clock.now += PACE.renew_seconds
    store.is_away = True
    clock.now += 30.0
    during = one.try_once()
    store.is_away = False

    assert (during, one.try_once()) == (True, True)


@pytest.mark.parametrize("days", [-400, 400])
def test_a_wall_clock_that_jumps_elects_nobody_and_deposes_nobody(days: int) -> None:
    store, clock = LeaseStore(), Clock()
    one, two = a_candidate(store, clock, "one"), a_candidate(store, clock, "two")
    one.try_once()
    two.try_once()

    clock.wall += timedelta(days=days)

    assert (one.try_once(), two.try_once()) == (True, False)


def test_a_candidate_that_has_not_watched_the_whole_lease_waits_for_it() -> None:
    store, clock = LeaseStore(), Clock()
    one, late = a_candidate(store, clock, "one"), a_candidate(store, clock, "late")
    one.try_once()
    clock.now += PACE.takeover_seconds - 1

    first = late.try_once()
    clock.now += 2

    assert (first, late.try_once()) == (False, False)


def test_a_holder_that_names_a_shorter_lease_is_respected_for_that_long() -> None:
    store, clock = LeaseStore(), Clock()
    quick, usual = a_candidate(store, clock, "quick", Pace.of(10)), a_candidate(store, clock, "usual")
    quick.try_once()
    usual.try_once()

    clock.now += 9.1

    assert usual.try_once()


def test_a_lease_that_was_given_back_is_anybodys_at_once() -> None:
    store, clock = LeaseStore(), Clock()
    one, two = a_candidate(store, clock, "one"), a_candidate(store, clock, "two")
    one.try_once()
    two.try_once()

    one.release()

    assert (one.is_leader, two.try_once(), store.holder) == (False, True, "two")
    assert store.lease is not None
    assert store.lease["spec"]["leaseTransitions"] == 1


def test_a_candidate_that_never_led_gives_nothing_back() -> None:
    store, clock = LeaseStore(), Clock()
    one, two = a_candidate(store, clock, "one"), a_candidate(store, clock, "two")
    one.try_once()
    two.try_once()

    two.release()

    assert store.holder == "one"


def test_two_that_create_the_lease_at_once_do_not_both_lead() -> None:
    store, clock = LeaseStore(), Clock()
    one, two = a_candidate(store, clock, "one"), a_candidate(store, clock, "two")
    store.before_put.append(two.try_once)

    first = one.try_once()

    assert (first, two.is_leader, store.holder) == (False, True, "two")


def test_no_request_of_a_holder_outlives_its_deadline() -> None:
    store, clock = LeaseStore(), Clock()
    one = a_candidate(store, clock, "one")
    one.try_once()
    store.timeouts.clear()
    store.is_away = True

    for seconds in (8.0, 20.0, 8.0, 3.0):
        clock.now += seconds
        one.try_once()

    assert store.timeouts == [10.0, 10.0, 4.0, 1.0]


def test_the_fault_is_what_the_api_server_said_last_and_gone_when_it_answers() -> None:
    store, clock = LeaseStore(is_away=True), Clock()
    one = a_candidate(store, clock, "one")

    one.try_once()
    away = one.fault
    store.is_away = False
    one.try_once()

    assert (away, one.fault) == ("nobody answers", None)


def test_waiting_ends_when_it_is_told_to() -> None:
    store, clock = LeaseStore(), Clock()
    a_candidate(store, clock, "one").try_once()
    stopping = threading.Event()
    stopping.set()

    assert not a_candidate(store, clock, "two").wait_until_leader(stopping)


def test_holding_ends_at_once_when_the_lease_is_lost() -> None:
    store, clock = LeaseStore(), Clock()
    one = a_candidate(store, clock, "one")
    one.try_once()
    clock.now += PACE.takeover_seconds + 1
    a_candidate(store, clock, "two", Pace.of(1)).try_once()
    assert store.lease is not None
    store.lease["spec"]["holderIdentity"] = "two"

    assert one.hold(threading.Event()) is False


def test_the_clock_of_the_election_goes_on_while_the_machine_sleeps() -> None:
    first = uptime()

    assert 0 <= uptime() - first < 60


@pytest.mark.parametrize("seconds", [3, 15, 60, 600])
def test_a_pace_leaves_time_between_the_end_of_one_and_the_beginning_of_another(seconds: int) -> None:
    pace = Pace.of(seconds)

    assert 0 < pace.renew_seconds < pace.deadline_seconds < pace.takeover_seconds < pace.lease_seconds
    assert pace.look_seconds <= pace.renew_seconds


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([0.5, 5.0, 13.0, 41.0, 55.0, 61.0])),
        st.tuples(st.just("try"), st.integers(0, 2)),
        st.tuples(st.just("release"), st.integers(0, 2)),
        st.tuples(st.just("away"), st.booleans()),
        st.tuples(st.just("jump"), st.integers(-10_000, 10_000)),
        st.tuples(st.just("race"), st.integers(0, 2)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(STEPS)
def test_never_do_two_candidates_believe_that_they_lead(steps: list[tuple[str, Any]]) -> None:
    store, clock = LeaseStore(), Clock()
    candidates = [a_candidate(store, clock, name) for name in ("one", "two", "three")]

    for what, value in steps:
        if what == "pass":
            clock.now += value
        elif what == "try":
            candidates[value].try_once()
        elif what == "release":
            candidates[value].release()
        elif what == "away":
            store.is_away = value
        elif what == "jump":
            clock.wall += timedelta(seconds=value)
        else:
            store.before_put.append(candidates[value].try_once)
        assert sum(one.is_leader for one in candidates) <= 1


@settings(deadline=None)
@given(st.floats(0, 8), st.floats(0, 2))
def test_after_the_death_of_the_leader_the_other_acts_within_one_lease(since_renewal: float, look: float) -> None:
    store, clock = LeaseStore(), Clock()
    one, two = a_candidate(store, clock, "one"), a_candidate(store, clock, "two")
    one.try_once()
    renewed_at = clock.now
    clock.now += look
    two.try_once()
    died_at = renewed_at + since_renewal
    clock.now = max(clock.now, died_at)

    while not two.try_once():
        clock.now += PACE.look_seconds * 1.2

    assert clock.now - died_at < PACE.lease_seconds
