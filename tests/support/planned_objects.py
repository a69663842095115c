"""The single objects that a pipeline is made of."""

from __future__ import annotations

from typing import Any

from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.pipeline import plan_pipeline
from support.observed import CLASSES, a_node_group, a_pipeline, observed

GATEWAY = "gateway.networking.k8s.io/v1 HTTPRoute"


def the(kind: str, seen: ObservedPipeline | None = None, name: str | None = None, **spec: Any) -> Manifest:
    """Return the one object of a kind that a pipeline is made of, on a node that has one of everything."""
    supply = [a_node_group(gpus=1), a_node_group("a", npus=1), a_node_group("m", mig={"1g.5gb": 7}), a_node_group("c")]
    looked_at = seen or observed(a_pipeline(**spec), supply=supply, apis=frozenset({GATEWAY}))
    found = [
        one
        for one in plan_pipeline(looked_at, CLASSES).apply
        if one["kind"] == kind and name in (None, one["metadata"]["name"])
    ]
    assert len(found) == 1, [one["metadata"]["name"] for one in found]
    return found[0]
