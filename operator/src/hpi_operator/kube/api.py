"""Requests to the API server: plain JSON in, plain JSON out, errors by who acts next; sole importer of kubernetes.

The library brings what is hard to get right: kubeconfig and in-cluster configuration, certificates, tokens that are
read again when they change. Its model objects are not used: building them costs ten times the memory and time of the
JSON itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hpi_core.errors import HpiError
from hpi_core.names import FIELD_MANAGER
from hpi_operator.kube.bucket import Bucket
from hpi_operator.kube.errors import Away, Conflict, Expired, Forbidden, Invalid, NotThere, Taken
from hpi_operator.kube.resources import Resource, path_of, resource_of
from hpi_operator.plan.intent import Deletion, Manifest, ObjectKey, key_of

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 35.0
"""More than the API server's own 30 s for one request at most times; a list of many objects comes in pages."""

PAGE_ENTRIES: Final = 500
MAX_PAGES: Final = 400
"""200,000 objects: beyond it the cluster is another one than this program was made for."""

WATCH_SECONDS: Final = 290
"""After so long the server ends a watch by itself, so that none hangs for ever."""
WATCH_SILENCE_SECONDS: Final = 75.0
"""Bookmarks come once a minute; a longer silence means that the connection is dead."""

METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
METADATA_LIST: Final = METADATA_ONLY.format("List")
METADATA_OBJECT: Final = METADATA_ONLY.format("")

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"

_OWNER: Final = re.compile(r'conflicts? with "([^"]+)"')


@dataclass(frozen=True)
class Selection:
    """Which objects of a resource are meant."""

    resource: Resource
    namespace: str | None = None
    """None: those of all namespaces."""
    labels: str = ""
    """A label selector."""
    fields: str = ""
    """A field selector."""
    metadata_only: bool = False


@dataclass(frozen=True)
class Page:
    """Some objects of a list."""

    objects: tuple[Manifest, ...]
    resource_version: str


class Api:
    """One connection, safe from several threads.

    Attributes:
        bucket: What every write waits for.
    """

    def __init__(self, client: Any, bucket: Bucket) -> None:
        self._client = client
        self.bucket: Final = bucket

    @classmethod
    def connect(cls, bucket: Bucket, *, kubeconfig: str | None = None, connections: int = 32) -> Api:
        """Return a connection, by a kubeconfig file or as the pod that this program runs in.

        Args:
            bucket: What every write waits for.
            kubeconfig: Path of a kubeconfig file; None: `$KUBECONFIG` where set, else the pod's own rights.
            connections: Most connections that are kept open.

        Raises:
            Refused: There is neither.
        """
        from hpi_operator.kube.configuration import load_client

        return cls(load_client(kubeconfig, connections), bucket)

    # Reading.

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Manifest | None:
        """Return one object, None where there is none."""
        try:
            return self.request("GET", resource.path(namespace, name))
        except NotThere:
            return None

    def pages(self, selection: Selection) -> Iterator[Page]:
        """Yield a consistent list of all objects of a selection, page by page.

        A list that fails half way raises: what was yielded until then is no list.

        Raises:
            Expired: The server gave the list up between two pages; begin anew.
            Away: The server does not answer.
        """
        query = _query(selection) | {"limit": str(PAGE_ENTRIES)}
        headers = {"Accept": METADATA_LIST} if selection.metadata_only else {}
        path = selection.resource.path(selection.namespace)
        for _ in range(MAX_PAGES):
            answer = self.request("GET", path, query=query, headers=headers)
            metadata = answer.get("metadata", {})
            yield Page(tuple(answer.get("items") or ()), metadata.get("resourceVersion", ""))
            token = metadata.get("continue")
            if not token:
                return
            query["continue"] = token
        raise Away(f"the list of {selection.resource.plural} has more than {MAX_PAGES} pages of {PAGE_ENTRIES}")

    def watch(self, selection: Selection, resource_version: str) -> Iterator[tuple[str, Manifest]]:
        """Yield what happens from a version on, as (type, object): ADDED, MODIFIED, DELETED, BOOKMARK.

        It ends when the server ends it, after some minutes; go on from the last version seen.

        Raises:
            Expired: The version is gone; list anew.
            Away: The connection broke.
        """
        query = _query(selection) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        headers = {"Accept": METADATA_OBJECT} if selection.metadata_only else {}
        answer = self._open(
            "GET", selection.resource.path(selection.namespace), query, headers, None, WATCH_SILENCE_SECONDS
        )
        try:
            for line in _lines(answer):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(int(event["object"].get("code", 500)), event["object"], "watching")
                yield event["type"], event["object"]
        except (HpiError, GeneratorExit):
            raise
        except Exception as error:
            # urllib3 has a dozen errors of its own for a connection that breaks.
            raise Away(f"watching {selection.resource.plural}: {type(error).__name__}: {error}") from error
        finally:
            answer.close()
            answer.release_conn()

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
        self.bucket.take(priority)
        query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false", "fieldValidation": "Strict"}
        path = path_of(key_of(manifest), subresource)
        return self.request("PATCH", path, query=query, headers={"Content-Type": APPLY}, body=manifest)

    def merge(self, resource: Resource, name: str, patch: Manifest, *, namespace: str | None = None) -> Manifest:
        """Patch single fields of an object that others own, such as labels of a Node."""
        self.bucket.take(5)
        query = {"fieldManager": FIELD_MANAGER}
        path = resource.path(namespace, name)
        return self.request("PATCH", path, query=query, headers={"Content-Type": MERGE}, body=patch)

    def create(self, manifest: Manifest, *, priority: int = 5) -> Manifest:
        """Create an object.

        Raises:
            Conflict: There is one of that name already.
        """
        self.bucket.take(priority)
        resource = resource_of(manifest["apiVersion"], manifest["kind"])
        path = resource.path(manifest["metadata"].get("namespace"))
        return self.request("POST", path, query={"fieldManager": FIELD_MANAGER}, body=manifest)

    def replace(self, manifest: Manifest, *, hurried: bool = False) -> Manifest:
        """Replace an object whose resource version is still the one given.

        Args:
            manifest: The whole object.
            hurried: Whether it passes by the bucket: the election must not wait for other writes.

        Raises:
            Conflict: Somebody wrote in between.
        """
        if not hurried:
            self.bucket.take(5)
        return self.request("PUT", path_of(key_of(manifest)), query={"fieldManager": FIELD_MANAGER}, body=manifest)

    def delete(self, deletion: Deletion) -> None:
        """Delete exactly the object that was seen; that it is gone, or is another one by now, is no failure."""
        self.bucket.take(5)
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": deletion.uid},
        }
        try:
            self.request("DELETE", path_of(deletion.key), body=body)
        except (NotThere, Conflict):
            return

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
    ) -> dict[str, Any]:
        """Send one request and return its JSON.

        Raises:
            HpiError: As `hpi_operator.kube.errors` says.
        """
        answer = self._open(method, path, query or {}, headers or {}, body, READ_SECONDS)
        try:
            data = answer.read()
        except Exception as error:
            raise Away(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            answer.release_conn()
        parsed: dict[str, Any] = json.loads(data) if data else {}
        return parsed

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Manifest | None,
        read_seconds: float,
    ) -> Any:
        from kubernetes.client.exceptions import ApiException

        try:
            return self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json", "Content-Type": "application/json", **headers},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=(CONNECT_SECONDS, read_seconds),
            )
        except ApiException as error:
            raise _from_exception(error, f"{method} {path}") from error
        except Exception as error:
            raise Away(f"{method} {path}: {type(error).__name__}: {error}") from error


