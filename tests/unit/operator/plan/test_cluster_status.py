"""Pools, runtimes and engines of a namespace, summed up."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool, NodePoolStatus, NodeSelector
from hpi_core.api.v1alpha1.runtime import RuntimeStatus
from hpi_core.names import RUNTIME
from hpi_operator.plan.cluster_status import plan_pool, plan_runtime
from hpi_operator.plan.engines import conditions_to_write, deletions
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.membership import pools_of, selects
from hpi_operator.plan.observed import ObservedEngines, ObservedPool, ObservedRuntime
from support.kinds import manifest
from support.nodes import a_node
from support.observed import (
    CPU_RUNTIME,
    NOW,
    SETTINGS,
    a_digest,
    a_pool,
    a_runtime,
    a_seen_node,
    an_hpi_node,
)

WANTED = {"runtimes": [{"name": CPU_RUNTIME, "lockDigest": a_digest("a")}]}


def an_agents_word(name: str, state: str | None, message: str = "") -> HPINode:
    """Return the HPINode of a node that wants a runtime, and what its agent says of the self-test."""
    told = {"name": CPU_RUNTIME, "lockDigest": a_digest("a"), "state": "Installed"}
    if state is not None:
        told["selfTest"] = {"state": state, "message": message}  # type: ignore[assignment]
    return an_hpi_node(a_node(name), spec=WANTED, status={"runtimes": [told]})


def condition(status: Manifest | None, type_: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition."""
    assert status is not None
    one = next(one for one in status["conditions"] if one["type"] == type_)
    return one["status"], one["reason"], one["message"]


# Membership.


@pytest.mark.parametrize(
    ("expression", "value", "holds"),
    [
        ({"operator": "In", "values": ["a", "b"]}, "a", True),
        ({"operator": "In", "values": ["a", "b"]}, "c", False),
        ({"operator": "In", "values": ["a"]}, None, False),
        ({"operator": "NotIn", "values": ["a"]}, "b", True),
        ({"operator": "NotIn", "values": ["a"]}, "a", False),
        # As in Kubernetes: a label that is not there is not in the list.
        ({"operator": "NotIn", "values": ["a"]}, None, True),
        ({"operator": "Exists"}, "", True),
        ({"operator": "Exists"}, None, False),
        ({"operator": "DoesNotExist"}, None, True),
        ({"operator": "DoesNotExist"}, "a", False),
    ],
)
def test_selectors_are_those_of_kubernetes(expression: dict[str, Any], value: str | None, holds: bool) -> None:
    selector = NodeSelector.model_validate({"matchExpressions": [{"key": "k", **expression}]})

    assert selects(selector, {} if value is None else {"k": value}) is holds


def test_an_empty_selector_selects_every_node() -> None:
    assert selects(NodeSelector(), {})


@pytest.mark.parametrize("ages", [{"a": 1, "b": 2}, {"a": 1, "b": 1}])
def test_of_two_pools_the_older_has_the_node_and_of_two_of_one_age_the_first_by_name(ages: dict[str, int]) -> None:
    moments = {name: NOW + timedelta(seconds=age) for name, age in ages.items()}

    owners = pools_of({}, [a_pool("b"), a_pool("a")], moments)

    assert [one.metadata.name for one in owners] == ["a", "b"]


# Pools.


def a_look(*words: HPINode | None, others: tuple[HPINodePool, ...] = (), **spec: Any) -> ObservedPool:
    """Return what the status of a pool looks at: nodes n-0, n-1, … and what their agents say."""
    pool = a_pool("mine", **spec)
    nodes = tuple((a_seen_node(a_node(f"n-{number}")), word) for number, word in enumerate(words))
    ages = {one.metadata.name: NOW for one in (pool, *others)}
    return ObservedPool(pool, 1, NOW, others, ages, nodes, (a_runtime(),), NOW)


