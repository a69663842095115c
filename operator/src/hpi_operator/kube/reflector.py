"""A picture of some of the cluster's objects, kept by list and watch: whole or not at all, small, bounded.

kopf keeps whole objects, so does the library's own watch, which loses its place whenever a connection breaks. Here an
object is reduced to what decisions look at as it arrives, a watch that breaks goes on where it was, and a list that
fails half way changes nothing: an incomplete list is never taken for an empty one.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from hpi_core.errors import Bug, HpiError, Retry
from hpi_operator.kube.api import Api
from hpi_operator.kube.errors import Away, Expired, Forbidden, NotThere
from hpi_operator.kube.selections import Selection, Watch
from hpi_operator.plan.intent import Manifest, ObjectKey, key_of

log: Final = logging.getLogger(__name__)

View = TypeVar("View")

FIRST_PAUSE_SECONDS: Final = 0.25
LONGEST_PAUSE_SECONDS: Final = 15.0
SHORTEST_WATCH_SECONDS: Final = 1.0
"""A server that ends a watch earlier than this, without an error, is not asked again at once."""
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
        became_whole: Callable[[], None] = lambda: None,
        pause: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            api: The connection.
            selection: Which objects.
            project: Reduces an object to what is kept of it.
            changed: Told of every object that became another; called by the thread of the reflector, and must be quick.
            became_whole: Told when the picture is whole that was not.
            pause: Waits so many seconds, or less when the reflector is stopped; for tests.
            clock: Seconds that never go back.
        """
        self.selection: Final = selection
        self._api = api
        self._project = project
        self._changed = changed
        self._became_whole = became_whole
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait
        self._clock = clock
        self._whole = threading.Event()
        self._lock = threading.Lock()
        self._objects: dict[ObjectKey, View] = {}
        self._version = ""
        self._watch: Watch | None = None
        self._broken_at = self._tried_at = self._whole_at = clock()
        self._fault: HpiError | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch-{selection.resource.plural}", daemon=True)

    def start(self) -> None:
        """Begin to list and watch, in a thread of its own."""
        self._broken_at = self._tried_at = self._clock()
        self._thread.start()

    def stop(self) -> None:
        """End, the watch that is open too."""
        self._stopping.set()
        watch = self._watch
        if watch is not None:
            watch.end()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread to end after `stop`."""
        self._thread.join(timeout_seconds)

    @property
    def is_whole(self) -> bool:
        """Whether a list was read to its end and the watch behind it has no gap: what is not here is not there."""
        return self._whole.is_set()

    def wait_until_whole(self, timeout_seconds: float) -> bool:
        """Wait until the picture is whole; return whether it is."""
        return self._whole.wait(timeout_seconds)

    @property
    def idle_seconds(self) -> float:
        """How long ago anything came of a list, a watch or a failed try: a thread that hangs shows here."""
        return self._clock() - self._tried_at

    @property
    def broken_seconds(self) -> float:
        """How long the picture has not been whole; 0 where it is."""
        return 0.0 if self.is_whole else self._clock() - self._broken_at

    @property
    def whole_seconds(self) -> float:
        """How long the picture has been whole; 0 where it is not."""
        return self._clock() - self._whole_at if self.is_whole else 0.0

    @property
    def fault(self) -> HpiError | None:
        """Why the picture is not whole, None where it is or was not asked for yet."""
        return None if self.is_whole else self._fault

    def has_seen(self, version: str) -> bool:
        """Return whether everything up to a resource version has arrived.

        Versions are one growing number for all objects of a cluster (Kubernetes, "API concepts", resource versions;
        KEP-5504). Where they are no numbers, nothing can be said, and nothing is waited for.
        """
        seen = self._version
        if not (version.isdigit() and seen.isdigit()):
            return True
        return int(seen) >= int(version)

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
        is_listed = False
        while not self._stopping.is_set():
            begun = self._clock()
            try:
                if not is_listed:
                    self._list()
                    is_listed = True
                self._follow()
                failures = 0
                if self._clock() - begun < SHORTEST_WATCH_SECONDS:
                    self._pause(FIRST_PAUSE_SECONDS)
            except Exception as error:
                if self._stopping.is_set():
                    return
                # A watch that lasted ends the row of failures; a version that is gone is a reason to list.
                failures = 1 if self._clock() - begun > LONGEST_PAUSE_SECONDS else failures + 1
                is_listed = is_listed and isinstance(error, Retry) and not isinstance(error, Expired)
                self._failed(error, is_listed=is_listed, failures=failures)

    def _failed(self, error: Exception, *, is_listed: bool, failures: int) -> None:
        self._tried_at = self._clock()
        if not isinstance(error, (Retry, NotThere, Forbidden)):
            # A fault of ours, in `project` or `changed`, must not end the only thread that sees the objects.
            log.error("the watch goes on", extra=self._words, exc_info=error)
        if is_listed and failures == 1:
            # The server, or a proxy, ended the connection: it is opened again at once, and nothing is lost.
            return
        self._break(error)
        if failures > 1 or not isinstance(error, Expired):
            wish = (error.after_seconds or 0.0) if isinstance(error, Away) else 0.0
            self._pause(max(wish, self._backoff(failures)))

    def _break(self, error: Exception) -> None:
        fault = error if isinstance(error, HpiError) else Bug(f"{type(error).__name__}: {error}")
        if str(fault) != str(self._fault) or self._whole.is_set():
            log.warning("the picture is not whole", extra={**self._words, "cause": str(fault)})
        self._fault = fault
        if self._whole.is_set():
            self._broken_at = self._clock()
            self._whole.clear()

    def _mend(self) -> None:
        self._tried_at = self._clock()
        if not self._whole.is_set():
            self._fault = None
            self._whole_at = self._clock()
            self._whole.set()
            log.info("the picture is whole", extra={**self._words, "objects": len(self._objects)})
            self._became_whole()

    @property
    def _words(self) -> dict[str, str]:
        return {"resource": self.selection.resource.plural}

    def _backoff(self, failures: int) -> float:
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10))
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads callers, guards nothing

    def _list(self) -> None:
        listed: dict[ObjectKey, View] = {}
        version = ""
        for page in self._api.pages(self.selection):
            self._tried_at = self._clock()
            version = page.resource_version
            for manifest in page.objects:
                named = self._named(manifest)
                listed[key_of(named)] = self._project(named)
            if len(listed) > MAX_OBJECTS:
                raise Retry(f"there are more than {MAX_OBJECTS} {self.selection.resource.plural}")
        for key in self.all().keys() - listed.keys():
            self._become(key, None)
        for key, view in listed.items():
            self._become(key, view)
        self._version = version
        # Whoever asks whether the picture is whole must find everything that `changed` makes of it, too.
        self._mend()

    def _follow(self) -> None:
        """Watch from the last version seen until the server ends it."""
        watch = self._watch = self._api.watch(self.selection, self._version)
        try:
            self._mend()
            for kind, manifest in watch:
                self._tried_at = self._clock()
                if kind != "BOOKMARK":
                    self._take(kind, self._named(manifest))
                # Only now: whoever waits for the version must find the object.
                self._version = manifest["metadata"]["resourceVersion"]
                if self._stopping.is_set():
                    return
        finally:
            self._watch = None

    def _take(self, kind: str, manifest: Manifest) -> None:
        self._become(key_of(manifest), None if kind == "DELETED" else self._project(manifest))

    def _become(self, key: ObjectKey, new: View | None) -> None:
        """Keep an object as it is now, and tell of it; where telling fails, it is kept as it was, for the next list."""
        old = self._keep(key, new)
        if old == new:
            return
        try:
            self._changed(key, old, new)
        except Exception:
            self._keep(key, old)
            raise

    def _keep(self, key: ObjectKey, view: View | None) -> View | None:
        """Keep an object, or None for one that is gone; return what was known before."""
        with self._lock:
            known = self._objects.get(key)
            if view is None:
                self._objects.pop(key, None)
            else:
                self._objects[key] = view
            return known

    def _named(self, manifest: Manifest) -> Manifest:
        # Objects in a list do not say what they are; metadata alone says it is metadata.
        resource = self.selection.resource
        return {**manifest, "apiVersion": resource.api_version, "kind": resource.kind}
