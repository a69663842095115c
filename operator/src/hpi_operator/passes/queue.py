"""Names of objects that need a pass: each at most once, never two passes of one object at a time, some of them later.

`queue.PriorityQueue` of the standard library knows neither of the first two.
"""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FIRST_BACKOFF_SECONDS: Final = 0.5
LONGEST_BACKOFF_SECONDS: Final = 60.0
SPARE_ENTRIES: Final = 256
"""Void entries that are kept before they are cleared away."""


@dataclass(frozen=True, order=True)
class Key:
    """The object of a pass."""

    kind: str
    namespace: str
    """Empty for an object of the whole cluster."""
    name: str

    def __str__(self) -> str:
        """Return the words by which people name it."""
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


class WorkQueue:
    """Keys in the order in which they came, with delays.

    A key that is put while its pass runs gets another pass afterwards: what happened meanwhile is not lost.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, spread: Callable[[], float] = random.random
    ) -> None:
        """Start empty.

        Args:
            clock: Seconds that never go back.
            spread: Number from 0 to 1 that spreads repeated tries.
        """
        self._clock = clock
        self._spread = spread
        self._changed = threading.Condition()
        self._ready: dict[Key, float] = {}
        self._running: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._numbers = itertools.count()
        self._failures: dict[Key, int] = {}
        self._closed = False

    def put(self, key: Key, delay_seconds: float = 0.0) -> None:
        """Ask for a pass, now or after a delay; of several delays the shortest counts."""
        with self._changed:
            self._put(key, delay_seconds)

    def take(self, timeout_seconds: float | None = None) -> Key | None:
        """Return the next key, which is then running until `done`; None when the queue closes or the time is over."""
        deadline = None if timeout_seconds is None else self._clock() + timeout_seconds
        with self._changed:
            while True:
                self._move_due()
                if self._closed:
                    return None
                if self._ready:
                    key = next(iter(self._ready))
                    del self._ready[key]
                    self._running[key] = self._clock()
                    return key
                now = self._clock()
                if deadline is not None and now >= deadline:
                    return None
                moments = [self._later[0][0]] if self._later else []
                moments += [deadline] if deadline is not None else []
                self._changed.wait(timeout=max(0.0, min(moments) - now) if moments else None)

    def done(
        self, key: Key, *, failed: bool = False, after_seconds: float | None = None, at_least_seconds: float = 0.0
    ) -> None:
        """End a pass.

        Args:
            key: What was taken.
            failed: Whether the pass has to be tried again; each failure in a row waits twice as long, up to a minute.
            after_seconds: When to look again in any case; None: when something changes.
            at_least_seconds: When the API server wants to be called again after a failure.
        """
        with self._changed:
            self._running.pop(key, None)
            # What happened during the pass is due at once after one that went well.
            if key in self._again and not failed:
                self._again.discard(key)
                self._put(key, 0.0)
            if failed:
                self._put(key, max(at_least_seconds, self._backoff(key)))
                return
            self._failures.pop(key, None)
            if after_seconds is not None:
                self._put(key, after_seconds)

    def close(self) -> None:
        """Give nothing more: let everybody who waits go home."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        """Return how many keys wait whose time has come."""
        with self._changed:
            self._move_due()
            return len(self._ready)

    @property
    def running(self) -> int:
        """How many passes run."""
        with self._changed:
            return len(self._running)

    @property
    def oldest_seconds(self) -> float:
        """How long the longest waiting key has waited, delays left out; 0 where none waits."""
        with self._changed:
            self._move_due()
            return self._clock() - min(self._ready.values()) if self._ready else 0.0

    @property
    def longest_running_seconds(self) -> float:
        """How long the longest running pass has run; 0 where none runs."""
        with self._changed:
            return self._clock() - min(self._running.values()) if self._running else 0.0

    def _backoff(self, key: Key) -> float:
        # Something happened during the pass that failed: perhaps what it lacked. The row of failures ends there.
        failures = 1 if key in self._again else self._failures.get(key, 0) + 1
        self._again.discard(key)
        self._failures[key] = failures
        longest: float = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 10))
        return longest * (0.5 + self._spread() / 2)

    def _put(self, key: Key, delay_seconds: float) -> None:
        if delay_seconds <= 0:
            self._put_now(key)
        elif key not in self._ready:
            due = self._clock() + delay_seconds
            if due >= self._due.get(key, float("inf")):
                return
            self._due[key] = due
            heapq.heappush(self._later, (due, next(self._numbers), key))
            if len(self._later) > 2 * len(self._due) + SPARE_ENTRIES:
                self._later = [one for one in self._later if self._due.get(one[2]) == one[0]]
                heapq.heapify(self._later)
            if self._later[0][0] != due:
                return
        self._changed.notify()

    def _put_now(self, key: Key) -> None:
        self._due.pop(key, None)
        if key in self._running:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = self._clock()

    def _move_due(self) -> None:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            # A later entry for a key that was put again with a shorter delay, or has had its pass, is void.
            if self._due.get(key) == due:
                self._put_now(key)
