"""What a proxy is told to do wrong, and to which requests."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

from support.api_calls import ApiCall, Matches, asks

ALWAYS: Final = 1_000_000
"""More often than any test asks."""
REASONS: Final = {
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass
class Fault:
    """Something wrong that is done to some requests; `hits` says how often it was."""

    matches: Matches
    times: int
    status: int | None = None
    """Answer this instead of asking the server."""
    retry_after_seconds: int | None = None
    delay_seconds: float = 0.0
    """Pass it on so much later."""
    refuse: bool = False
    """Cut the connection instead of answering."""
    lose: bool = False
    """Let the server do it, and cut the connection instead of giving its answer."""
    cut_after_bytes: int | None = None
    """Cut the connection after so much of the answer."""
    hits: int = 0


class Faults:
    """What is to be done wrong now; safe from several threads."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def answer(
        self, matches: Matches, status: int, *, times: int = ALWAYS, retry_after_seconds: int | None = None
    ) -> Fault:
        """Answer the next such requests with an error, as the API server words it."""
        return self._add(Fault(matches, times, status=status, retry_after_seconds=retry_after_seconds))

    def delay(self, matches: Matches, seconds: float, *, times: int = ALWAYS) -> Fault:
        """Pass the next such requests on later."""
        return self._add(Fault(matches, times, delay_seconds=seconds))

    def refuse(self, matches: Matches | None = None, *, times: int = ALWAYS) -> Fault:
        """Cut the connection of the next such requests, of all unless told otherwise; watches that are open stay."""
        return self._add(Fault(matches or asks(), times, refuse=True))

    def lose_answers(self, matches: Matches, *, times: int = ALWAYS) -> Fault:
        """Have the next such requests done, and cut the connection before the answer."""
        return self._add(Fault(matches, times, lose=True))

    def cut_answers(self, matches: Matches, after_bytes: int, *, times: int = ALWAYS) -> Fault:
        """Cut the connection of the next such requests in the middle of the answer."""
        return self._add(Fault(matches, times, cut_after_bytes=after_bytes))

    def forget(self) -> None:
        """Do nothing wrong any more."""
        with self._lock:
            self._faults.clear()

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def fault_of(self, call: ApiCall) -> Fault | None:
        """Return what is done to a request, and count it; None: nothing. The first that matches decides."""
        with self._lock:
            for fault in self._faults:
                if fault.times > fault.hits and fault.matches(call):
                    fault.hits += 1
                    return fault
        return None


def status_object(status: int, retry_after_seconds: int | None = None) -> dict[str, Any]:
    """Return the body of an error, as the API server words it."""
    details = {} if retry_after_seconds is None else {"retryAfterSeconds": retry_after_seconds}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"the proxy of the tests answers {status}",
        "reason": REASONS.get(status, ""),
        "details": details,
        "code": status,
    }
