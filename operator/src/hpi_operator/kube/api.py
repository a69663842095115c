"""Requests to the API server: plain JSON in, plain JSON out, errors by who acts next."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from hpi_core.names import FIELD_MANAGER
from hpi_operator.kube.bucket import Bucket
from hpi_operator.kube.errors import Away, Conflict, NotLeading, NotThere
from hpi_operator.kube.resources import Resource, path_of, resource_of
from hpi_operator.kube.selections import Page, Selection, Watch
from hpi_operator.kube.transport import Transport
from hpi_operator.plan.intent import Deletion, Manifest, key_of

READ_SECONDS: Final = 35.0
"""More than the API server's own 30 s for one request at most times; a list of many objects comes in pages."""

PAGE_ENTRIES: Final = 200
"""Objects of one page: a Node of a real cluster has 10 to 30 kB, and five to ten times that while it is parsed."""
MAX_PAGES: Final = 1_000
"""200,000 objects: beyond it the cluster is another one than this program was made for."""

WATCH_SECONDS: Final = 290
"""After so long the server ends a watch by itself, so that none hangs for ever."""
WATCH_SILENCE_SECONDS: Final = 75.0
"""Bookmarks come once a minute; a longer silence means that the connection is dead, or that there are no bookmarks:
either way the watch is opened anew."""

METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
METADATA_LIST: Final = METADATA_ONLY.format("List")
METADATA_OBJECT: Final = METADATA_ONLY.format("")

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"


