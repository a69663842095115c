"""The decision for one node: its HPINode, its self-test pods, the labels that let pods land on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.node import MAX_ENGINES, MAX_RUNTIMES
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import NODE_RUNTIME_PREFIX, PART, RUNTIME, USABLE, node_runtime_label, shortened
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.intent import Deletion, Manifest, Plan, key_of
from hpi_operator.plan.membership import pools_of
from hpi_operator.plan.observed import NodeGroup, ObservedNode
from hpi_operator.plan.placement import ARCHITECTURE, chip, compute_capability, driver
from hpi_operator.plan.versions import sortable
from hpi_operator.plan.workload.pod import USER

SELF_TEST: Final = "self-test"
MAX_SELF_TESTS_AT_ONCE: Final = 1
"""On one node: a self-test owns the device that it tests."""


def plan_node(observed: ObservedNode, classes: Mapping[ClassName, ClassData]) -> Plan:
    """Return what should be for one node.

    Args:
        observed: Everything that was observed.
        classes: The classes of hardware as data.
    """
    pools = pools_of(observed.node.labels, observed.pools, observed.pool_ages)
    pool = pools[0] if pools else None
    runtimes = wanted_runtimes(observed, classes) if pool is not None else ()
    hpi_node = _hpi_node(observed, None if pool is None else pool.metadata.name, runtimes)
    tests = tuple(_self_tests(observed, runtimes, classes))
    return Plan(
        apply=(hpi_node, *tests),
        delete=tuple(_deletions(observed, runtimes)),
        labels=_labels(observed, runtimes),
    )


def wanted_runtimes(observed: ObservedNode, classes: Mapping[ClassName, ClassData]) -> tuple[HPIRuntime, ...]:
    """Return the runtimes that the node shall have: allowed by its pool, fitting its hardware, the newest first."""
    pools = pools_of(observed.node.labels, observed.pools, observed.pool_ages)
    allowed = pools[0].spec.runtimes if pools else ()
    group = _as_group(observed)
    fitting = [
        runtime
        for runtime in observed.runtimes
        if (not allowed or runtime.metadata.name in allowed)
        and runtime.spec.state != "Withdrawn"
        and lack_of(runtime, group, classes) is None
    ]
    ordered = sorted(fitting, key=lambda one: one.metadata.name)
    ordered.sort(key=lambda one: sortable(one.spec.version), reverse=True)
    return tuple(ordered[:MAX_RUNTIMES])


def lack_of(runtime: HPIRuntime, group: NodeGroup, classes: Mapping[ClassName, ClassData]) -> str | None:
    """Return what a node lacks for a runtime; None: nothing."""
    spec = runtime.spec
    architecture = group.labels.get(ARCHITECTURE)
    if architecture not in {image.architecture for image in spec.images}:
        return f"it has no image for {architecture or 'an unknown architecture'}"
    if spec.accelerator == "CPU":
        return None
    data = classes[spec.accelerator]
    if not any(data.matches(name) and count > 0 for name, count in group.allocatable.items()):
        return f"the node offers no {' or '.join(data.resources)}"
    seen = driver(group, data)
    if spec.driver is not None and seen is not None:
        if spec.driver.min and sortable(seen) < sortable(spec.driver.min):
            return f"the driver is {seen}, it needs {spec.driver.min} at least"
        if spec.driver.max and sortable(seen) > sortable(spec.driver.max):
            return f"the driver is {seen}, it takes {spec.driver.max} at most"
    capability = compute_capability(group, data)
    if spec.compute_capabilities and capability is not None and capability not in spec.compute_capabilities:
        return f"compute capability {capability} is none of {', '.join(spec.compute_capabilities)}"
    soc = chip(group, data)
    if spec.chips and soc is not None and soc not in spec.chips:
        return f"chip {soc} is none of {', '.join(spec.chips)}"
    # What is not known yet is left to the self-test, which owns the device.
    return None


def _as_group(observed: ObservedNode) -> NodeGroup:
    node = observed.node
    return NodeGroup(
        node.labels, node.allocatable, node.taints, node.ready, frozenset(), observed.hpi_node, 1, (node.name,)
    )


def _hpi_node(observed: ObservedNode, pool: str | None, runtimes: Sequence[HPIRuntime]) -> Manifest:
    spec: dict[str, Any] = {
        "nodeUid": observed.node.uid,
        "runtimes": [
            {"name": one.metadata.name, "lockDigest": one.spec.lock_digest, "delivery": one.spec.delivery}
            for one in runtimes
        ],
        "engines": [
            {"namespace": one.metadata.namespace or "default", "name": one.metadata.name, "priority": 0}
            for one in sorted(
                observed.wanted_engines, key=lambda one: (one.metadata.namespace or "", one.metadata.name)
            )
        ][:MAX_ENGINES],
    }
    if pool is not None:
        spec["pool"] = pool
        quota = next(one.spec.cache.quota_bytes for one in observed.pools if one.metadata.name == pool)
        spec["cacheQuotaBytes"] = quota
    return {
        "apiVersion": API_VERSION,
        "kind": "HPINode",
        "metadata": {
            "name": observed.node.name,
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": observed.node.name,
                    "uid": observed.node.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": spec,
    }


def self_test_name(node: str, runtime: HPIRuntime) -> str:
    """Return the name of a self-test pod: another lock is another test."""
    digits = runtime.spec.lock_digest.partition(":")[2][:8]
    return shortened(f"self-test-{runtime.metadata.name}-{node}", 54) + f"-{digits}"


def _self_tests(
    observed: ObservedNode, runtimes: Sequence[HPIRuntime], classes: Mapping[ClassName, ClassData]
) -> Iterator[Manifest]:
    """Yield the self-test pods that should be: those that are there, and one more at a time."""
    present = {test["metadata"]["name"] for test in observed.self_tests}
    running = sum(test.get("status", {}).get("phase") not in ("Succeeded", "Failed") for test in observed.self_tests)
    for runtime in runtimes:
        name = self_test_name(observed.node.name, runtime)
        if name in present or not _needs_test(observed, runtime):
            continue
        if not observed.node.ready or observed.node.unschedulable or running >= MAX_SELF_TESTS_AT_ONCE:
            continue
        running += 1
        yield self_test_pod(observed, runtime, classes[runtime.spec.accelerator], name)


def _needs_test(observed: ObservedNode, runtime: HPIRuntime) -> bool:
    """Return whether neither a pass nor a failure of this very lock is on record."""
    if observed.hpi_node is None or observed.hpi_node.status is None:
        return True
    for one in observed.hpi_node.status.runtimes:
        if (
            one.name == runtime.metadata.name
            and one.lock_digest == runtime.spec.lock_digest
            and one.self_test is not None
        ):
            return one.self_test.state not in ("Passed", "Failed")
    return True


def self_test_pod(observed: ObservedNode, runtime: HPIRuntime, data: ClassData, name: str) -> Manifest:
    """Return the pod that proves a runtime on a node: it owns one device and runs a tiny model on every backend."""
    architecture = observed.node.labels.get(ARCHITECTURE)
    image = next(one.image for one in runtime.spec.images if one.architecture == architecture)
    resources: dict[str, Any] = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "4Gi"}}
    device = next(
        (one for one in sorted(observed.node.allocatable, key=lambda one: (data.rank(one), one)) if data.matches(one)),
        None,
    )
    if device is not None and data.name != "CPU":
        resources["requests"][device] = resources["limits"][device] = "1"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": observed.settings.namespace,
            "labels": {PART: SELF_TEST, RUNTIME: shortened(runtime.metadata.name, 63)},
            # With the node goes its HPINode, with that its tests.
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": observed.node.name,
                    "uid": observed.node.uid,
                    "controller": False,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "nodeSelector": {
                "kubernetes.io/hostname": observed.node.labels.get("kubernetes.io/hostname", observed.node.name)
            },
            "restartPolicy": "Never",
            "activeDeadlineSeconds": runtime.spec.self_test.timeout_seconds,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": list(data.tolerations),
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": SELF_TEST,
                    "image": image,
                    "imagePullPolicy": observed.settings.image_pull_policy,
                    "args": ["self-test", "--device", data.device],
                    "resources": resources,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


def _deletions(observed: ObservedNode, runtimes: Sequence[HPIRuntime]) -> Iterator[Deletion]:
    """Yield self-test pods whose result is on record, and those of runtimes that the node shall not have."""
    if not observed.complete:
        return
    wanted = {self_test_name(observed.node.name, one): one for one in runtimes}
    for test in observed.self_tests:
        runtime = wanted.get(test["metadata"]["name"])
        recorded = runtime is not None and not _needs_test(observed, runtime)
        over = test.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if test["metadata"].get("deletionTimestamp") is None and (runtime is None or (recorded and over)):
            why = "the node shall not have the runtime" if runtime is None else "its result is on record"
            yield Deletion(key_of({"apiVersion": "v1", "kind": "Pod", **test}), test["metadata"]["uid"], why)


def _labels(observed: ObservedNode, runtimes: Sequence[HPIRuntime]) -> dict[str, str | None]:
    """Return the labels that must change: one for each runtime whose self-test has passed, none for others."""
    passed = {node_runtime_label(one.metadata.name): USABLE for one in runtimes if is_usable(observed, one)}
    present = {key: value for key, value in observed.node.labels.items() if key.startswith(NODE_RUNTIME_PREFIX)}
    changes: dict[str, str | None] = {key: value for key, value in passed.items() if present.get(key) != value}
    if observed.complete:
        changes |= {key: None for key in present if key not in passed}
    return changes


def is_usable(observed: ObservedNode, runtime: HPIRuntime) -> bool:
    """Return whether the agent reports that this very lock is there and that its self-test has passed."""
    if (
        observed.hpi_node is None
        or observed.hpi_node.status is None
        or observed.hpi_node.spec.node_uid != observed.node.uid
    ):
        return False
    return any(
        one.name == runtime.metadata.name
        and one.lock_digest == runtime.spec.lock_digest
        and one.self_test is not None
        and one.self_test.state == "Passed"
        for one in observed.hpi_node.status.runtimes
    )
