"""`why`: from the condition that does not hold down to its cause, each with what it means and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from hpi_core.reasons import REASONS
from hpi_operator.kubectl.reports.base import REPORT_VERSION, Observed, Report, ReportVersion, Summary
from hpi_operator.kubectl.reports.commands import Place, look

MAX_SHOWN: Final = 5
"""Objects of one sort that are told one by one; the rest is counted."""

NOT_LOOKED_AT: Final = (
    "The operator has not looked at this spec.",
    "See that the operator runs and leads; it says in its log what it waits for.",
)


class Finding(Report):
    """One link of the chain."""

    object: str
    """What it is about: `HPIPipeline shop/ocr`, `Pod shop/ocr-cpu-5d9`, `Node n1`."""
    what: str
    """What was seen, in short: `Available is False`, `container serving: CrashLoopBackOff, exit code 137`."""
    reason: str = ""
    """One word, explained in operator/TROUBLESHOOTING.md where it is the project's own."""
    message: str = ""
    """What the object says."""
    meaning: str = ""
    """What the reason means."""
    remedy: str = ""
    """What to do."""
    since: str = ""
    """When it began. RFC 3339."""
    next: tuple[str, ...] = ()
    """Commands to look next."""
    causes: tuple[Finding, ...] = ()
    """What it comes from."""


class Causes(Report):
    """Answer of `kubectl hpi why … -o json`."""

    api_version: ReportVersion = REPORT_VERSION
    """Version of the form."""
    kind: Literal["Causes"] = "Causes"
    """Which report it is."""
    object: str
    """What was asked about: `HPIPipeline shop/ocr`, `Node n1`."""
    ready: Summary
    """Whether it is as wanted."""
    findings: tuple[Finding, ...] = ()
    """What does not hold, the most telling first. Empty: all is as wanted."""
    unseen: tuple[str, ...] = ()
    """What could not be read, and why."""


def finding_of(
    about: str, condition: Observed, place: Place, causes: Iterable[Finding] = (), *, what: str | None = None
) -> Finding:
    """Return the link that a condition is."""
    return finding(
        about,
        what or f"{condition.type} is {condition.status}",
        condition.reason,
        place,
        message=condition.message,
        since=condition.since,
        causes=causes,
    )


def finding(
    about: str,
    what: str,
    reason: str,
    place: Place,
    *,
    message: str = "",
    since: str = "",
    causes: Iterable[Finding] = (),
) -> Finding:
    """Return a link, with meaning and remedy of its reason and the commands to look next."""
    known = REASONS.get(reason)
    meaning, remedy = NOT_LOOKED_AT if reason == "NotLookedAt" else ("", "")
    if known is not None:
        meaning, remedy = known.meaning, known.remedy
    return Finding(
        object=about,
        what=what,
        reason=reason,
        message=message,
        meaning=meaning,
        remedy=remedy,
        since=since,
        next=look(reason, place),
        causes=tuple(causes),
    )


def and_more(about: str, count: int) -> list[Finding]:
    """Return a link that counts what is not told one by one."""
    return [Finding(object=about, what=f"and {count} more")] if count > 0 else []