class Api:
    """One connection, safe from several threads.

    Attributes:
        transport: Sends the requests.
        bucket: What every write waits for.
        may_write: Whether this operator leads. Asked after the wait for the bucket, immediately before a write is sent,
            so that one that lost the election meanwhile sends none. The election's own writes pass it by.
    """

    def __init__(self, transport: Transport, bucket: Bucket) -> None:
        self.transport: Final = transport
        self.bucket: Final = bucket
        self.may_write: Callable[[], bool] = lambda: True

    @classmethod
    def connect(cls, bucket: Bucket, *, kubeconfig: str | None = None, connections: int = 48) -> Api:
        """Return a connection, by a kubeconfig file or as the pod that this program runs in.

        Args:
            bucket: What every write waits for.
            kubeconfig: Path of a kubeconfig file; None: `$KUBECONFIG` where set, else the pod's own rights.
            connections: Most connections that are kept open.

        Raises:
            Refused: There is neither.
        """
        from hpi_operator.kube.configuration import load_client

        return cls(Transport(lambda: load_client(kubeconfig, connections)), bucket)

    # Reading.

    def get(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        metadata_only: bool = False,
        timeout_seconds: float = READ_SECONDS,
    ) -> Manifest | None:
        """Return one object, or its metadata alone; None where there is none."""
        headers = {"Accept": METADATA_OBJECT} if metadata_only else {}
        try:
            return self.request("GET", resource.path(namespace, name), headers=headers, timeout_seconds=timeout_seconds)
        except NotThere:
            return None

    def pages(self, selection: Selection) -> Iterator[Page]:
        """Yield a consistent list of all objects of a selection, page by page.

        A list that fails half way raises: what was yielded until then is no list.

        Raises:
            Expired: The server gave the list up between two pages; begin anew.
            Away: The server does not answer.
        """
        query = selection.query | {"limit": str(PAGE_ENTRIES)}
        headers = {"Accept": METADATA_LIST} if selection.metadata_only else {}
        path = selection.resource.path(selection.namespace)
        for _ in range(MAX_PAGES):
            answer = self.request("GET", path, query=query, headers=headers)
            metadata = answer.get("metadata", {})
            yield Page(tuple(answer.pop("items", None) or ()), metadata.get("resourceVersion", ""))
            token = metadata.get("continue")
            if not token:
                return
            query["continue"] = token
        raise Away(f"the list of {selection.resource.plural} has more than {MAX_PAGES} pages of {PAGE_ENTRIES}")

    def watch(self, selection: Selection, resource_version: str) -> Watch:
        """Open a watch from a version on; it ends by itself after some minutes: go on from the last version seen.

        Raises:
            Expired: The version is gone; list anew.
            Away: The server does not answer.
        """
        query = selection.query | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        headers = {"Accept": METADATA_OBJECT} if selection.metadata_only else {}
        path = selection.resource.path(selection.namespace)
        return Watch(self.transport.stream(path, query, headers, WATCH_SILENCE_SECONDS), selection.resource.plural)

    # Writing.

    def apply(self, manifest: Manifest, *, force: bool, priority: int = 5, subresource: str | None = None) -> Manifest:
        """State an object, or its status, by server-side apply as the operator's field manager.

        Args:
            manifest: Every field that is meant, and no other.
            force: Whether fields of other writers are taken from them.
            priority: Place among the writes that wait for the bucket; the smallest goes first.
            subresource: `status`, or None.

        Raises:
            Taken: Another writer owns a field, and `force` is false.
        """
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false", "fieldValidation": "Strict"}
        path = path_of(key_of(manifest), subresource)
        return self._write("PATCH", path, query, manifest, priority, content=APPLY)

    def merge(
        self, resource: Resource, name: str, patch: Manifest, *, namespace: str | None = None, priority: int = 5
    ) -> Manifest:
        """Patch single fields of an object that others own, such as labels of a Node."""
        query = {"fieldManager": FIELD_MANAGER}
        return self._write("PATCH", resource.path(namespace, name), query, patch, priority, content=MERGE)

    def create(self, manifest: Manifest, *, priority: int = 5) -> Manifest:
        """Create an object.

        Raises:
            Conflict: There is one of that name already.
        """
        return self._write("POST", _collection(manifest), {"fieldManager": FIELD_MANAGER}, manifest, priority)

    def delete(self, deletion: Deletion, *, priority: int = 5) -> None:
        """Delete exactly the object that was seen; that it is gone, or is another one by now, is no failure."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": deletion.uid},
        }
        try:
            self._write("DELETE", path_of(deletion.key), {}, body, priority)
        except (NotThere, Conflict):
            return

    def put_lease(self, manifest: Manifest, timeout_seconds: float) -> Manifest:
        """Create the election's Lease, or replace it where it has a resource version that is still the one given.

        It waits for nothing, and asks nobody whether this operator leads: that is what it decides.

        Raises:
            Conflict: Somebody wrote in between.
        """
        is_new = "resourceVersion" not in manifest["metadata"]
        return self.request(
            "POST" if is_new else "PUT",
            _collection(manifest) if is_new else path_of(key_of(manifest)),
            query={"fieldManager": FIELD_MANAGER},
            body=manifest,
            timeout_seconds=timeout_seconds,
        )

    def _write(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Manifest,
        priority: int,
        content: str = "application/json",
    ) -> Manifest:
        self.bucket.take(priority)
        if not self.may_write():
            raise NotLeading(f"{method} {path}: not sent, because another operator may lead by now")
        return self.request(method, path, query=query, headers={"Content-Type": content}, body=body)

    # Anything.

    def has_api(self, resource: Resource) -> bool:
        """Return whether the cluster serves a resource."""
        root = "/apis/" if resource.group else "/api/"
        try:
            served = self.request("GET", root + resource.api_version)
        except NotThere:
            return False
        return any(one["name"] == resource.plural for one in served.get("resources", ()))

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        timeout_seconds: float = READ_SECONDS,
    ) -> dict[str, Any]:
        """Send one request and return its JSON.

        Raises:
            HpiError: As `hpi_operator.kube.errors` says.
        """
        encoded = None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        content = {} if encoded is None else {"Content-Type": "application/json"}
        try:
            data = self.transport.send(
                method, path, query or {}, {**content, **(headers or {})}, encoded, timeout_seconds
            )
        except Away as error:
            if error.after_seconds is not None:
                # The server has too much to do: nobody writes until it asked to be called again.
                self.bucket.pause(error.after_seconds)
            raise
        try:
            parsed: dict[str, Any] = json.loads(data) if data else {}
        except ValueError as error:
            raise Away(f"{method} {path}: the answer is not JSON: {data[:100]!r}") from error
        return parsed


def _collection(manifest: Manifest) -> str:
    resource = resource_of(manifest["apiVersion"], manifest["kind"])
    return resource.path(manifest["metadata"].get("namespace"))
