"""The HPINode of this node as it is now, kept by a watch of that one object.

No version is remembered across watches: an object that nobody changes for hours has a version that the API server has
long forgotten, and going on from it would end in 410 again and again. Each watch begins with what is there, and the
object is read once after it has begun, which tells as well that there is none.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from hpi_agent.node.api import Api, Document, Watch
from hpi_agent.node.api_errors import Away
from hpi_agent.node.paths import HPI_NODES
from hpi_core.errors import HpiError

log: Final = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
SHORTEST_WATCH_SECONDS: Final = 5.0
"""A watch that ends earlier than this is not begun again at once, even if it ends in order."""
WATCH_SECONDS: Final = (300.0, 600.0)
"""After how long the API server is asked to end a watch; spread, so that a thousand agents do not begin at one time."""
SILENCE_SECONDS: Final = 150.0
"""The API server sends a bookmark about every minute; who hears none has lost the connection."""


class OwnHpiNode:
    """The HPINode of one node; its thread ends with the process."""

    def __init__(self, api: Api, node: str, changed: Callable[[], None]) -> None:
        """Prepare; `start` begins.

        Args:
            api: The connection.
            node: Name of the node.
            changed: Told when the object is another than before, from another thread; must be quick.
        """
        self._api = api
        self._node = node
        self._changed = changed
        self._lock = threading.Lock()
        self._current: Document | None = None
        self._stopping = threading.Event()
        self._watch: Watch | None = None
        self._is_whole: bool | None = None
        self.thread: Final = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def current(self) -> Document | None:
        """The object as it was seen last; None: there is none, or nobody has answered yet."""
        with self._lock:
            return self._current

    def put(self, seen: Document | None) -> None:
        """Take an object that was read or written; one that is older than what is known is left alone."""
        with self._lock:
            if seen is not None and self._current is not None and _is_older(seen, self._current):
                return
            if seen == self._current:
                return
            before, self._current = self._current, seen
        if (before is None) != (seen is None) or (before and seen and _uid(before) != _uid(seen)):
            uid = None if seen is None else _uid(seen)
            log.info("the HPINode is there" if seen else "there is no HPINode", extra={"uid": uid})
        self._changed()

    def stop(self) -> None:
        """End, the watch that is open too."""
        self._stopping.set()
        watch = self._watch
        if watch is not None:
            watch.end()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            begun = time.monotonic()
            fault: HpiError | None = None
            try:
                self._follow()
            except HpiError as error:
                fault = error
            if self._stopping.is_set():
                return
            failures = 0 if time.monotonic() - begun > SHORTEST_WATCH_SECONDS else failures + 1
            if fault is not None:
                self._say(whole=False, cause=str(fault))
            if failures:
                longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10))
                wish = (fault.after_seconds or 0.0) if isinstance(fault, Away) else 0.0
                pause = random.uniform(longest / 2, longest)  # noqa: S311 - spreads callers, guards nothing
                self._stopping.wait(max(min(wish, LONGEST_PAUSE_SECONDS), pause))

    def _follow(self) -> None:
        query = {
            "fieldSelector": f"metadata.name={self._node}",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(round(random.uniform(*WATCH_SECONDS))),  # noqa: S311
        }
        watch = self._watch = self._api.watch(HPI_NODES, query, SILENCE_SECONDS)
        try:
            self.put(self._api.find(f"{HPI_NODES}/{self._node}"))
            self._say(whole=True)
            for kind, seen in watch:
                if kind != "BOOKMARK":
                    self.put(None if kind == "DELETED" else seen)
        finally:
            self._watch = None
            watch.close()

    def _say(self, *, whole: bool, cause: str = "") -> None:
        if whole != self._is_whole:
            self._is_whole = whole
            if whole:
                log.info("the HPINode is watched")
            else:
                log.warning("the HPINode is not watched at the moment", extra={"cause": cause})


def _is_older(seen: Document, known: Document) -> bool:
    """Return whether an object is an earlier version of another.

    Versions of one kind are one growing number (Kubernetes, KEP-5504); where they are no numbers nothing is older.
    """
    versions = [str(one["metadata"].get("resourceVersion", "")) for one in (seen, known)]
    return all(version.isdigit() for version in versions) and int(versions[0]) < int(versions[1])


def _uid(document: Document) -> str:
    return str(document["metadata"].get("uid", ""))
