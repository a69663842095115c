"""Moments as Kubernetes writes them: RFC 3339 in UTC, with `Z`."""

from __future__ import annotations

from datetime import datetime, timezone


def stamp(moment: datetime) -> str:
    """Return a moment, which must be in UTC, in whole seconds: dates of conditions and of objects (`Time`)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def fine_stamp(moment: datetime) -> str:
    """Return a moment, which must be in UTC, with microseconds: Leases and events (`MicroTime`)."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_moment(written: str) -> datetime:
    """Return a moment that somebody wrote; one that names no zone is in UTC.

    Raises:
        ValueError: It is none.
    """
    # Python 3.10 does not know the letter.
    moment = datetime.fromisoformat(written.replace("Z", "+00:00"))
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)
