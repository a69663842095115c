"""Self-tests: pods that own a device of a node for a moment and prove that a runtime works on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hpi_core.api.v1alpha1.node import NodeRuntime
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import (
    ENV_BACKENDS,
    ENV_LOCK_DIGEST,
    ENV_RUNTIME,
    PART,
    RUNTIME,
    SELF_TEST,
    SELF_TEST_ACCOUNT,
    shortened,
)
from hpi_core.names import self_test_name as name_of_test
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.delivery import STORE, delivered_environment, forbids_host_paths
from hpi_operator.plan.intent import Deletion, Event, Manifest, key_of
from hpi_operator.plan.observed import NodeView, ObservedNode
from hpi_operator.plan.placement import ARCHITECTURE, HARD_EFFECTS
from hpi_operator.plan.stuck_self_tests import REASON as STUCK
from hpi_operator.plan.stuck_self_tests import stuck_test
from hpi_operator.plan.workload.pod import CONTAINER_SECURITY, agent_environment, pod_security
from hpi_operator.plan.workload.scheduling import HOSTNAME
from hpi_operator.plan.workload.storage import agent_token, mounted_runtimes

MAX_SELF_TESTS_AT_ONCE: Final = 1
"""On one node: a self-test owns the device that it tests."""

MAX_NAME: Final = 63
INSTALLED: Final = "Installed"
USABLE: Final = "Usable"
"""States of a runtime that a node's agent has installed."""
ENDED: Final = ("Succeeded", "Failed")
DECIDED: Final = ("Passed", "Failed")


def self_test_name(node: NodeView, runtime: HPIRuntime) -> str:
    """Return the name of a self-test pod: another lock, or another node of the same name, is another test."""
    return name_of_test(node.name, node.uid, runtime.metadata.name, runtime.spec.lock_digest)


def self_tests(
    observed: ObservedNode, runtimes: Sequence[HPIRuntime], classes: Mapping[ClassName, ClassData]
) -> Iterator[Manifest]:
    """Yield the self-test pods to make: one at a time, on a node that takes pods."""
    if not observed.node.ready or observed.node.unschedulable:
        return
    present = {test["metadata"]["name"] for test in observed.self_tests}
    # One whose container cannot be started keeps no other waiting.
    running = sum(
        test.get("status", {}).get("phase") not in ENDED and stuck_test(test) is None for test in observed.self_tests
    )
    for runtime in runtimes:
        name = self_test_name(observed.node, runtime)
        if not _can_be_tested(observed, runtime):
            continue
        if name in present or result_of(observed, runtime) in DECIDED or running >= MAX_SELF_TESTS_AT_ONCE:
            continue
        running += 1
        yield self_test_pod(observed, runtime, classes[runtime.spec.accelerator], name)


def _can_be_tested(observed: ObservedNode, runtime: HPIRuntime) -> bool:
    """Return whether a pod finds a runtime: in its image, or on the node, in a folder that it is allowed to mount."""
    if runtime.spec.delivery != STORE:
        return True
    row = row_of(observed, runtime)
    is_there = row is not None and row.state in (INSTALLED, USABLE)
    return is_there and not forbids_host_paths(observed.pod_security)


def row_of(observed: ObservedNode, runtime: HPIRuntime) -> NodeRuntime | None:
    """Return what the agent of the very node reports of a runtime's very lock; None: nothing."""
    hpi_node = observed.hpi_node
    if hpi_node is None or hpi_node.status is None or hpi_node.spec.node_uid != observed.node.uid:
        return None
    wanted = (runtime.metadata.name, runtime.spec.lock_digest)
    return next((one for one in hpi_node.status.runtimes if (one.name, one.lock_digest) == wanted), None)


def over_self_tests(observed: ObservedNode, runtimes: Sequence[HPIRuntime]) -> Iterator[Deletion]:
    """Yield self-test pods whose result is on record, and those of runtimes that the node shall not have."""
    if not observed.complete:
        return
    wanted = {self_test_name(observed.node, one): one for one in runtimes}
    for test in sorted(observed.self_tests, key=lambda one: str(one["metadata"]["name"])):
        metadata = test["metadata"]
        if metadata.get("deletionTimestamp") is not None or not is_own(observed, test):
            continue
        runtime = wanted.get(metadata["name"])
        key = key_of({"apiVersion": "v1", "kind": "Pod", **test})
        if runtime is None:
            yield Deletion(key, metadata["uid"], "the node shall not have the runtime")
        elif result_of(observed, runtime) in DECIDED and test.get("status", {}).get("phase") in ENDED:
            yield Deletion(key, metadata["uid"], "its result is on record")
        elif result_of(observed, runtime) not in DECIDED and _image_of(test) != image_for(observed.node, runtime):
            yield Deletion(key, metadata["uid"], "the runtime has another image since")


