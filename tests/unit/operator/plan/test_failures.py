"""When a revision has failed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpi_core.api.v1alpha1.rollout import Rollout
from hpi_operator.plan.failures import FAILING, absolute, failed_starts, is_failing, judge
from hpi_operator.plan.intent import ObjectKey
from hpi_operator.plan.observed import PodView
from hpi_operator.plan.present import Present
from support.observed import NOW, a_pod, a_waiting_pod

LATE = Present(
    ObjectKey("apps/v1", "Deployment", "team-a", "ocr-cpu"),
    "stable",
    "cpu",
    "r",
    4,
    None,
    frozenset(),
    frozenset(),
    may_be_away=0,
    is_settled=False,
    deadline_exceeded=True,
)


def a_crashing_pod(name: str = "p", restarts: int = 1, **fields: Any) -> PodView:
    """Return a pod whose container ends again and again."""
    return a_pod(
        name, ready=False, restarts=restarts, waiting_reason="CrashLoopBackOff", exit_code=1, message="m", **fields
    )


def a_pod_without_its_image(name: str = "p", age_seconds: float = 0.0, **fields: Any) -> PodView:
    """Return a pod whose image cannot be had."""
    return a_pod(name, ready=False, waiting_reason="ImagePullBackOff", age_seconds=age_seconds, **fields)


def failed(pods: list[PodView], budget: int | str = 1, replicas: int = 4, **fields: Any) -> str | None:
    """Return the reason for which a revision has failed."""
    rollout = Rollout.model_validate({"maxFailedReplicas": budget})
    judged = judge(pods, fields.pop("deployments", []), rollout, replicas, NOW, **fields)
    return None if judged.failure is None else judged.failure.reason


@pytest.mark.parametrize(
    ("restarts", "budget", "has_failed"), [(1, 0, True), (1, 1, False), (2, 1, True), (2, 2, False)]
)
def test_restarts_count_as_failed_starts(restarts: int, budget: int, has_failed: bool) -> None:
    assert (failed([a_crashing_pod(restarts=restarts)], budget) == "CrashLoopBackOff") is has_failed


@pytest.mark.parametrize(("pods", "has_failed"), [(1, False), (2, True)])
def test_each_pod_that_fails_counts(pods: int, has_failed: bool) -> None:
    seen = [a_pod_without_its_image(f"p{number}") for number in range(pods)]

    assert (failed(seen) is not None) is has_failed


@pytest.mark.parametrize(("age", "starts"), [(0, 1), (59, 1), (60, 2), (119, 2), (120, 3)])
def test_a_pod_that_cannot_be_started_counts_once_more_each_minute(age: int, starts: int) -> None:
    assert failed_starts(a_pod_without_its_image(age_seconds=age), NOW) == starts


def test_time_before_a_pod_had_a_node_does_not_count() -> None:
    pod = a_pod_without_its_image(age_seconds=3_000, scheduled_at=NOW)

    assert failed_starts(pod, NOW) == 1


def test_what_time_alone_will_decide_is_looked_at_then() -> None:
    judged = judge([a_pod_without_its_image(age_seconds=20)], [], Rollout(), 4, NOW)

    assert judged.next_seconds == 40


@pytest.mark.parametrize(("budget", "replicas", "allowed"), [("25%", 3, 1), ("25%", 4, 1), ("25%", 5, 2), ("0%", 9, 0)])
def test_a_share_is_rounded_up(budget: str, replicas: int, allowed: int) -> None:
    assert absolute(budget, replicas) == allowed


@pytest.mark.parametrize("reason", sorted(FAILING))
def test_reasons_that_no_waiting_mends_are_failures(reason: str) -> None:
    assert is_failing(a_pod(ready=False, waiting_reason=reason))


@pytest.mark.parametrize(
    "pod",
    [
        a_pod(),
        a_pod(ready=False, waiting_reason="ContainerCreating"),
        a_pod(ready=False, waiting_reason="PodInitializing"),
        a_pod(ready=False, restarts=1, exit_code=0),
        a_pod(restarts=5, exit_code=1),
        a_waiting_pod("w", seconds=600),
    ],
)
def test_what_may_still_come_right_is_no_failure(pod: PodView) -> None:
    assert not is_failing(pod)


def test_a_pod_that_is_deleted_fails_nothing() -> None:
    assert failed([a_crashing_pod(restarts=9, deleting=True)], 0) is None


def test_the_pod_that_fails_most_is_told() -> None:
    rollout = Rollout.model_validate({"maxFailedReplicas": 0})

    judged = judge([a_crashing_pod("a", 1), a_crashing_pod("b", 3), a_crashing_pod("c", 2)], [], rollout, 4, NOW)

    assert judged.failure is not None
    assert (judged.failure.pod, judged.failure.exit_code, judged.failure.message) == ("b", 1, "m")


def test_a_deadline_without_any_pod_says_that_none_could_be_made() -> None:
    judged = judge([], [LATE], Rollout(), 4, NOW)

    assert judged.failure is not None
    assert judged.failure.pod is None
    assert "no pod of it could be made" in judged.failure.message


def test_a_deadline_names_the_pod_that_does_not_answer_before_one_that_waits() -> None:
    stuck = a_pod("a-stuck", ready=False)
    waits = a_waiting_pod("a-waits", seconds=600, class_="cpu")

    judged = judge([stuck, waits], [LATE], Rollout(), 4, NOW)

    assert judged.failure is not None
    assert (judged.failure.reason, judged.failure.pod) == ("ProgressDeadlineExceeded", "a-stuck")


def test_a_pod_that_waits_for_a_node_past_the_deadline_says_what_the_scheduler_says() -> None:
    judged = judge([a_waiting_pod("w", seconds=600, class_="cpu")], [LATE], Rollout(), 4, NOW)

    assert judged.failure is not None
    assert judged.failure.message == (
        "the pod waits for a node: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.; "
        "a new pod starts before an old one goes"
    )


@pytest.mark.parametrize(("pod", "reason"), [("waits", None), ("stuck", "ProgressDeadlineExceeded")])
def test_waiting_is_excused_where_another_class_stands_in_and_nothing_else_is(pod: str, reason: str | None) -> None:
    seen = a_waiting_pod("p", seconds=600, class_="cpu") if pod == "waits" else a_pod("p", ready=False)

    assert failed([seen], deployments=[LATE], excused=frozenset({"cpu"})) == reason


@pytest.mark.parametrize("code", [256, -256, 3_221_225_477])
def test_an_exit_code_beyond_the_bounds_of_the_status_is_left_out(code: int) -> None:
    judged = judge([replace(a_crashing_pod(restarts=2), exit_code=code)], [], Rollout(), 4, NOW)

    assert judged.failure is not None
    assert judged.failure.exit_code is None
