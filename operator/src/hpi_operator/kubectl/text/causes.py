"""`why` for people: the chain from what does not hold to its cause, each link with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hpi_operator.kubectl.reports.base import Summary
from hpi_operator.kubectl.reports.causes import Causes, Finding
from hpi_operator.kubectl.text.terminal import Style, clean, folded
from hpi_operator.kubectl.text.words import age

NOTHING: Final = "Nothing."
POINTERS: Final = ("NoReplica", "TooFewReplicas")
"""Reasons whose remedy is to look at the pods: where those stand below, it says nothing more."""
MIN_REPEATED: Final = 24
"""Characters of a message from which on it is worth not to be told twice."""
OF_A_POD: Final = "; pod "
"""How a message begins to repeat what a pod says."""


def causes_text(report: Causes, style: Style, now: datetime) -> Iterator[str]:
    """Yield the lines."""
    yield f"{style.paint(report.object, 'bold')} {_verdict(report.ready, style, now)}"
    told: list[str] = []
    for finding in report.findings:
        yield ""
        yield from _Link(finding, report.object, "").lines(style, now, 0, told)
    if report.unseen:
        yield ""
        yield "not seen"
        for line in report.unseen:
            yield from folded(line, style, "  ")


def _verdict(ready: Summary, style: Style, now: datetime) -> str:
    since = age(ready.since, now)
    for_so_long = f", for {since}" if since else ""
    if ready.status == "True":
        return style.paint("is ready", "green") + for_so_long
    if ready.status == "False":
        return style.paint("is NOT READY", "red") + f": {ready.reason}" + for_so_long
    return style.paint("is UNKNOWN", "yellow") + f": {ready.reason}" + for_so_long


@dataclass(frozen=True)
class _Link:
    """One link, and what stands above it."""

    finding: Finding
    about: str
    """What the link above is about."""
    remedy: str
    """What the link above says is to be done."""

    def lines(self, style: Style, now: datetime, depth: int, told: list[str]) -> Iterator[str]:
        """Yield the lines of the link and of those below.

        Args:
            style: How lines are written.
            now: The time.
            depth: How many links stand above.
            told: Messages that have been told already; this one's is added.
        """
        finding = self.finding
        mark = "" if depth == 0 else ("`- " if style.ascii else "└─ ")
        lead = "  " * max(0, depth - 1) + mark
        indent = " " * (2 * max(0, depth - 1) + (3 if depth else 0)) + "  "
        yield lead + style.paint(self._head(now), "red" if depth == 0 else "bold")
        yield from folded(self._said(told), style, indent)
        told += [finding.message] if len(finding.message) >= MIN_REPEATED else []
        if finding.remedy not in ("", NOTHING, self.remedy) and not self._points_below():
            yield from folded(finding.remedy, style, indent + "        ", indent + "to do:  ")
        # A command of a link below leads nearer to the cause.
        leads_below = any(cause.next for cause in finding.causes)
        for number, command in enumerate(() if leads_below else finding.next):
            yield f"{indent}{'look:   ' if number == 0 else '        '}{style.paint(command, 'dim')}"
        for cause in finding.causes:
            yield from _Link(cause, finding.object, finding.remedy).lines(style, now, depth + 1, told)

    def _head(self, now: datetime) -> str:
        finding = self.finding
        about = "" if finding.object == self.about else f"{finding.object}: "
        reason = f": {finding.reason}" if finding.reason and finding.reason not in finding.what else ""
        since = age(finding.since, now)
        return clean(f"{about}{finding.what}{reason}") + (f", {since} ago" if since else "")

    def _said(self, told: list[str]) -> str:
        """Return the message, without what was told above or stands below; else what the reason means."""
        finding = self.finding
        message = finding.message
        if any(cause.message and cause.message in message for cause in finding.causes):
            message = message.partition(OF_A_POD)[0]
        for one in told:
            if one in message and one != message:
                message = message.replace(one, "see above")
        return message or finding.meaning

    def _points_below(self) -> bool:
        return bool(self.finding.causes) and self.finding.reason in POINTERS