def test_a_pool_is_up_to_date_when_every_node_has_what_it_shall_have() -> None:
    status = plan_pool(a_look(an_agents_word("n-0", "Passed"), an_agents_word("n-1", "Passed"))).status

    assert status is not None
    assert condition(status, "Ready")[:2] == ("True", "AsWanted")
    assert (status["nodes"], status["readyNodes"]) == (2, 2)
    NodePoolStatus.model_validate(status)


@pytest.mark.parametrize(
    ("word", "state", "reason"),
    [
        (None, "Waiting", "its agent has not reported"),
        (an_hpi_node(a_node("n-0")), "Waiting", "no allowed runtime fits its hardware"),
        (an_hpi_node(a_node("n-0"), spec=WANTED), "Waiting", "hpi-cpu-1.0.0 is not there yet"),
        (an_agents_word("n-0", None), "Waiting", "the self-test of hpi-cpu-1.0.0 is not over"),
        (an_agents_word("n-0", "Running"), "Waiting", "the self-test of hpi-cpu-1.0.0 is not over"),
        (an_agents_word("n-0", "Failed", "no openvino"), "Failed", "hpi-cpu-1.0.0: no openvino"),
    ],
)
def test_a_node_that_is_late_says_what_it_waits_for(word: HPINode | None, state: str, reason: str) -> None:
    status = plan_pool(a_look(word)).status

    assert status is not None
    assert status["waiting"] == [{"node": "n-0", "state": state, "reason": reason, "since": "2026-03-01T10:00:00Z"}]
    assert condition(status, "UpToDate") == ("False", "NodesWaiting", f"1 of 1 nodes wait; n-0: {reason}")


def test_since_when_a_node_waits_does_not_move() -> None:
    seen = a_look(None)
    first = plan_pool(seen).status
    pool = seen.pool.model_copy(update={"status": NodePoolStatus.model_validate(first)})

    later = plan_pool(replace(seen, pool=pool, now=NOW + timedelta(hours=1))).status

    assert later == first


def test_a_runtime_that_is_not_there_is_named() -> None:
    status = plan_pool(a_look(runtimes=["hpi-x"])).status

    assert condition(status, "UpToDate") == ("False", "NoSuchRuntime", "spec.runtimes names hpi-x")


def test_pools_that_overlap_say_so_once_and_the_older_one_has_the_nodes() -> None:
    older = a_pool("older")
    seen = a_look(None, None, others=(older,))
    seen = replace(seen, pool_ages={"mine": NOW, "older": datetime(2020, 1, 1, tzinfo=NOW.tzinfo)})

    first = plan_pool(seen)
    told = seen.pool.model_copy(update={"status": NodePoolStatus.model_validate(first.status)})
    second = plan_pool(replace(seen, pool=told))

    assert first.status is not None
    assert first.status["nodes"] == 0
    assert condition(first.status, "Overlapping")[:2] == ("True", "PoolsOverlap")
    assert "older" in condition(first.status, "Overlapping")[2]
    assert [one.reason for one in first.events] == ["PoolsOverlap"]
    assert second.events == ()


# Runtimes.


@pytest.mark.parametrize(
    ("states", "expected", "counts"),
    [
        ([], ("Unknown", "NotUsedYet"), (0, 0, 0, 0)),
        (["Passed", "Failed"], ("True", "SelfTestPassed"), (2, 2, 1, 1)),
        (["Failed"], ("False", "SelfTestFailed"), (1, 1, 0, 1)),
        (["Running"], ("False", "SelfTestRunning"), (1, 1, 0, 0)),
    ],
)
def test_a_runtime_is_usable_where_its_self_test_has_passed(
    states: list[str], expected: tuple[str, str], counts: tuple[int, ...]
) -> None:
    nodes = tuple(an_agents_word(f"n-{number}", state, "no openvino") for number, state in enumerate(states))

    status = plan_runtime(ObservedRuntime(a_runtime(), 1, nodes, 3, NOW)).status

    assert status is not None
    assert condition(status, "Usable")[:2] == expected
    assert tuple(status["nodes"][name] for name in ("wanted", "installed", "usable", "failed")) == counts
    assert status["pipelines"] == 3
    RuntimeStatus.model_validate(status)


