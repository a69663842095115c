"""The decision for one node: its HPINode, its self-test pods, the labels that let pods land on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.node import MAX_ENGINES, MAX_RUNTIMES
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import NODE_RUNTIME_PREFIX, SELF_TEST, USABLE, node_runtime_label
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.delivery import STORE
from hpi_operator.plan.engine_fit import could_serve
from hpi_operator.plan.intent import Manifest, Plan
from hpi_operator.plan.membership import pools_of
from hpi_operator.plan.observed import NodeGroup, ObservedNode
from hpi_operator.plan.runtime_fit import node_lack
from hpi_operator.plan.self_tests import (
    events_of_stuck,
    over_self_tests,
    result_of,
    self_test_name,
    self_test_pod,
    self_tests,
)
from hpi_operator.plan.silent_self_tests import events_of, over_silent_tests, silent_tests
from hpi_operator.plan.versions import sortable

__all__ = ["SELF_TEST", "is_usable", "plan_node", "self_test_name", "self_test_pod", "wanted_runtimes"]


def plan_node(observed: ObservedNode, classes: Mapping[ClassName, ClassData]) -> Plan:
    """Return what should be for one node.

    Args:
        observed: Everything that was observed.
        classes: The classes of hardware as data.
    """
    pools = pools_of(observed.node.labels, observed.pools, observed.pool_ages)
    pool = pools[0] if pools else None
    runtimes = wanted_runtimes(observed, classes)
    silent = tuple(silent_tests(observed, runtimes))
    return Plan(
        apply=(_hpi_node(observed, pool, runtimes), *self_tests(observed, runtimes, classes)),
        delete=(*over_self_tests(observed, runtimes), *over_silent_tests(observed, silent)),
        events=(*events_of(silent), *events_of_stuck(observed, runtimes)),
        labels=_labels(observed, runtimes),
        look_again_seconds=min((one.look_again_seconds for one in silent), default=None),
    )


def wanted_runtimes(observed: ObservedNode, classes: Mapping[ClassName, ClassData]) -> tuple[HPIRuntime, ...]:
    """Return the runtimes that the node shall have: allowed by its pool and fitting its hardware.

    Of each variant the newest come first, so that many versions of one leave room for the others. One that is withdrawn
    reaches no more nodes, and stays where it is: pods may run it.
    """
    pools = pools_of(observed.node.labels, observed.pools, observed.pool_ages)
    if not pools:
        return ()
    allowed = pools[0].spec.runtimes
    group = _as_group(observed)
    there = {one.name for one in observed.hpi_node.spec.runtimes} if observed.hpi_node is not None else set()
    fitting = [
        runtime
        for runtime in observed.runtimes
        if (not allowed or runtime.metadata.name in allowed)
        and (runtime.spec.state != "Withdrawn" or runtime.metadata.name in there)
        and node_lack(runtime.spec, group, classes) is None
    ]
    newest = sorted(fitting, key=lambda one: one.metadata.name)
    newest.sort(key=lambda one: sortable(one.spec.version), reverse=True)
    place: dict[str, int] = {}
    ranked = []
    for one in newest:
        place[one.spec.variant] = place.get(one.spec.variant, -1) + 1
        ranked.append((place[one.spec.variant], one))
    return tuple(one for _, one in sorted(ranked, key=lambda pair: pair[0]))[:MAX_RUNTIMES]


def _as_group(observed: ObservedNode) -> NodeGroup:
    node = observed.node
    return NodeGroup(
        node.labels, node.allocatable, node.taints, node.ready, frozenset(), observed.hpi_node, 1, (node.name,)
    )


def _hpi_node(observed: ObservedNode, pool: HPINodePool | None, runtimes: Sequence[HPIRuntime]) -> Manifest:
    fitting = [one for one in observed.wanted_engines if could_serve(one, observed.hpi_node)]
    engines = sorted({(one.metadata.namespace or "default", one.metadata.name) for one in fitting})
    spec: dict[str, Any] = {
        "nodeUid": observed.node.uid,
        "runtimes": [
            {
                "name": one.metadata.name,
                "lockDigest": one.spec.lock_digest,
                "delivery": one.spec.delivery,
                **({"variant": one.spec.variant} if one.spec.delivery == STORE else {}),
            }
            for one in runtimes
        ],
        "engines": [{"namespace": namespace, "name": name, "priority": 0} for namespace, name in engines[:MAX_ENGINES]],
    }
    if pool is not None:
        spec["pool"] = pool.metadata.name
        spec["cacheQuotaBytes"] = pool.spec.cache.quota_bytes
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": observed.node.name,
        "uid": observed.node.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "HPINode",
        "metadata": {"name": observed.node.name, "ownerReferences": [owner]},
        "spec": spec,
    }


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
    return result_of(observed, runtime) == "Passed"
