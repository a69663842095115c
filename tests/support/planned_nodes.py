"""Plans of single nodes, and what their agents have told."""

from __future__ import annotations

from typing import Any

from hpi_operator.plan.intent import Plan
from hpi_operator.plan.node import plan_node
from hpi_operator.plan.observed import ObservedNode
from support.manifests import Document
from support.nodes import PlayedNode
from support.observed import CLASSES, CPU_RUNTIME, a_digest, an_hpi_node


def plan(seen: ObservedNode) -> Plan:
    """Return the plan."""
    return plan_node(seen, CLASSES)


def self_tests_in(planned: Plan) -> list[Document]:
    """Return the self-test pods that a plan makes."""
    return [dict(one) for one in planned.apply if one["kind"] == "Pod"]


def told(node: PlayedNode, runtime: str = CPU_RUNTIME, state: str | None = "Passed", letter: str = "a") -> Any:
    """Return the HPINode of a node whose agent has told of a self-test."""
    one: Document = {"name": runtime, "lockDigest": a_digest(letter), "state": "Installed"}
    if state is not None:
        one["selfTest"] = {"state": state}
    return an_hpi_node(node, status={"runtimes": [one]})
