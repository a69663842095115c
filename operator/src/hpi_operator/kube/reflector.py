"""A picture of some of the cluster's objects, kept by list and watch: whole or not at all, small, bounded.

kopf lists without pages and without selectors, and keeps whole objects; so does the library's own watch. Here a list
comes in pages, an object is reduced to what decisions look at as it arrives, and a list that fails half way changes
nothing: an incomplete list is never taken for an empty one.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from hpi_core.errors import HpiError, Retry
from hpi_operator.kube.api import Api, Selection
from hpi_operator.kube.errors import Expired, Forbidden, NotThere
from hpi_operator.plan.intent import Manifest, ObjectKey, key_of

log: Final = logging.getLogger(__name__)

View = TypeVar("View")

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
MAX_OBJECTS: Final = 200_000

Changed = Callable[[ObjectKey, "View | None", "View | None"], None]
"""Receives the key, what was known before and what is known now; None stands for an object that is not there."""


class Reflector(Generic[View]):
    """Objects of one selection by their keys.

    Attributes:
        selection: Which objects.
    """

    def __init__(
        self,
        api: Api,
        selection: Selection,
        project: Callable[[Manifest], View],
        changed: Changed[View],
        *,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            api: The connection.
            selection: Which objects.
            project: Reduces an object to what is kept of it.
            changed: Told of every object that became another; called by the thread of the reflector, and must be quick.
            pause: Waits so many seconds, or less when the reflector is stopped; for tests.
        """
        self.selection: Final = selection
        self._api = api
        self._project = project
        self._changed = changed
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait
        self._whole = threading.Event()
        self._lock = threading.Lock()
        self._objects: dict[ObjectKey, View] = {}
        self._alive_at = time.monotonic()
        self._fault: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch-{selection.resource.plural}", daemon=True)

    def start(self) -> None:
        """Begin to list and watch, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End; the watch that is open is left to the end of the process."""
        self._stopping.set()

    @property
    def is_whole(self) -> bool:
        """Whether a list was read to its end and the watch behind it has no gap: what is not here is not there."""
        return self._whole.is_set()

    def wait_until_whole(self, timeout_seconds: float) -> bool:
        """Wait until the picture is whole; return whether it is."""
        return self._whole.wait(timeout_seconds)

    @property
    def silent_seconds(self) -> float:
        """How long ago the server last said anything, a bookmark or a list."""
        return time.monotonic() - self._alive_at

    @property
    def fault(self) -> str | None:
        """Why the picture is not whole, None where it is or was not asked for yet."""
        return None if self.is_whole else self._fault

    def get(self, key: ObjectKey) -> View | None:
        """Return one object, None where there is none."""
        with self._lock:
            return self._objects.get(key)

    def all(self) -> dict[ObjectKey, View]:
        """Return every object, as a mapping of the caller's own."""
        with self._lock:
            return dict(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                version = self._list()
                failures = 0
                while not self._stopping.is_set():
                    version = self._watch(version)
            except Expired as error:
                # Nothing is known to be gone: until the next list is whole, nothing is taken for gone either.
                self._broken(error)
                failures = 0
            except (NotThere, Forbidden, Retry) as error:
                failures += 1
                self._broken(error)
                self._pause(self._backoff(failures))
            except HpiError as error:
                failures += 1
                self._broken(error)
                log.exception("the watch goes on", extra={"resource": self.selection.resource.plural})
                self._pause(self._backoff(failures))
            except Exception as error:
                # A fault of ours in `project` or `changed` must not end the only thread that sees the objects.
                failures += 1
                self._broken(error)
                log.exception("the watch goes on", extra={"resource": self.selection.resource.plural})
                self._pause(self._backoff(failures))

    def _broken(self, error: Exception) -> None:
        self._fault = str(error)
        if self._whole.is_set():
            self._whole.clear()
            log.warning(
                "the picture is not whole", extra={"resource": self.selection.resource.plural, "cause": str(error)}
            )

    def _backoff(self, failures: int) -> float:
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10))
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads callers, guards nothing

    def _list(self) -> str:
        listed: dict[ObjectKey, View] = {}
        version = ""
        for page in self._api.pages(self.selection):
            self._alive_at = time.monotonic()
            version = page.resource_version
            for manifest in page.objects:
                whole = self._named(manifest)
                listed[key_of(whole)] = self._project(whole)
            if len(listed) > MAX_OBJECTS:
                raise Retry(f"there are more than {MAX_OBJECTS} {self.selection.resource.plural}")
        with self._lock:
            before, self._objects = self._objects, listed
        self._whole.set()
        self._fault = None
        for key, old in before.items():
            if key not in listed:
                self._changed(key, old, None)
        for key, new in listed.items():
            known = before.get(key)
            if known != new:
                self._changed(key, known, new)
        return version

    def _watch(self, version: str) -> str:
        for kind, manifest in self._api.watch(self.selection, version):
            self._alive_at = time.monotonic()
            version = manifest["metadata"]["resourceVersion"]
            if kind != "BOOKMARK":
                self._take(kind, self._named(manifest))
            if self._stopping.is_set():
                break
        return version

    def _take(self, kind: str, manifest: Manifest) -> None:
        key = key_of(manifest)
        new = None if kind == "DELETED" else self._project(manifest)
        with self._lock:
            old = self._objects.pop(key, None)
            if new is not None:
                self._objects[key] = new
        if old != new:
            self._changed(key, old, new)

    def _named(self, manifest: Manifest) -> Manifest:
        # Objects in a list do not say what they are; metadata alone says it is metadata.
        resource = self.selection.resource
        return {**manifest, "apiVersion": resource.api_version, "kind": resource.kind}
