"""What passes remember of each pipeline from one to the next; a restart loses it, and nothing goes wrong by that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Pipeline = tuple[str, str]
"""Namespace and name."""


@dataclass
class _Entry:
    engines: frozenset[str] = frozenset()
    runtime: str = ""
    ready: str = "Unknown"
    status_written_at: float | None = None
    waiting_since: float | None = None


class Ledger:
    """Entries by pipeline; safe from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing.

        Args:
            clock: Seconds that never go back.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[Pipeline, _Entry] = {}
        self._awaited: set[Pipeline] | None = None

    # The first round.

    def begin(self, pipelines: Iterable[Pipeline]) -> None:
        """Wait for the first pass of each of these; a second call does nothing."""
        with self._lock:
            if self._awaited is None:
                self._awaited = set(pipelines) - self._entries.keys()

    def had_pass(self, pipeline: Pipeline) -> None:
        """Note that a pipeline had a pass, however it ended, or is gone."""
        with self._lock:
            if self._awaited is not None:
                self._awaited.discard(pipeline)

    @property
    def is_complete(self) -> bool:
        """Whether every pipeline that was there at the start had a pass: sums over all of them are true only then."""
        with self._lock:
            return self._awaited is not None and not self._awaited

    # What a pass found.

    def found(self, pipeline: Pipeline, *, engines: frozenset[str], runtime: str, ready: str) -> tuple[bool, bool]:
        """Note what a pipeline uses; return whether its engines and whether its runtime are others than before."""
        with self._lock:
            is_new = pipeline not in self._entries
            entry = self._entries.setdefault(pipeline, _Entry())
            changed = (is_new or entry.engines != engines, entry.runtime != runtime)
            entry.engines, entry.runtime, entry.ready = engines, runtime, ready
            return changed

    def forget(self, pipeline: Pipeline) -> bool:
        """Forget a pipeline that is gone; return whether it was known."""
        with self._lock:
            return self._entries.pop(pipeline, None) is not None

    def engines_of(self, namespace: str) -> tuple[frozenset[str], frozenset[str]]:
        """Return the pipelines of a namespace that had a pass, and the HPIEngines that they want or use."""
        with self._lock:
            here = {name: entry for (place, name), entry in self._entries.items() if place == namespace}
        return frozenset(here), frozenset().union(*(entry.engines for entry in here.values()))

    def pipelines_with(self, runtime: str) -> int:
        """Return how many pipelines have an HPIRuntime."""
        with self._lock:
            return sum(entry.runtime == runtime for entry in self._entries.values())

    def by_readiness(self) -> dict[str, int]:
        """Return how many pipelines are ready, are not, and of how many it is unknown."""
        with self._lock:
            states = [entry.ready for entry in self._entries.values()]
        return {state: states.count(state) for state in ("True", "False", "Unknown")}

    # Pace.

    def status_age_seconds(self, pipeline: Pipeline) -> float:
        """Return how long ago the status of a pipeline was written; infinite where it was not."""
        with self._lock:
            entry = self._entries.get(pipeline)
            written_at = None if entry is None else entry.status_written_at
        return float("inf") if written_at is None else self._clock() - written_at

    def status_written(self, pipeline: Pipeline) -> None:
        """Note that a status was written now."""
        with self._lock:
            self._entries.setdefault(pipeline, _Entry()).status_written_at = self._clock()

    def waits(self, pipeline: Pipeline, *, for_others: bool) -> float:
        """Note whether a pipeline waits for what no watch tells of; return for how long it has waited."""
        with self._lock:
            entry = self._entries.setdefault(pipeline, _Entry())
            if not for_others:
                entry.waiting_since = None
                return 0.0
            if entry.waiting_since is None:
                entry.waiting_since = self._clock()
            return self._clock() - entry.waiting_since
