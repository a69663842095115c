"""How often, how long and with which pauses a server is asked; the clock is an argument."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from hpi_core.errors import Overloaded, Retry, SourceFailed

T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """Bounded attempts with growing pauses."""

    attempts: int = 6
    """Attempts without any progress, at least 1."""
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0
    longest_wait_seconds: int = 120
    """Longest time that a server may ask to wait (Retry-After); one that asks for more is given up."""
    stall_seconds: float = 60.0
    """Time in which `stall_bytes` must have come."""
    stall_bytes: int = 65_536
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    share: Callable[[], float] = random.random
    """A number from 0 to 1 that spreads the pauses of many processes."""

    def run(self, call: Callable[[], T], what: str) -> T:
        """Return what a call returns at last.

        Raises:
            SourceFailed: Every attempt failed; its cause is the last Retry.
        """
        for attempt in range(1, self.attempts + 1):
            try:
                return call()
            except Retry as error:
                self.pause(attempt, error, what)
        raise AssertionError("the last pause raises")

    def pause(self, attempt: int, error: Retry, what: str) -> None:
        """Wait before the next attempt.

        Args:
            attempt: Number of the attempt that failed, from 1.
            error: How it failed.
            what: What cannot be done, for people.

        Raises:
            SourceFailed: There is no next attempt.
        """
        if attempt >= self.attempts:
            raise SourceFailed(
                f"{what}: {error}; {attempt} attempts failed. Try again when the server answers"
            ) from error
        longest = min(self.longest_pause_seconds, self.first_pause_seconds * 2.0 ** (attempt - 1))
        # At least half of it: a pause of nothing is none.
        seconds = longest * (0.5 + 0.5 * self.share())
        if isinstance(error, Overloaded):
            if error.retry_after_seconds > self.longest_wait_seconds:
                raise SourceFailed(
                    f"{what}: {error}; at most {self.longest_wait_seconds} s are waited here. Try again later"
                ) from error
            seconds = max(seconds, float(error.retry_after_seconds))
        self.sleep(seconds)


DEFAULT_PATIENCE: Final = Patience()


@dataclass(frozen=True)
class Timeouts:
    """How long a server may take. Unit: seconds."""

    connect: float = 10.0
    """Until the connection stands, the handshake of TLS included."""
    headers: float = 30.0
    """From the request to the last header of the answer."""
    silence: float = 30.0
    """Between two pieces of the body."""


DEFAULT_TIMEOUTS: Final = Timeouts()
