"""Objects are kept as decisions look at them, and nothing that a cluster may hold keeps one from being looked at."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_operator.observe import projections
from hpi_operator.plan.observed import Taint
from support.kinds import manifest
from support.nodes import a_node

UID = "7e0f4d3c-0000-4000-8000-000000000001"


def stored(document: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return a manifest as the API server stores it."""
    added = {"uid": UID, "resourceVersion": "7", "generation": 3, "creationTimestamp": "2026-01-02T03:04:05Z"}
    return {**document, "metadata": {**document["metadata"], **added, **metadata}}


def test_of_a_node_devices_labels_taints_and_readiness_are_kept() -> None:
    node = stored(a_node("n1", gpus=2, taints=["team=a:NoSchedule"], labels={"zone": "z"}).manifest)

    view = projections.node(node)

    assert (view.name, view.uid, view.ready, view.unschedulable) == ("n1", UID, True, False)
    assert view.allocatable == {"nvidia.com/gpu": 2}
    assert view.labels["zone"] == "z"
    assert Taint("team", "a", "NoSchedule") in view.taints


@pytest.mark.parametrize(
    ("node", "ready", "unschedulable"),
    [
        (a_node("n1"), True, False),
        (a_node("n1", ready=False), False, False),
        (a_node("n1", cordoned=True), True, True),
    ],
)
def test_a_node_is_ready_and_schedulable_as_its_kubelet_and_its_admin_say(
    node: Any, ready: bool, unschedulable: bool
) -> None:
    view = projections.node(stored(node.manifest))

    assert (view.ready, view.unschedulable) == (ready, unschedulable)


def test_a_node_of_which_nothing_is_known_yet_is_not_ready() -> None:
    view = projections.node({"metadata": {"name": "n1", "uid": UID}})

    assert (view.ready, view.allocatable, view.taints, view.labels) == (False, {}, (), {})


def test_what_the_node_controller_adds_to_a_node_that_is_away_is_no_taint_of_its_own() -> None:
    away = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}

    view = projections.node({"metadata": {"name": "n1", "uid": UID}, "spec": {"taints": [away]}})

    assert view.taints == ()


def test_a_heartbeat_of_a_kubelet_changes_nothing_that_is_kept() -> None:
    before = stored(a_node("n1").manifest)
    condition = {**before["status"]["conditions"][0], "lastHeartbeatTime": "2027-01-01T00:00:00Z"}

    after = {**before, "status": {**before["status"], "conditions": [condition], "images": [{"names": ["x"]}]}}
    after["metadata"] = {**after["metadata"], "resourceVersion": "8", "managedFields": [{"manager": "kubelet"}]}

    assert projections.node(before) == projections.node(after)


QUANTITIES = st.one_of(
    st.sampled_from(["8", "7500m", "16Gi", "1e3", "128974848000m", "1Ei", "2P", "", "eight", "-1", "0.5", "3k"]),
    st.text(max_size=6),
    st.integers(),
)


@given(
    st.dictionaries(
        st.sampled_from(["cpu", "memory", "pods", "hugepages-2Mi", "nvidia.com/gpu", "a/b", "a/c"]), QUANTITIES
    )
)
def test_no_quantity_of_a_node_keeps_the_operator_from_seeing_it(allocatable: dict[str, Any]) -> None:
    view = projections.node({"metadata": {"name": "n", "uid": UID}, "status": {"allocatable": allocatable}})

    assert all(count >= 0 and "/" in name for name, count in view.allocatable.items())


def a_pod(**status: Any) -> dict[str, Any]:
    labels = {
        "hpi.paddlex.io/pipeline": "ocr",
        "hpi.paddlex.io/class": "cpu",
        "hpi.paddlex.io/revision": "abc",
        "hpi.paddlex.io/track": "stable",
    }
    metadata = {"name": "p", "uid": UID, "labels": labels, "creationTimestamp": "2026-01-02T03:04:05Z"}
    return {"metadata": metadata, "spec": {"nodeName": "n1"}, "status": status}


def test_of_a_pod_is_kept_where_it_belongs() -> None:
    view = projections.pod(a_pod(phase="Running", conditions=[{"type": "Ready", "status": "True"}]))

    assert (view.revision, view.class_, view.track, view.node) == ("abc", "cpu", "stable", "n1")
    assert (view.phase, view.ready, view.deleting) == ("Running", True, False)


