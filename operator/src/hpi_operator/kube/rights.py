"""What the operator may do, asked before it begins: a missing right is named, instead of failing somewhere later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hpi_operator.kube.api import Api
from hpi_operator.kube.resources import ACCESS_REVIEWS, Resource


@dataclass(frozen=True)
class Right:
    """One verb on one resource."""

    verb: str
    group: str
    resource: str
    """Plural, with the subresource behind a slash where one is meant."""
    namespace: str | None = None
    """None: in every namespace."""
    name: str | None = None
    """Of the one object that is meant; None: every object."""

    def __str__(self) -> str:
        """Return the words of a rule: `patch deployments.apps in every namespace`."""
        which = f" named {self.name}" if self.name else ""
        where = f"in namespace {self.namespace}" if self.namespace else "in every namespace"
        return f"{self.verb} {self.resource}{'.' + self.group if self.group else ''}{which} {where}"


def right(
    verb: str,
    resource: Resource,
    subresource: str | None = None,
    namespace: str | None = None,
    name: str | None = None,
) -> Right:
    """Return a right on a resource of the table."""
    plural = resource.plural if subresource is None else f"{resource.plural}/{subresource}"
    return Right(verb, resource.group, plural, namespace, name)


def missing_rights(api: Api, rights: Iterable[Right]) -> tuple[Right, ...]:
    """Return those rights that this program does not have, by asking the API server for each.

    Raises:
        HpiError: The API server does not answer.
    """
    return tuple(one for one in sorted(set(rights), key=str) if not _is_allowed(api, one))


def _is_allowed(api: Api, one: Right) -> bool:
    resource, _, subresource = one.resource.partition("/")
    answer = api.request(
        "POST",
        ACCESS_REVIEWS.path(),
        body={
            "apiVersion": ACCESS_REVIEWS.api_version,
            "kind": ACCESS_REVIEWS.kind,
            "spec": {
                "resourceAttributes": {
                    "verb": one.verb,
                    "group": one.group,
                    "resource": resource,
                    "subresource": subresource,
                    "namespace": one.namespace or "",
                    "name": one.name or "",
                }
            },
        },
    )
    return bool(answer.get("status", {}).get("allowed"))
