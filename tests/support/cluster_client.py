"""The API server asked in plain JSON, as one user: read, create, apply, delete, watch.

The package `kubernetes` builds objects of what it is given, which costs a player of a thousand nodes more than playing;
kubectl is a new process for each call.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final

import httpx2

from support.control_plane.clients import Client
from support.control_plane.cluster import ControlPlane
from support.manifests import Document

APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
SECONDS: Final = 60.0
PAGE: Final = 500


class ApiError(Exception):
    """The API server refused a request.

    Attributes:
        code: Status of the answer.
        reason: The word for programs.
    """

    def __init__(self, method: str, path: str, code: int, body: Document) -> None:
        self.code = code
        self.reason = body.get("reason", "")
        super().__init__(f"{method} {path}: {code} {self.reason}: {body.get('message', '')}")


class ClusterClient:
    """One user's connection; safe from several threads."""

    def __init__(
        self,
        cluster: ControlPlane,
        user: Client | None = None,
        *,
        agent: str = "hpi-tests",
        url: str | None = None,
        token: str | None = None,
    ) -> None:
        """Prepare.

        Args:
            cluster: Which one.
            user: Who asks. None: the admin.
            agent: What this calls itself; the audit log has it.
            url: Where it asks: a proxy's. None: the API server itself.
            token: What it shows in place of a certificate; then nobody is named by `user`.
        """
        self._streams: set[httpx2.Response] = set()
        context = ssl.create_default_context(cafile=str(cluster.authority))
        headers = {"User-Agent": agent}
        if token is None:
            client = user or cluster.admin
            context.load_cert_chain(client.pair.certificate, client.pair.key)
        else:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx2.Client(
            base_url=url or cluster.url,
            verify=context,
            trust_env=False,
            timeout=SECONDS,
            headers=headers,
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=50),
        )

    def __enter__(self) -> ClusterClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every connection, watches too."""
        for stream in list(self._streams):
            # Whoever reads it in another thread sees its end; to close it under his hands would not wake him.
            with contextlib.suppress(OSError):
                stream.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self._http.close()

    def request(
        self,
        method: str,
        path: str,
        body: Document | None = None,
        *,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Document:
        """Ask, and return the answer.

        Raises:
            ApiError: It was refused.
            httpx2.TransportError: Nobody answered.
        """
        answer = self._http.request(
            method,
            path,
            params=dict(query or {}),
            content=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type},
        )
        content: Document = answer.json()
        if answer.status_code >= 300:
            raise ApiError(method, path, answer.status_code, content)
        return content

    def find(self, path: str) -> Document | None:
        """Return one object, None where there is none."""
        try:
            return self.request("GET", path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def items(self, path: str, **query: str) -> tuple[list[Document], str]:
        """Return all objects of a list, page by page, and the version that a watch goes on from."""
        found: list[Document] = []
        page = self.request("GET", path, query={**query, "limit": str(PAGE)})
        while True:
            found += page["items"]
            rest = page["metadata"].get("continue")
            if not rest:
                return found, page["metadata"]["resourceVersion"]
            page = self.request("GET", path, query={**query, "limit": str(PAGE), "continue": rest})

    def apply(self, path: str, document: Document, *, manager: str, force: bool = False) -> Document:
        """State some fields of an object (server-side apply); a path that ends with `/status` states its status."""
        query = {"fieldManager": manager, "force": str(force).lower()}
        return self.request("PATCH", path, document, content_type=APPLY, query=query)

    def watch(self, path: str, version: str, *, silence_seconds: float, **query: str) -> Iterator[Document]:
        """Yield events from a version on, until the server ends it.

        Raises:
            httpx2.TransportError: The connection broke, or was silent for too long.
            ApiError: The version is gone, or the watch is refused.
        """
        parameters = {**query, "watch": "1", "allowWatchBookmarks": "true", "resourceVersion": version}
        timeout = httpx2.Timeout(SECONDS, read=silence_seconds)
        with self._http.stream("GET", path, params=parameters, timeout=timeout) as answer:
            if answer.status_code >= 300:
                answer.read()
                raise ApiError("GET", path, answer.status_code, answer.json())
            self._streams.add(answer)
            try:
                for line in answer.iter_lines():
                    event: Document = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError("GET", path, event["object"].get("code", 500), event["object"])
                    yield event
            finally:
                self._streams.discard(answer)