def test_a_runtime_whose_image_is_not_there_says_pod_container_and_image() -> None:
    nodes = (an_agents_word("n-0", None), an_agents_word("n-1", None))
    waiting = {"reason": "ErrImagePull", "message": 'failed to pull image "a@sha256:0": not found'}
    status = {"containerStatuses": [{"state": {"waiting": waiting}}]}
    tests = tuple(
        (node, {"metadata": {"name": f"self-test-{node}", "labels": {RUNTIME: label}}, "status": status})
        for node, label in (("n-1", CPU_RUNTIME), ("n-0", CPU_RUNTIME), ("n-2", "another"))
    )

    told = plan_runtime(ObservedRuntime(a_runtime(), 1, nodes, 0, NOW, tests)).status

    assert told is not None
    words = 'n-0: pod self-test-n-0, container self-test: ErrImagePull: failed to pull image "a@sha256:0": not found'
    assert condition(told, "Usable") == ("False", "SelfTestCannotStart", f"on 2 of 2 nodes; {words}")
    assert told["lastFailure"] == words


# Engines.

RETENTION = timedelta(seconds=SETTINGS.engine_retention_seconds)


def an_engine(name: str, *, unwanted_for: timedelta | None = None, wanted: bool = False) -> HPIEngine:
    """Return an HPIEngine with what the operator has said of it."""
    conditions = []
    if unwanted_for is not None or wanted:
        date = NOW - (unwanted_for or timedelta())
        conditions = [
            {
                "type": "Wanted",
                "status": "True" if wanted else "False",
                "reason": "InUse" if wanted else "Unwanted",
                "lastTransitionTime": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        ]
    document = manifest("HPIEngine")
    return HPIEngine.model_validate(
        {**document, "metadata": {"name": name, "namespace": "a"}, "status": {"conditions": conditions}}
    )


def look(*engines: HPIEngine, wanted: tuple[str, ...] = (), complete: bool = True) -> ObservedEngines:
    """Return what decides which engines are wanted; all of them are old."""
    old = NOW - timedelta(days=365)
    triples = tuple((one, old, f"uid-{one.metadata.name}") for one in engines)
    return ObservedEngines("a", triples, frozenset(wanted), NOW, SETTINGS, complete)


def test_what_is_wanted_is_said_and_only_where_it_has_changed() -> None:
    seen = look(
        an_engine("new"), an_engine("used", wanted=True), an_engine("left", wanted=True), wanted=("new", "used")
    )

    written = {one.metadata.name: status["conditions"][0] for one, status in conditions_to_write(seen)}

    assert {name: (one["status"], one["reason"]) for name, one in written.items()} == {
        "new": ("True", "InUse"),
        "left": ("False", "Unwanted"),
    }


@pytest.mark.parametrize(("short", "goes"), [(timedelta(seconds=1), False), (timedelta(), True)])
def test_an_engine_goes_when_nothing_has_wanted_it_for_long_enough(short: timedelta, goes: bool) -> None:
    gone, again = deletions(look(an_engine("e", unwanted_for=RETENTION - short)))

    assert [one.uid for one in gone] == (["uid-e"] if goes else [])
    assert again == (None if goes else 1.0)


@pytest.mark.parametrize("wanted", [True, False])
def test_an_old_engine_that_was_wanted_until_now_is_kept_for_the_whole_time(wanted: bool) -> None:
    gone, again = deletions(look(an_engine("e", wanted=wanted)))

    assert gone == ()
    assert again == RETENTION.total_seconds()


def test_a_wanted_engine_stays() -> None:
    assert deletions(look(an_engine("e", unwanted_for=2 * RETENTION), wanted=("e",))) == ((), None)


def test_before_every_pipeline_was_looked_at_no_engine_is_unwanted() -> None:
    seen = look(an_engine("e", wanted=True), an_engine("f", unwanted_for=2 * RETENTION), complete=False)

    assert list(conditions_to_write(seen)) == []
    assert deletions(seen) == ((), None)