def test_a_pod_that_crashes_says_why_by_its_containers_last_words() -> None:
    serve = {
        "name": "serve",
        "ready": False,
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
        "lastState": {"terminated": {"exitCode": 137, "message": "out of memory"}},
    }

    view = projections.pod(a_pod(phase="Running", containerStatuses=[{"name": "side", "ready": True}, serve]))

    assert (view.container, view.waiting_reason, view.message) == ("serve", "CrashLoopBackOff", "out of memory")
    assert (view.restarts, view.exit_code) == (3, 137)


def test_a_pod_without_its_image_says_so() -> None:
    serve = {"name": "serve", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "gone"}}}

    view = projections.pod(a_pod(phase="Pending", containerStatuses=[serve]))

    assert (view.waiting_reason, view.message, view.exit_code) == ("ImagePullBackOff", "gone", None)


def test_a_pod_that_no_node_takes_says_since_when_and_why() -> None:
    waits = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available",
        "lastTransitionTime": "2026-01-02T03:04:06Z",
    }

    view = projections.pod(a_pod(phase="Pending", conditions=[waits]))

    assert view.unschedulable_since == datetime(2026, 1, 2, 3, 4, 6, tzinfo=timezone.utc)
    assert view.message == "0/3 nodes are available"


def test_the_last_words_of_a_container_have_a_bound_and_their_end_is_kept() -> None:
    ended = {"terminated": {"exitCode": 1, "message": "x" * 5_000 + "the end\n"}}

    view = projections.pod(a_pod(containerStatuses=[{"name": "serve", "state": ended}]))

    assert len(view.message) == projections.MAX_MESSAGE
    assert view.message.endswith("the end")


PARTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.sampled_from(["True", "x", ""])),
    lambda inner: st.dictionaries(
        st.sampled_from(["waiting", "terminated", "reason", "message", "exitCode", "running"]), inner, max_size=3
    ),
    max_leaves=6,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"name": st.just("serve")},
            optional={"ready": st.booleans(), "restartCount": st.integers(0, 9), "state": st.none() | st.just({})},
        ),
        max_size=3,
    ),
    st.sampled_from([None, [], [{"type": "Ready", "status": "Unknown"}]]),
)
def test_no_half_written_status_keeps_a_pod_from_being_seen(containers: list[Any], conditions: Any) -> None:
    view = projections.pod(a_pod(containerStatuses=containers, conditions=conditions))

    assert view.name == "p"


def test_a_child_is_kept_without_what_changes_at_every_write() -> None:
    child = stored({"kind": "Service", "metadata": {"name": "s", "managedFields": [{}], "labels": {"a": "b"}}})

    kept = projections.child(child)

    assert not {"managedFields", "resourceVersion"} & kept["metadata"].keys()
    assert kept["metadata"]["labels"] == {"a": "b"}


def test_an_object_of_ours_is_kept_parsed_and_as_it_is_stored() -> None:
    kept = projections.kept(HPINodePool, stored(manifest("HPINodePool")))

    assert kept.parsed.metadata.name == manifest("HPINodePool")["metadata"]["name"]
    assert (kept.uid, kept.generation, kept.problem) == (UID, 3, "")
    assert kept.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def test_an_object_that_this_release_cannot_read_is_kept_with_its_problem() -> None:
    strange = manifest("HPIRuntime")
    strange["spec"]["accelerator"] = "Abacus"

    kept = projections.kept(HPIRuntime, stored(strange))

    assert kept.parsed is None
    assert "spec.accelerator" in kept.problem


def test_of_an_hpi_node_the_status_is_kept_parsed_alone() -> None:
    kept = projections.hpi_node(stored(manifest("HPINode", "full")))

    assert kept.parsed.status is not None
    assert "status" not in kept.live


@pytest.mark.parametrize(("metadata", "ending"), [({}, False), ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, True)])
def test_an_object_with_a_time_of_deletion_is_ending(metadata: dict[str, Any], ending: bool) -> None:
    assert projections.is_ending({"metadata": {"name": "ns", **metadata}}) is ending


def test_a_self_test_belongs_to_the_node_that_owns_it() -> None:
    owners = [{"kind": "HPINode", "name": "no"}, {"kind": "Node", "name": "n1"}]

    assert projections.node_of_test({"metadata": {"name": "t", "ownerReferences": owners}}) == "n1"
    assert projections.node_of_test({"metadata": {"name": "t"}}) is None
