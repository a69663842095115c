"""One token bucket for all writes: at most so many a second, the most urgent first."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Final

from hpi_core.errors import Refused


class Bucket:
    """Tokens come at a steady rate, up to a bound; whoever writes takes one, or waits in order of urgency."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Start full.

        Args:
            rate: Writes a second, greater than 0.
            burst: Most writes at once, at least 1.
            clock: Seconds that never go back.

        Raises:
            Refused: Nothing could ever be written.
        """
        if not rate > 0 or burst < 1:
            raise Refused(f"a rate of writes is greater than 0 and a burst at least 1, got {rate:g} and {burst}")
        self.rate: Final = rate
        self.burst: Final = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._numbers = itertools.count()
        self._taken = 0

    def take(self, priority: int = 5) -> None:
        """Take one token, or wait for it; of those who wait the smallest priority goes first, then the earliest."""
        with self._changed:
            place = (priority, next(self._numbers))
            heapq.heappush(self._waiting, place)
            while (missing := self._missing_seconds(place)) != 0:
                # Whoever is not first is woken by the one before; the first waits for the next token.
                self._changed.wait(timeout=missing)
            heapq.heappop(self._waiting)
            self._tokens -= 1
            self._taken += 1
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Give nothing for so many seconds: the API server asked for it. What would have come meanwhile is lost."""
        with self._changed:
            self._fill()
            self._filled_at = max(self._filled_at, self._clock() + seconds)
            self._changed.notify_all()

    @property
    def available(self) -> int:
        """How many could be taken now without a wait."""
        with self._changed:
            self._fill()
            return 0 if self._filled_at > self._clock() else int(self._tokens)

    @property
    def waiting(self) -> int:
        """How many wait."""
        with self._changed:
            return len(self._waiting)

    @property
    def taken(self) -> int:
        """How many tokens were taken so far."""
        with self._changed:
            return self._taken

    def _missing_seconds(self, place: tuple[int, int]) -> float | None:
        """Return how long the one at a place waits: 0 for its turn, None until another one's turn is over."""
        if self._waiting[0] != place:
            return None
        self._fill()
        paused = self._filled_at - self._clock()
        if paused > 0:
            return paused + max(0.0, 1 - self._tokens) / self.rate
        return max(0.0, 1 - self._tokens) / self.rate

    def _fill(self) -> None:
        now = self._clock()
        if now > self._filled_at:
            self._tokens = min(float(self.burst), self._tokens + (now - self._filled_at) * self.rate)
            self._filled_at = now
