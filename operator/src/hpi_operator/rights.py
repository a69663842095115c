"""Every right that the operator needs, by what the code calls; the chart's ClusterRole is made of this list."""

from __future__ import annotations

from typing import Final

from hpi_operator.kube.resources import (
    CHILDREN,
    CLAIMS,
    CONFIG_MAPS,
    ENGINES,
    EVENTS,
    HPI_NODES,
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

LEASE: Final = "hpi-operator"
"""Name of the Lease of the election, in the operator's own namespace."""
WATCHED: Final = ("list", "watch")
STATED: Final = ("get", "create", "patch")
"""Server-side apply creates where there is nothing, after a look whose the name is."""


def needed_rights(namespace: str) -> tuple[Right, ...]:
    """Return every right, each with its reason beside it in this file.

    Args:
        namespace: The operator's own.
    """
    found: list[Right] = []
    # Pictures, and kopf.
    for resource in (NODES, HPI_NODES, RUNTIMES, NODE_POOLS, ENGINES, PODS, PIPELINES, NAMESPACES, *CHILDREN):
        found += [right(verb, resource) for verb in WATCHED]
    # The object of a pass, and what its spec names; of Secrets nothing but their metadata is asked for.
    found += [right("get", one) for one in (PIPELINES, CONFIG_MAPS, SECRETS, CLAIMS)]
    # Objects of pipelines. A claim holds what is the user's: it is never deleted.
    for resource in CHILDREN:
        found += [right(verb, resource) for verb in STATED]
        found += [right("delete", resource)] if resource is not CLAIMS else []
    # HPINodes; they go with their Node.
    found += [right(verb, HPI_NODES) for verb in STATED]
    # HPIEngines that are built ahead, and those that nothing wants any more.
    found += [right(verb, ENGINES) for verb in (*STATED, "delete")]
    # Statuses.
    found += [right("patch", one, "status") for one in (PIPELINES, ENGINES, RUNTIMES, NODE_POOLS)]
    # Labels of Nodes say which runtimes are usable there.
    found += [right("patch", NODES)]
    # Self-test pods, in the operator's namespace alone.
    found += [right(verb, PODS, namespace=namespace) for verb in (*STATED, "delete")]
    # The election.
    found += [right(verb, LEASES, namespace=namespace, name=LEASE) for verb in ("get", "update")]
    # A rule cannot name what is not there yet.
    found += [right("create", LEASES, namespace=namespace)]
    found += [right("create", EVENTS)]
    return tuple(dict.fromkeys(found))


def route_rights() -> tuple[Right, ...]:
    """Return the rights on HTTPRoutes, needed where the cluster has them."""
    return tuple(right(verb, ROUTES) for verb in (*WATCHED, *STATED, "delete"))
