"""The roles of operator and agent, written from what they call, and their bindings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hpi_operator.install.installation import RBAC, RBAC_VERSION, Account, Installation, metadata
from hpi_operator.install.rules import rules_of
from hpi_operator.kube.resources import ENGINES, EVENTS, HPI_NODES, LEASES
from hpi_operator.kube.rights import Right, right
from hpi_operator.plan.intent import Manifest
from hpi_operator.rights import needed_rights, route_rights

AGENT_RIGHTS: Final = (
    # Its own HPINode: read once, watched by name, and what it found. `hpi-agent-nodes` says whose.
    right("get", HPI_NODES),
    right("watch", HPI_NODES),
    right("patch", HPI_NODES, "status"),
    # Resolutions: read when a pod or its HPINode names one; decided under the Lease of the same name.
    right("get", ENGINES),
    right("patch", ENGINES, "status"),
    *(right(verb, LEASES) for verb in ("get", "create", "update", "patch")),
    # Who a serving pod is that speaks to it.
    Right("create", "authentication.k8s.io", "tokenreviews"),
    right("create", EVENTS),
)
"""Everything that a node agent may do. It lists nothing, and has no right on Nodes, Pods, Secrets or any spec."""


def operator_roles(installation: Installation) -> tuple[Manifest, ...]:
    """Return the operator's ClusterRole, the Role in its own namespace, and the bindings of both.

    HTTPRoutes are in it where the cluster has none, too: a rule on an API that is missing grants nothing.
    """
    rights = (*needed_rights(installation.namespace), *route_rights())
    everywhere = [one for one in rights if one.namespace is None]
    inside = [one for one in rights if one.namespace is not None]
    return (
        *_bound_role(installation.operator, "operator", None, everywhere),
        *_bound_role(installation.operator, "operator", installation.namespace, inside),
    )


def agent_roles(installation: Installation) -> tuple[Manifest, ...]:
    """Return the agent's ClusterRole and its binding; admission policies hold each agent to its own node's objects."""
    return _bound_role(installation.agent, "agent", None, AGENT_RIGHTS)


def _bound_role(
    account: Account, component: str, namespace: str | None, rights: Iterable[Right]
) -> tuple[Manifest, Manifest]:
    kind = "ClusterRole" if namespace is None else "Role"
    written = metadata(account.name, component, namespace)
    role = {"apiVersion": RBAC_VERSION, "kind": kind, "metadata": written, "rules": rules_of(rights)}
    binding = {
        "apiVersion": RBAC_VERSION,
        "kind": f"{kind}Binding",
        "metadata": written,
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": account.name},
        "subjects": [account.subject],
    }
    return role, binding
