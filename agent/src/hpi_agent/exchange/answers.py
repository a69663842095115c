"""Which error is which HTTP status, and how bodies that say it look."""

from __future__ import annotations

import json
from typing import Any, Final

from hpi_agent.exchange.staging import Mismatch, is_full
from hpi_agent.exchange.tenants import Conflict
from hpi_core.errors import HpiError, InvalidManifest, Overloaded, Refused, Retry, Stop, TooLarge

NOT_FOUND: Final = "there is no such thing here"
"""For everything that is not there or not the caller's: the same bytes, whatever the reason."""

MAX_ERROR_CHARACTERS: Final = 1_024


class Unknown(Refused):
    """What was asked for is not there, or not the caller's."""


class NotYours(Refused):
    """The caller is known and may not say that."""


class Unauthenticated(Refused):
    """Nobody knows the caller."""


class Lost(Refused):
    """The right to build was lost meanwhile."""


def status_of(error: HpiError) -> int:
    """Return the status of an answer that tells of an error."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 507 if isinstance(error, Stop) and is_full(error) else 500


def headers_of(error: HpiError) -> dict[str, str]:
    """Return what such an answer says in its head."""
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, Retry):
        return {"Retry-After": str(error.retry_after_seconds if isinstance(error, Overloaded) else 1)}
    return {}


def body_of(error: HpiError) -> bytes:
    """Return the body of such an answer."""
    if isinstance(error, Unknown):
        return json.dumps({"error": NOT_FOUND}).encode()
    written: dict[str, Any] = {"error": str(error)[:MAX_ERROR_CHARACTERS]}
    if isinstance(error, Conflict):
        written["digest"] = error.digest
    return json.dumps(written).encode()


_STATUS: Final[tuple[tuple[type[HpiError], int], ...]] = (
    (Unknown, 404),
    (Unauthenticated, 401),
    (NotYours, 403),
    (Conflict, 409),
    (Lost, 409),
    (TooLarge, 413),
    (Mismatch, 422),
    (InvalidManifest, 400),
    (Refused, 422),
    (Retry, 503),
)
