"""Self-tests: pods that own a device of a node for a moment and prove that a runtime works on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

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
from hpi_operator.plan.intent import Deletion, Manifest, key_of
from hpi_operator.plan.observed import NodeView, ObservedNode
from hpi_operator.plan.placement import ARCHITECTURE, HARD_EFFECTS
from hpi_operator.plan.workload.pod import CONTAINER_SECURITY, agent_environment, pod_security
from hpi_operator.plan.workload.scheduling import HOSTNAME
from hpi_operator.plan.workload.storage import agent_token

MAX_SELF_TESTS_AT_ONCE: Final = 1
"""On one node: a self-test owns the device that it tests."""

MAX_NAME: Final = 63
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
    running = sum(test.get("status", {}).get("phase") not in ENDED for test in observed.self_tests)
    for runtime in runtimes:
        name = self_test_name(observed.node, runtime)
        if name in present or result_of(observed, runtime) in DECIDED or running >= MAX_SELF_TESTS_AT_ONCE:
            continue
        running += 1
        yield self_test_pod(observed, runtime, classes[runtime.spec.accelerator], name)


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


def result_of(observed: ObservedNode, runtime: HPIRuntime) -> str | None:
    """Return the state of the last self-test of a runtime's very lock on the very node, as its agent reports it."""
    hpi_node = observed.hpi_node
    if hpi_node is None or hpi_node.status is None or hpi_node.spec.node_uid != observed.node.uid:
        return None
    for one in hpi_node.status.runtimes:
        if one.name == runtime.metadata.name and one.lock_digest == runtime.spec.lock_digest:
            return None if one.self_test is None else one.self_test.state
    return None


def is_own(observed: ObservedNode, test: Manifest) -> bool:
    """Return whether the operator has made a self-test for this very Node."""
    owners = test["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == observed.node.uid and owner.get("controller") for owner in owners)


def self_test_pod(observed: ObservedNode, runtime: HPIRuntime, data: ClassData, name: str) -> Manifest:
    """Return the pod that proves a runtime on a node: it owns one device and runs a tiny model on every backend.

    Its one token is for the node's agent, which it tells how it ended; the agent knows it by its name.
    """
    node = observed.node
    token = agent_token()
    architecture = node.labels.get(ARCHITECTURE)
    image = next(one.image for one in runtime.spec.images if one.architecture == architecture)
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
                "image": image,
                "imagePullPolicy": observed.settings.image_pull_policy,
                "args": [SELF_TEST, "--device", data.device],
                "env": list(_environment(observed, runtime, data)),
                "resources": _resources(node, data),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": dict(CONTAINER_SECURITY),
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, token.mount],  # noqa: S108
            }
        ],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}}, token.volume],
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
