"""How a request ended: its errors, their HTTP status, and where its time went."""

from __future__ import annotations

from typing import Final

from hpi_agent.processes.frames import Frame
from hpi_core.errors import HpiError, Overloaded, Refused, Retry, TooLarge

CLIENT_GONE: Final = 499
"""Status that is counted when a client hangs up before its answer; nobody receives it (nginx's number)."""

STATUS_OF_ERRORS: Final = ((TooLarge, 413), (Refused, 422), (Overloaded, 503), (Retry, 503))
"""The first class that fits decides."""


class WorkerDied(Retry):
    """The worker process ended while it served a request; another one is on its way."""


class DeadlinePassed(Retry):
    """The answer was not there in time."""


class ClientGone(HpiError):
    """The client hung up."""


class WorkerRefused(HpiError):
    """The worker answered with an error; the text is for the client.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def status_of(error: HpiError) -> int:
    """Return the HTTP status of an error: 413, 422 and 503 for what the caller can change, 500 for the rest."""
    return next((status for kind, status in STATUS_OF_ERRORS if isinstance(error, kind)), 500)


def http_status(error: HpiError) -> tuple[int, dict[str, str]]:
    """Return the HTTP status of an error and the headers that go with it."""
    if isinstance(error, Overloaded):
        return 503, {"Retry-After": str(error.retry_after_seconds)}
    if isinstance(error, DeadlinePassed):
        return 504, {}
    if isinstance(error, ClientGone):
        return CLIENT_GONE, {}
    status = error.status if isinstance(error, WorkerRefused) else status_of(error)
    return status, {"Retry-After": "1"} if status == 503 else {}


def server_timing(frame: Frame, queue_seconds: float) -> str:
    """Return the header `Server-Timing` of an answer: the queue, each stage and each model. Unit: milliseconds.

    Source:
        W3C Server Timing, section 2: `name;dur=milliseconds`, separated by commas.
    """
    parts = {"queue": queue_seconds, **frame.header["stages"]}
    named = [f"{name};dur={seconds * 1e3:.1f}" for name, seconds in parts.items()]
    models = [
        f'model-{index};desc="{name}";dur={seconds * 1e3:.1f}'
        for index, (name, seconds) in enumerate(frame.header["models"].items())
    ]
    return ", ".join(named + models)
