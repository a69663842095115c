"""The status of a pipeline: what was asked and obtained, in words and counts, within bounds, without moving dates."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hpi_core.api.v1alpha1.pipeline_status import PipelineStatus
from hpi_core.digest import canonical_json
from hpi_operator.plan.intent import Plan
from hpi_operator.plan.observed import ObservedPipeline, PodView
from hpi_operator.plan.pipeline import plan_pipeline
from hpi_operator.plan.pipeline_status import pipeline_word, url
from support.nodes import a_node
from support.observed import CLASSES, NOW, a_node_group, a_pipeline, a_pod, a_waiting_pod, observed
from support.small_cluster import SmallCluster


def plan(seen: ObservedPipeline) -> Plan:
    """Return the plan."""
    return plan_pipeline(seen, CLASSES)


def status_of(seen: ObservedPipeline) -> PipelineStatus:
    """Return the planned status, as the API server would take it."""
    return PipelineStatus.model_validate(json.loads(canonical_json(plan(seen).status)))


def condition(status: PipelineStatus, type_: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    one = next(one for one in status.conditions if one.type == type_)
    return one.status, one.reason, one.message


def with_status(seen: ObservedPipeline, **fields: Any) -> ObservedPipeline:
    """Return the same a minute later, with its status written."""
    pipeline = seen.pipeline.model_copy(update={"status": status_of(seen)})
    return replace(seen, pipeline=pipeline, now=NOW + timedelta(seconds=60), **fields)


def test_the_status_a_user_would_see() -> None:
    cluster = SmallCluster(a_pipeline(replicas=2), [a_node("n")])
    cluster.settle()
    status = cluster.status

    assert {
        "url": status.url,
        "pipeline": status.pipeline,
        "hardware": status.hardware,
        "runtime": status.runtime,
        "replicas": (status.replicas, status.ready_replicas, status.wanted_replicas),
        "selector": status.selector,
        "nodes": status.example_nodes,
        "ready": cluster.condition("Ready"),
    } == {
        "url": "http://ocr.team-a.svc",
        "pipeline": "OCR",
        "hardware": "2 CPU",
        "runtime": "hpi-cpu-1.0.0",
        "replicas": (2, 2, 2),
        "selector": "hpi.paddlex.io/pipeline=ocr",
        "nodes": ("n",),
        "ready": ("True", "AsWanted", ""),
    }


def test_no_date_moves_without_a_change_of_status() -> None:
    seen = observed(pods=(a_waiting_pod("p", seconds=10, class_="cpu"),))

    first = status_of(seen)
    second = status_of(with_status(seen))

    assert second == first


def test_a_date_moves_with_its_status_alone() -> None:
    before = observed(a_pipeline(replicas=1))
    after = with_status(before, pods=(a_pod(revision="other"),))

    dates = {one.type: one.last_transition_time for one in status_of(after).conditions}

    assert dates["Available"] == "2026-03-01T10:01:00Z"
    assert dates["Accepted"] == "2026-03-01T10:00:00Z"


def test_a_failure_keeps_the_time_at_which_it_was_told_first() -> None:
    pod = a_pod("p", ready=False, restarts=5, waiting_reason="CrashLoopBackOff", exit_code=1, message="no")
    name = status_of(observed()).wanted_revision
    seen = observed(pods=(replace(pod, revision=name or ""),))

    first, second = status_of(seen).last_failure, status_of(with_status(seen)).last_failure

    assert first is not None
    assert (first.time, first.reason, first.message) == ("2026-03-01T10:00:00Z", "CrashLoopBackOff", "no")
    assert second == first


def test_the_order_in_which_things_are_told_changes_no_byte() -> None:
    pods = [a_pod(f"p{number}", ready=number % 2 == 0, message=f"m{number}") for number in range(5)]
    pods += [a_waiting_pod(f"w{number}", seconds=90, class_="cpu") for number in range(3)]
    groups = [a_node_group(f"g{number}", gpus=number, labels={"a": str(number)}) for number in range(4)]
    cluster = SmallCluster(a_pipeline(replicas=2), [a_node("n")])
    cluster.settle()
    children = list(cluster.objects.items())
    bytes_seen = set()

    for seed in range(5):
        shuffle = random.Random(seed)
        seen = observed(
            pods=tuple(shuffle.sample(pods, len(pods))),
            supply=shuffle.sample(groups, len(groups)),
            engine_messages=tuple(shuffle.sample(["a", "b", "c"], 3)),
            engines_in_use=tuple(shuffle.sample(["e-1", "e-2"], 2)),
        )
        decided = plan(replace(seen, children=dict(shuffle.sample(children, len(children)))))
        bytes_seen.add(canonical_json([decided.status, list(decided.apply), [str(one) for one in decided.delete]]))

    assert len(bytes_seen) == 1


def test_two_equal_observations_give_equal_bytes() -> None:
    one, other = (
        plan(observed(a_pipeline(replicas=3), supply=[a_node_group(count=3)], pods=(a_pod(),))) for _ in range(2)
    )

    assert canonical_json([one.status, list(one.apply)]) == canonical_json([other.status, list(other.apply)])


def test_a_plan_changes_nothing_that_it_looks_at() -> None:
    cluster = SmallCluster(a_pipeline(replicas=2), [a_node("n")])
    cluster.settle()
    seen = cluster.observe()
    before = canonical_json({str(key): one for key, one in seen.children.items()})

    plan(seen)

    assert canonical_json({str(key): one for key, one in seen.children.items()}) == before


# Counts and words.


@pytest.mark.parametrize(
    ("ready", "wanted", "away", "expected"),
    [
        (0, 3, 1, ("False", "NoReplica")),
        (1, 3, 1, ("False", "TooFewReplicas")),
        (2, 3, 1, ("True", "EnoughReplicas")),
        (3, 3, 0, ("True", "EnoughReplicas")),
        (2, 3, 0, ("False", "TooFewReplicas")),
        (1, 3, "100%", ("True", "EnoughReplicas")),
        (0, 3, "100%", ("False", "NoReplica")),
    ],
)
def test_available_means_as_many_as_the_budget_of_disruptions_demands(
    ready: int, wanted: int, away: int | str, expected: tuple[str, str]
) -> None:
    pipeline = a_pipeline(replicas=wanted, availability={"maxUnavailable": away})
    pods = tuple(a_pod(f"p{number}") for number in range(ready))

    assert condition(status_of(observed(pipeline, pods=pods)), "Available")[:2] == expected


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (a_waiting_pod("p", seconds=5), "; pod p: Unschedulable: 0/1 nodes are available"),
        (
            a_pod("p", ready=False, waiting_reason="ImagePullBackOff", container="serve", message="manifest unknown"),
            "; pod p, container serve: ImagePullBackOff: manifest unknown",
        ),
        (a_pod("p", ready=False, restarts=2, exit_code=137), "; pod p: Error: it does not say why"),
    ],
)
def test_who_keeps_it_from_being_available_is_named(pod: PodView, words: str) -> None:
    message = condition(status_of(observed(pods=(pod,))), "Ready")[2]

    assert message.startswith("0 of 1 replica answers")
    assert words in message


def test_pods_that_build_ahead_or_go_are_no_replicas() -> None:
    pods = (a_pod("a"), a_pod("going", deleting=True), a_pod("builds", track=""))

    status = status_of(observed(pods=pods))

    assert (status.replicas, status.ready_replicas) == (1, 1)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({"pipeline": "OCR"}, "OCR"),
        ({"pipeline": ..., "config": {"inline": {"pipeline_name": "layout"}}}, "layout"),
        ({"pipeline": ..., "config": {"configMapKeyRef": {"name": "c", "key": "k"}}}, "ConfigMap c"),
        ({"pipeline": ..., "module": {"name": "text_detection", "model": {"name": "det"}}}, "text_detection"),
    ],
)
def test_what_is_served_has_a_name(spec: dict[str, Any], word: str) -> None:
    assert pipeline_word(a_pipeline(**spec)) == word


def test_the_address_says_whether_it_is_encrypted() -> None:
    assert url(a_pipeline()) == "http://ocr.team-a.svc"
    assert url(a_pipeline(serving={"tls": {"secretRef": {"name": "t"}}})) == "https://ocr.team-a.svc"


# Events.


def test_events_tell_changes_of_state_and_nothing_twice() -> None:
    seen = observed(a_pipeline(replicas=1))

    first = plan(seen).events
    again = plan(with_status(seen)).events
    served = plan(with_status(seen, pods=(a_pod(),))).events

    assert [(one.reason, one.type) for one in first] == [("NoReplica", "Normal")]
    assert again == ()
    assert [(one.reason, one.type) for one in served] == [("AsWanted", "Normal")]


def test_a_pipeline_that_needs_somebody_warns() -> None:
    events = plan(observed(problems=("no",))).events

    assert [(one.reason, one.type) for one in events] == [("InvalidSpec", "Warning")]
