"""Rights → rules of RBAC: each right in exactly one rule, nothing in a rule that is no right; pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hpi_operator.kube.rights import Right

VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
"""The order in which people write them."""


def rules_of(rights: Iterable[Right]) -> list[dict[str, Any]]:
    """Return the rules that grant exactly the rights: resources with the same verbs share one.

    In which namespace they hold is a matter of the binding: whoever calls passes rights of one place.
    """
    verbs: dict[tuple[str, str, str], set[str]] = {}
    for one in rights:
        verbs.setdefault((one.group, one.name or "", one.resource), set()).add(one.verb)
    resources: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (group, name, resource), found in verbs.items():
        resources.setdefault((group, name, tuple(sorted(found, key=VERBS.index))), []).append(resource)
    return [
        {
            "apiGroups": [group],
            "resources": sorted(found),
            **({"resourceNames": [name]} if name else {}),
            "verbs": list(words),
        }
        for (group, name, words), found in sorted(resources.items())
    ]
