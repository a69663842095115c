"""Objects of one path, kept by list and watch for a player: `mirror.get("n1")` is what the server last said of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import httpx2

from support.cluster_client import ApiError, ClusterClient
from support.manifests import Document

Key = tuple[str, str]
"""Namespace, empty where there is none, and name."""
Changed = Callable[[Key, Document | None], None]
"""Receives the key of an object and what it is now; None: it is gone."""

PAUSE_SECONDS: Final = 0.2
SILENCE_SECONDS: Final = 600.0


def key_of(document: Document) -> Key:
    """Return what tells an object apart from the others of its path."""
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Mirror:
    """Objects by their keys, in a thread of its own until the client is closed."""

    def __init__(self, client: ClusterClient, path: str, changed: Changed, **query: str) -> None:
        """Prepare; `start` begins.

        Args:
            client: The connection, used by this alone: closing it ends the watch.
            path: Of the list.
            changed: Told of every change, in the thread of the mirror.
            query: More of the request, such as `labelSelector`.
        """
        self._client = client
        self._path = path
        self._changed = changed
        self._query = query
        self._lock = threading.Lock()
        self._objects: dict[Key, Document] = {}
        self._whole = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mirror-{path}", daemon=True)
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wait(self, seconds: float = 60.0) -> None:
        """Return when everything was listed once."""
        assert self._whole.wait(seconds), f"{self._path} was not listed within {seconds:g} s: {self.failure}"

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._client.close()
        self._thread.join(10)

    def get(self, name: str, namespace: str = "") -> Document | None:
        """Return an object as it was seen last, None where there is none."""
        with self._lock:
            return self._objects.get((namespace, name))

    def all(self) -> list[Document]:
        """Return all objects."""
        with self._lock:
            return list(self._objects.values())

    def _run(self) -> None:
        version = None
        while not self._stopping.is_set():
            try:
                if version is None:
                    version = self._list()
                for event in self._client.watch(self._path, version, silence_seconds=SILENCE_SECONDS, **self._query):
                    version = event["object"]["metadata"]["resourceVersion"]
                    self._take(event)
            except (ApiError, httpx2.TransportError, RuntimeError, ValueError) as error:
                # The server is away, the version is gone, a line was cut, or the client was closed: begin anew, or end.
                self.failure = error
                if isinstance(error, ApiError):
                    version = None
                self._stopping.wait(PAUSE_SECONDS)

    def _list(self) -> str:
        found, version = self._client.items(self._path, **self._query)
        seen = {key_of(one): one for one in found}
        with self._lock:
            gone = set(self._objects) - set(seen)
            changed = [key for key, one in seen.items() if one != self._objects.get(key)]
            self._objects = dict(seen)
        for key in changed:
            self._changed(key, seen[key])
        for key in gone:
            self._changed(key, None)
        self._whole.set()
        return version

    def _take(self, event: Document) -> None:
        if event["type"] == "BOOKMARK":
            return
        key, is_gone = key_of(event["object"]), event["type"] == "DELETED"
        with self._lock:
            if is_gone:
                self._objects.pop(key, None)
            else:
                self._objects[key] = event["object"]
        self._changed(key, None if is_gone else event["object"])