def _query(selection: Selection) -> dict[str, str]:
    query = {}
    if selection.labels:
        query["labelSelector"] = selection.labels
    if selection.fields:
        query["fieldSelector"] = selection.fields
    return query


def _lines(answer: Any) -> Iterator[bytes]:
    rest = b""
    for chunk in answer.stream(amt=None, decode_content=False):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line)
    if rest:
        yield rest


def _from_exception(error: Any, attempt: str) -> HpiError:
    try:
        status = json.loads(error.body or b"{}")
    except (ValueError, TypeError):
        status = {}
    if not isinstance(status, dict):
        status = {}
    after = (error.headers or {}).get("Retry-After")
    return _error(int(error.status or 0), status, attempt, float(after) if after and after.isdigit() else None)


def _error(code: int, status: Mapping[str, Any], attempt: str, after: float | None = None) -> HpiError:
    said = f"{attempt}: {status.get('message') or f'status {code}'}"
    if code == 410 or status.get("reason") in ("Expired", "Gone"):
        return Expired(said)
    if code == 404:
        return NotThere(said)
    if code == 403:
        # A namespace that is going away, or a quota, is refused with the same status as a missing right.
        causes = [cause.get("reason") for cause in (status.get("details") or {}).get("causes", ())]
        return Invalid(said) if "NamespaceTerminating" in causes or "exceeded quota" in said else Forbidden(said)
    if code == 409:
        owners = tuple(sorted(set(_OWNER.findall(said))))
        return Taken(said, owners) if owners else Conflict(said)
    # A field that the schema does not have is answered with 500 by server-side apply.
    if code in (400, 405, 413, 415, 422) or "failed to create typed patch object" in said:
        return Invalid(said)
    if code == 401:
        return Forbidden(said)
    return Away(said, after)


def object_key(resource: Resource, name: str, namespace: str = "") -> ObjectKey:
    """Return what names an object of a resource."""
    return ObjectKey(resource.api_version, resource.kind, namespace, name)
