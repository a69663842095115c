"""Bounded reads with the rights of the person who asks; what may not be read is said, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from typing import Final

from hpi_core.errors import HpiError, Refused, Stop
from hpi_operator.kube.api import Api
from hpi_operator.kube.errors import Away, Expired, Forbidden, NotThere, Unknown
from hpi_operator.kube.resources import OWN, Resource
from hpi_operator.kube.selections import Selection
from hpi_operator.kubectl.reports.documents import Document, name_of, namespace_of

AT_ONCE: Final = 8
"""Requests that are sent at the same time."""
SINGLE_READS: Final = 16
"""So many objects are read one by one; of more, the whole list costs less."""
MAX_NEAR: Final = 3


class Reader:
    """Reads of one call.

    Attributes:
        unseen: What could not be read although it would have told more, one sentence each.
    """

    def __init__(self, api: Api, server: str) -> None:
        self._api = api
        self._server = server
        self.unseen: list[str] = []

    def one(self, resource: Resource, name: str, namespace: str | None = None) -> Document:
        """Return an object that was asked for.

        Raises:
            Refused: There is none of that name; the text has the nearest, or says that the kind is missing.
            HpiError: As `in_words` says.
        """
        try:
            found = self._api.get(resource, name, namespace)
        except HpiError as error:
            raise self.in_words(error, resource) from error
        if found is None:
            raise self._unknown(resource, name, namespace)
        return found

    def find(self, resource: Resource, name: str, namespace: str | None = None) -> Document | None:
        """Return an object that tells more where it is there and may be read."""
        try:
            return self._api.get(resource, name, namespace)
        except (Forbidden, Refused) as error:
            self._cannot(resource, error, namespace)
            return None
        except HpiError as error:
            raise self.in_words(error, resource) from error

    def named(self, resource: Resource, names: Iterable[str], namespace: str | None = None) -> dict[str, Document]:
        """Return those of some objects that are there: read one by one, or out of the list where they are many."""
        wanted = sorted(set(names))
        if len(wanted) > SINGLE_READS:
            return {name_of(one): one for one in self.some(resource, namespace) if name_of(one) in set(wanted)}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(lambda name: self.find(resource, name, namespace), wanted))
        return {name: one for name, one in zip(wanted, found, strict=True) if one is not None}

    def all(self, resource: Resource, namespace: str | None, *, labels: str = "", fields: str = "") -> list[Document]:
        """Return all objects that were asked for.

        Raises:
            HpiError: As `in_words` says.
        """
        try:
            return self._list(Selection(resource, namespace, labels=labels, fields=fields))
        except HpiError as error:
            raise self.in_words(error, resource, namespace) from error

    def some(self, resource: Resource, namespace: str | None, *, labels: str = "", fields: str = "") -> list[Document]:
        """Return objects that tell more where they may be read."""
        try:
            return self._list(Selection(resource, namespace, labels=labels, fields=fields))
        except (Forbidden, Refused) as error:
            self._cannot(resource, error, namespace)
            return []
        except HpiError as error:
            raise self.in_words(error, resource, namespace) from error

    def near(self, resource: Resource, name: str, namespace: str | None) -> str:
        """Return what to say of a name that no object has: the nearest ones, or how many there are."""
        there = self.some(resource, namespace)
        return f"of {resource.plural}, {nearest(name, map(name_of, there))}"

    def in_words(self, error: HpiError, resource: Resource, namespace: str | None = None) -> HpiError:
        """Return an error of the API server in words for the person who asked; its class stays."""
        plural = resource.plural
        if isinstance(error, NotThere) and resource.kind in OWN:
            return Refused(
                f"the cluster at {self._server} does not serve {plural}: its CustomResourceDefinitions are missing; "
                "apply those of the release (kubectl apply --server-side -f crds/), or choose another --context"
            )
        if isinstance(error, Forbidden):
            where = f"in namespace {namespace}" if namespace else "in every namespace" if resource.namespaced else ""
            right = error.right or f"read {plural}"
            return Stop(
                f"you may not {right} {where}".rstrip()
                + ": ask for the role `view` there, or for the ClusterRole hpi-view of the whole cluster; "
                "-n NAMESPACE asks for one namespace alone"
            )
        if isinstance(error, Unknown):
            return type(error)(
                f"the API server at {self._server} does not know who you are: log in again (kubectl auth whoami), "
                "or choose another --context"
            )
        if isinstance(error, Away):
            return Away(
                f"the API server at {self._server} does not answer, or not now: {error}; see that the cluster is up "
                "and that this machine reaches it (kubectl cluster-info)",
                error.after_seconds,
            )
        return error

    def _list(self, selection: Selection) -> list[Document]:
        try:
            return [one for page in self._api.pages(selection) for one in page.objects]
        except Expired:
            # The server gave the list up between two pages.
            return [one for page in self._api.pages(selection) for one in page.objects]

    def _cannot(self, resource: Resource, error: HpiError, namespace: str | None) -> None:
        words = str(self.in_words(error, resource, namespace))
        line = f"{resource.plural}: {words}"
        if line not in self.unseen:
            self.unseen.append(line)

    def _unknown(self, resource: Resource, name: str, namespace: str | None) -> Refused:
        where = f" in namespace {namespace}" if namespace else ""
        try:
            there = self._list(Selection(resource, namespace, metadata_only=True))
        except NotThere as error:
            return Refused(str(self.in_words(error, resource)))
        except HpiError:
            return Refused(f"there is no {resource.kind} {name}{where}")
        elsewhere = self._elsewhere(resource, name) if resource.namespaced else []
        if elsewhere:
            there_is = f"there is one in {', '.join(elsewhere)}: ask with -n {elsewhere[0]}"
            return Refused(f"there is no {resource.kind} {name}{where}; {there_is}")
        return Refused(f"there is no {resource.kind} {name}{where}; {nearest(name, map(name_of, there))}")

    def _elsewhere(self, resource: Resource, name: str) -> list[str]:
        try:
            found = self._list(Selection(resource, None, fields=f"metadata.name={name}", metadata_only=True))
        except HpiError:
            # Who sees one namespace alone is told about that one.
            return []
        return sorted(namespace_of(one) for one in found)[:MAX_NEAR]


def nearest(name: str, names: Iterable[str]) -> str:
    """Return what to say of an unknown name: the nearest known ones, or how many there are."""
    known = sorted(names)
    near = get_close_matches(name, known, MAX_NEAR)
    if near:
        return f"the nearest {'is' if len(near) == 1 else 'are'} {', '.join(near)}"
    if not known:
        return "there is none at all"
    more = f" and {len(known) - MAX_NEAR} more" if len(known) > MAX_NEAR else ""
    return f"there {'is' if len(known) == 1 else 'are'} {', '.join(known[:MAX_NEAR])}{more}"
