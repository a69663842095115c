"""Why the operator has not looked at something: nobody leads, or who leads is silent."""

from __future__ import annotations

from datetime import datetime

from hpi_core.moments import read_moment
from hpi_operator.kubectl.reports.causes import Finding
from hpi_operator.kubectl.reports.commands import Place, look
from hpi_operator.kubectl.reports.documents import namespace_of, part
from hpi_operator.kubectl.reports.sight import Sight


def operator_findings(sight: Sight, place: Place) -> list[Finding]:
    """Return what the Lease of the election says of who acts."""
    commands = look("NotLookedAt", place)
    if sight.lease is None:
        if any("leases" in one for one in sight.unseen):
            return []
        what = f"no operator has ever led: there is no Lease hpi-operator in namespace {sight.operator_namespace}"
        remedy = "Install the operator, or name its namespace with --operator-namespace."
        return [Finding(object="Operator", what=what, remedy=remedy, next=commands)]
    spec, where = part(sight.lease, "spec"), f"Lease {namespace_of(sight.lease)}/hpi-operator"
    holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
    if not holder:
        what = "nobody leads: the last operator has stopped"
        return [Finding(object=where, what=what, remedy="Start the operator.", since=renewed, next=commands)]
    age, valid = seconds_since(renewed, sight.now), int(spec.get("leaseDurationSeconds") or 60)
    if age is None or age > valid:
        what = f"{holder} has not renewed it since {renewed or 'ever'}, and {valid} s are allowed: it is gone"
        remedy = "Start the operator; see why its pods ended."
        return [Finding(object=where, what=what, remedy=remedy, since=renewed, next=commands)]
    what = f"{holder} leads, and has renewed it {age:.0f} s ago"
    return [Finding(object=where, what=what, remedy="Wait, or read what it says in its log.", next=commands)]


def seconds_since(written: str, now: datetime) -> float | None:
    """Return how long ago a moment was; None: it is no moment."""
    try:
        moment = read_moment(written)
    except ValueError:
        return None
    return (now - moment).total_seconds()
