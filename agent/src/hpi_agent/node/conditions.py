"""Conditions of what an agent reports on, each dated by the last change of its status; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpi_core import reasons
from hpi_core.api.v1alpha1.condition import MAX_MESSAGE_CHARACTERS


def ready(live: Mapping[str, Any], status: str, reason: str, message: str, now: str) -> dict[str, Any]:
    """Return the condition `Ready` as it is to be stated; see `condition`."""
    return condition(live, reasons.READY, status, reason, message, now)


def condition(live: Mapping[str, Any], type_: str, status: str, reason: str, message: str, now: str) -> dict[str, Any]:
    """Return a condition as it is to be stated.

    Args:
        live: The object as it is.
        type_: One of `hpi_core.reasons`.
        status: `True` or `False`.
        reason: One that people can look up.
        message: For people; what is too long is cut.
        now: The time, RFC 3339 in UTC.

    Raises:
        KeyError: Nobody has explained the reason.
    """
    before = (live.get("status") or {}).get("conditions") or ()
    same = (one for one in before if one.get("type") == type_ and one.get("status") == status)
    unchanged = next(same, None)
    return {
        "type": type_,
        "status": status,
        "reason": reasons.reason(reason),
        "message": message[:MAX_MESSAGE_CHARACTERS],
        "observedGeneration": int(live["metadata"].get("generation", 1)),
        "lastTransitionTime": now if unchanged is None else unchanged["lastTransitionTime"],
    }
