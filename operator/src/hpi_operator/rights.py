"""Every right that the operator needs, by what the code calls; the chart's ClusterRole is made of this list."""

from __future__ import annotations

from hpi_operator.kube.resources import (
    CHILDREN,
    CLAIMS,
    CONFIG_MAPS,
    ENGINES,
    EVENTS,
    HPI_NODES,
    JOBS,
    LEASES,
    NAMESPACES,
    NODE_POOLS,
    NODES,
    PIPELINES,
    PODS,
    ROUTES,
    RUNTIMES,
    SECRETS,
)
from hpi_operator.kube.rights import Right, right

WATCHED = ("list", "watch")


def needed_rights(namespace: str) -> tuple[Right, ...]:
    """Return every right, each with its reason beside it in this file.

    Args:
        namespace: The operator's own.
    """
    found: list[Right] = []
    # Pictures, and kopf.
    for resource in (NODES, HPI_NODES, RUNTIMES, NODE_POOLS, ENGINES, PODS, PIPELINES, *CHILDREN):
        found += [right(verb, resource) for verb in WATCHED]
    # The object of a pass, and what its spec names.
    found += [right("get", one) for one in (PIPELINES, NAMESPACES, CONFIG_MAPS, SECRETS, CLAIMS)]
    # Objects of pipelines: stated by server-side apply, which creates where there is none.
    for resource in CHILDREN:
        verbs = ("create", "patch") if resource is CLAIMS else ("create", "patch", "delete")
        found += [right(verb, resource) for verb in verbs if resource is not JOBS or verb]
    # HPINodes; they go with their Node.
    found += [right(verb, HPI_NODES) for verb in ("create", "patch")]
    found += [right("delete", ENGINES)]
    # Statuses.
    found += [right("patch", one, "status") for one in (PIPELINES, ENGINES, RUNTIMES, NODE_POOLS)]
    # Labels of Nodes say which runtimes are usable there.
    found += [right("patch", NODES)]
    # Self-test pods, in the operator's namespace alone.
    found += [right(verb, PODS, namespace=namespace) for verb in ("create", "patch", "delete")]
    # The election.
    found += [right(verb, LEASES, namespace=namespace) for verb in ("get", "create", "update")]
    found += [right("create", EVENTS)]
    return tuple(found)


def route_rights() -> tuple[Right, ...]:
    """Return the rights on HTTPRoutes, needed where the cluster has them."""
    return tuple(right(verb, ROUTES) for verb in (*WATCHED, "create", "patch", "delete"))
