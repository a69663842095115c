"""Answers of the API server that are no success, read: which error each stands for; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from hpi_core.errors import HpiError
from hpi_operator.kube.errors import (
    Away,
    Conflict,
    Ending,
    Expired,
    FieldOwner,
    Forbidden,
    Invalid,
    NotThere,
    Taken,
    Unknown,
)

MAX_AFTER_SECONDS: Final = 60.0
"""Longest wish for a pause that is honoured."""

_OWNER: Final = re.compile(r'conflicts? with "([^"]+)"(?: with subresource "[^"]+")?( using)?')
"""How apimachinery words a conflict (managedfields/internal/conflict.go): `using` stands behind a writer that updates,
not behind one that applies."""
_RIGHT: Final = re.compile(r'cannot (\S+) resource "([^"]+)" in API group "([^"]*)"')


def error_of(code: int, body: bytes, attempt: str, after: str | None = None) -> HpiError:
    """Return the error that an answer stands for.

    Args:
        code: Status of HTTP.
        body: What came with it: a Status of Kubernetes, if the API server itself answered.
        attempt: What was attempted, for the message.
        after: Value of the header Retry-After.
    """
    return error_of_status(code, _status(body), attempt, _seconds(after))


def error_of_status(code: int, status: Mapping[str, Any], attempt: str, after_seconds: float | None = None) -> HpiError:
    """Return the error that a Status of Kubernetes stands for, `{}` where none came."""
    message = str(status.get("message") or f"status {code}")
    said = f"{attempt}: {message}"
    if code == 410 or status.get("reason") in ("Expired", "Gone"):
        return Expired(said)
    if code == 404:
        return NotThere(said)
    if code == 401:
        return Unknown(said)
    if code == 403:
        return _forbidden(said, status)
    if code == 409:
        return _conflict(said, message, status)
    # A field that the schema does not have is answered with 500 by server-side apply.
    if code in (400, 405, 413, 415, 422) or "failed to create typed patch object" in message:
        return Invalid(said)
    return Away(said, after_seconds)


def _forbidden(said: str, status: Mapping[str, Any]) -> HpiError:
    # A namespace that is going away, a quota and an admission policy are told by the status of a missing right.
    if "NamespaceTerminating" in [cause.get("reason") for cause in _causes(status)]:
        return Ending(said)
    right = _RIGHT.search(said)
    if right is None:
        return Invalid(said) if "exceeded quota" in said or "denied request" in said else Forbidden(said)
    verb, resource, group = right.groups()
    return Forbidden(said, f"{verb} {resource}{'.' + group if group else ''}")


def _conflict(said: str, message: str, status: Mapping[str, Any]) -> HpiError:
    causes = [cause for cause in _causes(status) if cause.get("reason") == "FieldManagerConflict"]
    texts = [str(cause.get("message", "")) for cause in causes] or [message]
    owners = {FieldOwner(found[1], found[2] is None) for text in texts if (found := _OWNER.search(text))}
    if not owners:
        return Conflict(said)
    fields = sorted({str(cause["field"]) for cause in causes if cause.get("field")})
    return Taken(said, tuple(sorted(owners)), tuple(fields))


def _causes(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((status.get("details") or {}).get("causes") or ())


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        # A proxy in between, or a server that is starting, answers in words of its own.
        words = body[:200].decode("utf-8", "replace").strip()
        return {"message": words} if words else {}
    return parsed if isinstance(parsed, dict) else {}


def _seconds(after: str | None) -> float | None:
    return min(float(after), MAX_AFTER_SECONDS) if after is not None and after.isdigit() else None