def result_of(observed: ObservedNode, runtime: HPIRuntime) -> str | None:
    """Return the state of the last self-test of a runtime's very lock on the very node, as its agent reports it."""
    row = row_of(observed, runtime)
    return None if row is None or row.self_test is None else row.self_test.state


def events_of_stuck(observed: ObservedNode, runtimes: Sequence[HPIRuntime]) -> Iterator[Event]:
    """Yield what people are told of self-tests that cannot start."""
    wanted = {self_test_name(observed.node, one): one.metadata.name for one in runtimes}
    for test in sorted(observed.self_tests, key=lambda one: str(one["metadata"]["name"])):
        runtime, stuck = wanted.get(test["metadata"]["name"]), stuck_test(test)
        if runtime is not None and stuck is not None and is_own(observed, test):
            yield Event(STUCK, f"{runtime}: {stuck}", "Warning")


def is_own(observed: ObservedNode, test: Manifest) -> bool:
    """Return whether the operator has made a self-test for this very Node."""
    owners = test["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == observed.node.uid and owner.get("controller") for owner in owners)


def image_for(node: NodeView, runtime: HPIRuntime) -> str | None:
    """Return the image of a runtime for a node; None: it has none for its architecture."""
    architecture = node.labels.get(ARCHITECTURE)
    return next((one.image for one in runtime.spec.images if one.architecture == architecture), None)


def _image_of(test: Manifest) -> str | None:
    containers = (test.get("spec") or {}).get("containers") or ()
    return containers[0].get("image") if containers else None


def self_test_pod(observed: ObservedNode, runtime: HPIRuntime, data: ClassData, name: str) -> Manifest:
    """Return the pod that proves a runtime on a node: it owns one device and runs a tiny model on every backend.

    Its one token is for the node's agent, which it tells how it ended; the agent knows it by its name.
    """
    node = observed.node
    mounted = [agent_token()]
    if runtime.spec.delivery == STORE:
        mounted.append(mounted_runtimes(observed.settings))
    spec: dict[str, Any] = {
        "nodeSelector": {HOSTNAME: node.labels.get(HOSTNAME, node.name)},
        "restartPolicy": "Never",
        "activeDeadlineSeconds": runtime.spec.self_test.timeout_seconds,
        "serviceAccountName": SELF_TEST_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": _tolerations(node, data),
        "securityContext": pod_security(group=False),
        "containers": [
            {
                "name": SELF_TEST,
                "image": image_for(node, runtime),
                "imagePullPolicy": observed.settings.image_pull_policy,
                "args": [SELF_TEST, "--device", data.device],
                "env": list(_environment(observed, runtime, data)),
                "resources": _resources(node, data),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": dict(CONTAINER_SECURITY),
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *(one.mount for one in mounted)],  # noqa: S108
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}}, *(one.volume for one in mounted)],
    }
    if data.runtime_class is not None:
        spec["runtimeClassName"] = data.runtime_class
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": node.name,
        "uid": node.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": observed.settings.namespace,
            "labels": {PART: SELF_TEST, RUNTIME: shortened(runtime.metadata.name, MAX_NAME)},
            # With the node go its tests.
            "ownerReferences": [owner],
        },
        "spec": spec,
    }


def _environment(observed: ObservedNode, runtime: HPIRuntime, data: ClassData) -> Iterator[dict[str, Any]]:
    yield {"name": ENV_RUNTIME, "value": runtime.metadata.name}
    if runtime.spec.delivery == STORE:
        yield from delivered_environment(runtime.spec.variant, runtime.spec.lock_digest)
    else:
        yield {"name": ENV_LOCK_DIGEST, "value": runtime.spec.lock_digest}
    yield {"name": ENV_BACKENDS, "value": ",".join(runtime.spec.backends)}
    yield from agent_environment(observed.settings)
    # Whatever the runtimes write, they write into scratch.
    yield {"name": "HOME", "value": "/tmp"}  # noqa: S108
    for name, value in sorted(data.environment.items()):
        yield {"name": name, "value": value}


def _resources(node: NodeView, data: ClassData) -> dict[str, Any]:
    resources: dict[str, Any] = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}}
    offered = [name for name, count in node.allocatable.items() if data.matches(name) and count > 0]
    if offered:
        device = min(offered, key=lambda name: (data.rank(name), name))
        resources["requests"][device] = resources["limits"][device] = "1"
    return resources


def _tolerations(node: NodeView, data: ClassData) -> list[dict[str, Any]]:
    """Return what lets the pod land on this very node: its pool has chosen it, whatever taints it."""
    written = [dict(one) for one in data.tolerations]
    for taint in node.taints:
        one = {"key": taint.key, "operator": "Equal", "value": taint.value, "effect": taint.effect}
        if taint.effect in HARD_EFFECTS and one not in written:
            written.append(one if taint.value else {"key": taint.key, "operator": "Exists", "effect": taint.effect})
    return written
