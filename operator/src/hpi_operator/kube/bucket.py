"""One token bucket for all writes: at most so many a second, the most urgent first."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Final


class Bucket:
    """Tokens come at a steady rate, up to a bound; whoever writes takes one, or waits in order of urgency."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Start full.

        Args:
            rate: Writes a second, greater than 0.
            burst: Most writes at once, at least 1.
            clock: Seconds that never go back.
        """
        self.rate: Final = rate
        self.burst: Final = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._numbers = itertools.count()
        self.taken = 0

    def take(self, priority: int = 5) -> None:
        """Take one token, or wait for it; of those who wait the smallest priority goes first, then the earliest."""
        with self._changed:
            place = (priority, next(self._numbers))
            heapq.heappush(self._waiting, place)
            while True:
                self._fill()
                if self._waiting[0] == place and self._tokens >= 1:
                    heapq.heappop(self._waiting)
                    self._tokens -= 1
                    self.taken += 1
                    self._changed.notify_all()
                    return
                missing = max(0.0, 1 - self._tokens) / self.rate
                # Whoever is not first is woken by the one before; the first waits for the next token.
                self._changed.wait(timeout=missing if self._waiting[0] == place else None)

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._changed:
            return len(self._waiting)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(float(self.burst), self._tokens + (now - self._filled_at) * self.rate)
        self._filled_at = now
