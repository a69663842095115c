"""What holds for every pipeline on every cluster: passes over small clusters that Hypothesis makes up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpi_core.digest import canonical_json
from hpi_operator.plan.intent import ObjectKey
from hpi_operator.plan.ownership import is_owned
from hpi_operator.plan.pipeline import plan_pipeline
from support.nodes import PlayedNode, a_node
from support.observed import CLASSES, UID, a_digest, a_pipeline, on
from support.small_cluster import Course, SmallCluster

GATEWAY = "gateway.networking.k8s.io/v1 HTTPRoute"
pytestmark = pytest.mark.slow

WORLD = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

NODES: dict[str, dict[str, Any]] = {
    "c": {},
    "c2": {},
    "g": {"gpus": 2},
    "g2": {"gpus": 1, "product": "NVIDIA L4"},
    "m": {"mig": {"1g.5gb": 3}},
    "a": {"npus": 1},
}
COURSES: tuple[Course, ...] = ("serves", "crashes", "image-missing", "never-ready")

node_sets = st.sets(st.sampled_from(sorted(NODES)), min_size=1, max_size=4).map(lambda names: {"c", *names})
placements = st.sampled_from(
    [
        on("CPU"),
        on("NVIDIA", "CPU"),
        on("NVIDIA", "CPU", policy="Spill"),
        on("Ascend", "NVIDIA", "CPU", policy="Spill"),
        on("CPU", policy="Spill"),
    ]
)
rollouts: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"maxFailedReplicas": 0},
        {"maxFailedReplicas": "50%"},
        {"autoRollback": "Disabled"},
        {"strategy": "Canary", "steps": [{"weightPercent": 50, "soakSeconds": 30}]},
    ]
)
changes: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.integers(0, 4).map(lambda count: {"replicas": count}),
    st.integers(1, 3).map(lambda seconds: {"serving": {"timeouts": {"requestSeconds": seconds}}}),
    placements.map(lambda placement: {"placement": placement}),
    rollouts.map(lambda rollout: {"rollout": rollout}),
    st.sampled_from([{"route": {"parentRefs": [{"name": "g"}]}}, {"route": ...}]),
    st.sampled_from([{"build": {"policy": "Prebuild"}}, {"build": {}}]),
)


def nodes_of(names: set[str]) -> list[PlayedNode]:
    """Return nodes by their names."""
    return [a_node(name, **NODES[name]) for name in sorted(names)]


def a_cluster(nodes: set[str], **spec: Any) -> SmallCluster:
    """Return a cluster that has settled."""
    module = {"name": "det", "source": "https://models.example/det.onnx", "digest": a_digest("1")}
    cluster = SmallCluster(
        a_pipeline(**{"replicas": 2, "pipeline": ..., "module": {"name": "text_detection", "model": module}, **spec}),
        nodes_of(nodes),
        apis=[GATEWAY],
    )
    cluster.settle()
    return cluster


def run(cluster: SmallCluster, edits: list[dict[str, Any]], course: Course, seconds: int) -> None:
    """Make changes one after another, some while others are under way; revisions that are new take a course."""
    known = {cluster.status.wanted_revision}
    for edit in edits:
        cluster.change(**edit)
        cluster.make_pass()
        wanted = cluster.status.wanted_revision
        if wanted is not None and wanted not in known:
            cluster.courses[wanted] = course
            known.add(wanted)
        cluster.wait(seconds, step_seconds=10)


@WORLD
@given(node_sets, placements, rollouts, st.lists(changes, max_size=3), st.sampled_from(COURSES), st.integers(0, 60))
def test_a_pass_on_the_world_that_the_plan_made_changes_nothing(
    nodes: set[str], placement: Any, rollout: Any, edits: list[Any], course: Course, seconds: int
) -> None:
    cluster = a_cluster(nodes, placement=placement, rollout=rollout)
    run(cluster, edits, course, seconds)
    cluster.settle()
    # What never answers fails at its deadline.
    cluster.wait(1_800 if course == "never-ready" else 0, step_seconds=30)
    before = len(cluster.writes)

    cluster.make_pass()
    cluster.wait(600, step_seconds=60)

    assert cluster.writes[before:] == []


@WORLD
@given(node_sets, placements, rollouts, st.lists(changes, max_size=3), st.sampled_from(COURSES), st.integers(0, 60))
def test_no_plan_touches_what_it_does_not_own(
    nodes: set[str], placement: Any, rollout: Any, edits: list[Any], course: Course, seconds: int
) -> None:
    cluster = a_cluster(nodes, placement=placement, rollout=rollout)
    foreign = {}
    for key, live in list(cluster.objects.items()):
        theirs = copy.deepcopy(live)
        theirs["metadata"] |= {"name": f"{key.name}-theirs", "uid": f"theirs-{key}", "ownerReferences": []}
        foreign[ObjectKey(key.api_version, key.kind, key.namespace, f"{key.name}-theirs")] = theirs
    cluster.objects |= foreign
    kept = canonical_json({str(key): one.get("spec") for key, one in foreign.items()})

    for edit in edits:
        cluster.change(**edit)
        plan = cluster.plan()
        assert all(is_owned(cluster.objects[one.key], UID) for one in plan.delete)
        assert all(is_owned(one, UID) or one["kind"] == "HPIEngine" for one in plan.apply)
        run(cluster, [{}], course, seconds)

    assert canonical_json({str(key): cluster.objects[key].get("spec") for key in foreign}) == kept


@WORLD
@given(node_sets, placements, rollouts, st.lists(changes, min_size=1, max_size=3), st.sampled_from(COURSES))
def test_no_revision_takes_replicas_from_what_serves(
    nodes: set[str], placement: Any, rollout: Any, edits: list[Any], course: Course
) -> None:
    cluster = a_cluster(nodes, placement=placement, rollout=rollout)
    fewest = cluster.ready()
    cluster.watch()

    for edit in edits:
        run(cluster, [edit], course, 40)
        wanted = cluster.pipeline.spec.replicas
        fewest = min(fewest, 2 if wanted is None else wanted)
        assert cluster.fewest_ready >= fewest


@WORLD
@given(node_sets, placements, rollouts, st.sampled_from(COURSES), st.integers(0, 120))
def test_a_then_b_then_a_ends_at_a(nodes: set[str], placement: Any, rollout: Any, course: Course, seconds: int) -> None:
    cluster = a_cluster(nodes, placement=placement, rollout=rollout)
    first, ready = cluster.status.wanted_revision, cluster.ready()

    run(cluster, [{"serving": {"timeouts": {"requestSeconds": 30}}}], course, seconds)
    cluster.change(serving=...)
    cluster.settle()

    assert cluster.status.wanted_revision == first
    assert cluster.status.revision in (first, None)
    assert cluster.ready(revision=first) == ready == len([pod for pod in cluster.pods.values() if pod.ready_at])


@WORLD
@given(node_sets, st.sampled_from(sorted(NODES)), placements, st.integers(1, 4))
def test_more_capacity_never_lowers_what_serves(nodes: set[str], more: str, placement: Any, replicas: int) -> None:
    cluster = a_cluster(nodes, placement=placement, replicas=replicas)
    before = cluster.ready()
    cluster.watch()

    cluster.nodes = nodes_of({*nodes, more})
    cluster.settle()

    assert cluster.fewest_ready >= before
    assert cluster.ready() >= before


@WORLD
@given(node_sets, placements, st.integers(0, 4))
def test_every_wish_that_is_not_granted_appears_in_a_reason(nodes: set[str], placement: Any, replicas: int) -> None:
    cluster = a_cluster(nodes, placement=placement, replicas=replicas)
    used = {key.name.rpartition("-")[2] for key in cluster.objects if key.kind == "Deployment"}
    first = next(iter(cluster.status.classes)).class_

    for entry in placement["accelerators"]:
        wish = entry["class"]
        if wish == first:
            break
        # Whatever comes before the class that was taken says why it was not.
        assert f"class {wish}:" in cluster.condition("Placed")[2]
    if cluster.ready() < replicas:
        assert cluster.condition("Available")[0] == "False" or cluster.ready() >= replicas - 1
    assert used <= {"cpu", "nvidia", "ascend"}


@WORLD
@given(node_sets, placements, rollouts)
def test_two_equal_observations_give_equal_bytes(nodes: set[str], placement: Any, rollout: Any) -> None:
    cluster = a_cluster(nodes, placement=placement, rollout=rollout)
    cluster.change(serving={"timeouts": {"requestSeconds": 30}})
    seen = cluster.observe()

    one, other = (plan_pipeline(copy.deepcopy(seen), CLASSES) for _ in range(2))

    assert canonical_json([one.status, list(one.apply)]) == canonical_json([other.status, list(other.apply)])
    assert (one.delete, one.events, one.look_again_seconds) == (other.delete, other.events, other.look_again_seconds)
