"""A small cluster with a pipeline whose revisions roll out."""

from __future__ import annotations

from typing import Any

from support.nodes import a_node
from support.observed import a_pipeline
from support.small_cluster import SmallCluster


def a_serving_cluster(**spec: Any) -> SmallCluster:
    """Return a cluster in which the first revision serves alone."""
    cluster = SmallCluster(a_pipeline(**{"replicas": 4, **spec}), [a_node("n")])
    cluster.settle()
    cluster.watch()
    return cluster


def another(cluster: SmallCluster, seconds: int = 30) -> str:
    """Ask for another revision: longer requests; return its name, which the next pass decides."""
    cluster.change(serving={"timeouts": {"requestSeconds": seconds}})
    cluster.make_pass()
    name = cluster.status.wanted_revision
    assert name is not None
    return name
