"""A small cluster with a pipeline whose revisions come by canary."""

from __future__ import annotations

from typing import Any

from support.nodes import a_node
from support.observed import a_pipeline
from support.small_cluster import SmallCluster

GATEWAY = "gateway.networking.k8s.io/v1 HTTPRoute"
ROUTE = {"parentRefs": [{"name": "public"}]}
STEPS = [{"weightPercent": 10, "soakSeconds": 60}, {"weightPercent": 50, "soakSeconds": 120}]
CANARY = {"strategy": "Canary", "steps": STEPS}


def a_serving_cluster(*, gateway: bool = False, **spec: Any) -> SmallCluster:
    """Return a cluster in which the first revision serves alone, by replicas or behind a gateway."""
    route = {"route": ROUTE} if gateway else {}
    cluster = SmallCluster(
        a_pipeline(**{"replicas": 10, "rollout": CANARY, **route, **spec}),
        [a_node("n")],
        apis=[GATEWAY] if gateway else [],
    )
    cluster.settle()
    cluster.watch()
    return cluster


def another(cluster: SmallCluster, course: str = "serves") -> str:
    """Ask for another revision and return its name."""
    cluster.change(serving={"timeouts": {"requestSeconds": 30}})
    cluster.make_pass()
    name = cluster.status.wanted_revision
    assert name is not None
    cluster.courses[name] = course  # type: ignore[assignment]
    return name
