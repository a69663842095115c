"""Roles for people: who has Kubernetes' own `view`, `edit` or `admin` in a namespace has the same of our kinds there.

Kinds without a namespace are in them as well: a RoleBinding gives nothing of those, a ClusterRoleBinding does.
"""

from __future__ import annotations

from typing import Final

from hpi_operator.install.installation import RBAC, RBAC_VERSION, metadata
from hpi_operator.install.rules import rules_of
from hpi_operator.kube.resources import ENGINES, NODE_POOLS, OWN, PIPELINES, RUNTIMES
from hpi_operator.kube.rights import Right, right
from hpi_operator.plan.intent import Manifest

READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "update", "patch", "delete", "deletecollection")

VIEW: Final = (
    *(right(verb, resource) for resource in OWN.values() for verb in READ),
    right("get", PIPELINES, "scale"),
)
EDIT: Final = (
    *VIEW,
    *(right(verb, PIPELINES) for verb in WRITE),
    # `kubectl scale`.
    *(right(verb, PIPELINES, "scale") for verb in ("update", "patch")),
)
ADMIN: Final = (
    *EDIT,
    # A decision that shall be taken again. Nobody but the operator makes one, nobody edits one.
    right("delete", ENGINES),
    *(right(verb, resource) for resource in (RUNTIMES, NODE_POOLS) for verb in WRITE),
)
"""Statuses are written by operator and agents alone, HPINodes by the operator alone."""


def people_roles() -> tuple[Manifest, ...]:
    """Return the three roles; Kubernetes adds the rules of each to its own role of that name, by the label."""
    return tuple(_role(name, rights) for name, rights in (("view", VIEW), ("edit", EDIT), ("admin", ADMIN)))


def _role(name: str, rights: tuple[Right, ...]) -> Manifest:
    written = metadata(f"hpi-{name}", "people")
    aggregated = {f"{RBAC}/aggregate-to-{name}": "true"}
    return {
        "apiVersion": RBAC_VERSION,
        "kind": "ClusterRole",
        "metadata": {**written, "labels": {**written["labels"], **aggregated}},
        "rules": rules_of(rights),
    }
