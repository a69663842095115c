"""Nodes in groups of equals: what a decision for one pipeline looks at instead of a thousand nodes; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hpi_core.api.base import Metadata
from hpi_core.api.v1alpha1.node import HPINode, NodeSpec, NodeStatus
from hpi_core.names import NODE_RUNTIME_PREFIX, node_runtime_label
from hpi_operator.plan.observed import MAX_EXAMPLES, NodeGroup, NodeView
from hpi_operator.plan.placement import ARCHITECTURE

ANY_UID: Final = "00000000-0000-0000-0000-000000000000"


def group_nodes(
    nodes: Iterable[tuple[NodeView, HPINode | None]], asked_labels: frozenset[str], runtimes: Iterable[str]
) -> tuple[NodeGroup, ...]:
    """Return the nodes in groups that no decision tells apart, in an order that does not depend on theirs.

    Args:
        nodes: Every node with its HPINode, where there is one of that very node.
        asked_labels: Labels that a decision may read, beside architecture and runtimes.
        runtimes: Names of all runtimes.
    """
    by_label = {node_runtime_label(name): name for name in runtimes}
    grouped: dict[Any, list[tuple[NodeView, HPINode | None]]] = {}
    for view, hpi_node in nodes:
        grouped.setdefault(_signature(view, hpi_node, asked_labels), []).append((view, hpi_node))
    return tuple(
        _group(members, asked_labels, by_label) for _, members in sorted(grouped.items(), key=lambda one: repr(one[0]))
    )


def _signature(view: NodeView, hpi_node: HPINode | None, asked: frozenset[str]) -> Any:
    devices = {name: count for name, count in view.allocatable.items() if "/" in name}
    return (
        tuple(sorted(_labels(view, asked).items())),
        tuple(sorted(devices.items())),
        tuple(sorted((one.key, one.value, one.effect) for one in view.taints)),
        view.ready and not view.unschedulable,
        None if hpi_node is None or hpi_node.status is None else _hardware(hpi_node),
    )


def _hardware(hpi_node: HPINode) -> Any:
    status = hpi_node.status
    if status is None:
        return None
    hardware = status.hardware
    # Engines are built ahead for a class of hardware: processors and whole gibibytes tell them apart.
    memory = None if hardware.memory_bytes is None else hardware.memory_bytes >> 30
    return (hardware.devices, hardware.drivers, hardware.processors, memory)


def _labels(view: NodeView, asked: frozenset[str]) -> dict[str, str]:
    return {
        key: value
        for key, value in view.labels.items()
        if key == ARCHITECTURE or key in asked or key.startswith(NODE_RUNTIME_PREFIX)
    }


def _group(
    members: list[tuple[NodeView, HPINode | None]], asked: frozenset[str], by_label: Mapping[str, str]
) -> NodeGroup:
    members = sorted(members, key=lambda one: one[0].name)
    view, hpi_node = members[0]
    labels = _labels(view, asked)
    usable = frozenset(name for label, name in by_label.items() if label in labels)
    stands_for = None
    if hpi_node is not None and hpi_node.status is not None:
        # What changes all the time on a node says nothing about its sort.
        stands_for = hpi_node.model_copy(
            update={
                "metadata": Metadata(name="any"),
                "spec": NodeSpec.model_validate({"nodeUid": ANY_UID}),
                "status": NodeStatus(hardware=hpi_node.status.hardware.model_copy(update={"notes": ()})),
            }
        )
    return NodeGroup(
        labels=labels,
        allocatable={name: count for name, count in view.allocatable.items() if "/" in name},
        taints=view.taints,
        schedulable=view.ready and not view.unschedulable,
        usable_runtimes=usable,
        hardware=stands_for,
        count=len(members),
        examples=tuple(one.name for one, _ in members[:MAX_EXAMPLES]),
    )
