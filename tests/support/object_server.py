"""Objects of one resource in memory, kept as an API server keeps them: pages, versions, watches, and what goes wrong.

It has the two calls of `Api` that a reflector makes. What a real server does under load, and over a network, is tested
on a real one; here every interleaving can be had in a millisecond.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

from hpi_core.errors import HpiError
from hpi_operator.kube.errors import Expired
from hpi_operator.kube.selections import Page, Selection
from hpi_operator.plan.intent import Manifest

PAGE_ENTRIES: Final = 2
ALWAYS: Final = 1_000_000
"""More often than any test asks."""


class ObjectServer:
    """The objects, by name; safe from several threads."""

    def __init__(self) -> None:
        """Begin with none, at version 1."""
        self._changed = threading.Condition()
        self._objects: dict[str, Manifest] = {}
        self._history: list[tuple[int, str, Manifest]] = []
        self._version = 1
        self._compacted = 0
        self._cut = 0
        self._list_faults: list[tuple[int, HpiError]] = []
        self._watch_faults: list[HpiError] = []
        self.lists = 0
        self.watches = 0

    # What a test does.

    def put(self, name: str, value: Any = None) -> int:
        """Create or change an object; return its version."""
        kind = "MODIFIED" if name in self._objects else "ADDED"
        return self._note(kind, name, {"spec": {"value": value}})

    def delete(self, name: str) -> None:
        """Delete an object, where it is there."""
        if name in self._objects:
            self._note("DELETED", name, {})

    def compact(self) -> None:
        """Forget what happened until now: watches that would go on from there are told that it is gone."""
        with self._changed:
            self._compacted = self._version
            self._history = []

    def cut(self) -> None:
        """End every watch that is open, as a server ends it that goes away."""
        with self._changed:
            self._cut += 1
            self._changed.notify_all()

    def fail_list(self, error: HpiError, *, after_pages: int = 0, times: int = 1) -> None:
        """Let the next lists fail after so many pages."""
        self._list_faults += [(after_pages, error)] * times

    def fail_watch(self, error: HpiError, *, times: int = 1) -> None:
        """Let the next watches not open."""
        self._watch_faults += [error] * times

    def mend(self) -> None:
        """Let nothing fail any more."""
        with self._changed:
            self._list_faults, self._watch_faults = [], []

    def bookmark(self) -> None:
        """Tell every watch how far it is."""
        with self._changed:
            self._version += 1
            self._history.append((self._version, "BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}}))
            self._changed.notify_all()

    @property
    def values(self) -> dict[str, Any]:
        """The value of every object, by name."""
        with self._changed:
            return {name: one["spec"]["value"] for name, one in self._objects.items()}

    # What a reflector calls.

    def pages(self, selection: Selection) -> Iterator[Page]:
        """Yield a list of one moment, page by page."""
        with self._changed:
            self.lists += 1
            objects, version = list(self._objects.values()), str(self._version)
            after, error = self._list_faults.pop(0) if self._list_faults else (-1, None)
        for number, start in enumerate(range(0, max(1, len(objects)), PAGE_ENTRIES)):
            if error is not None and number >= after:
                raise error
            yield Page(tuple(objects[start : start + PAGE_ENTRIES]), version)
        if error is not None:
            raise error

    def watch(self, selection: Selection, resource_version: str) -> ServedWatch:
        """Open a watch."""
        with self._changed:
            self.watches += 1
            if self._watch_faults:
                raise self._watch_faults.pop(0)
            if int(resource_version) < self._compacted:
                raise Expired(f"too old resource version: {resource_version} ({self._compacted})")
            return ServedWatch(self, int(resource_version), self._cut)

    def next_event(self, after: int, cut: int, ended: threading.Event) -> tuple[int, str, Manifest] | None:
        """Return the first event after a version, as soon as there is one; None when the watch was ended."""
        with self._changed:
            while not ended.is_set() and cut == self._cut:
                if after < self._compacted:
                    raise Expired(f"too old resource version: {after} ({self._compacted})")
                found = next((one for one in self._history if one[0] > after), None)
                if found is not None:
                    return found
                self._changed.wait(0.01)
            return None

    def _note(self, kind: str, name: str, content: Manifest) -> int:
        with self._changed:
            self._version += 1
            written = {"metadata": {"name": name, "resourceVersion": str(self._version)}, **content}
            if kind == "DELETED":
                del self._objects[name]
            else:
                self._objects[name] = written
            self._history.append((self._version, kind, written))
            self._changed.notify_all()
            return self._version


class ServedWatch:
    """One watch that is open."""

    def __init__(self, server: ObjectServer, version: int, cut: int) -> None:
        """Go on from a version."""
        self._server = server
        self._version = version
        self._cut = cut
        self._ended = threading.Event()

    def __iter__(self) -> Iterator[tuple[str, Manifest]]:
        """Yield events until the watch ends."""
        while (found := self._server.next_event(self._version, self._cut, self._ended)) is not None:
            self._version, kind, manifest = found
            yield kind, manifest

    def end(self) -> None:
        """End it."""
        self._ended.set()
