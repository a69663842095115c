"""A status in which single conditions are said anew, for when nothing can be decided: the rest stays as it was."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from hpi_core import reasons
from hpi_core.api.v1alpha1.condition import MAX_MESSAGE_CHARACTERS
from hpi_core.moments import stamp
from hpi_operator.plan.conditions import Observation, observation, shortened
from hpi_operator.plan.intent import Manifest


def unseen(stored: Manifest | None, message: str, *, is_permission: bool, generation: int, now: datetime) -> Manifest:
    """Return the status of a pipeline while the operator does not see all that it needs.

    Whether the pipeline serves is left as it was seen last: it has not become worse by nobody looking.

    Args:
        stored: The status as it is, None where there is none.
        message: What is not seen, and why.
        is_permission: Whether a right is missing.
        generation: Generation of the spec.
        now: The date of what has changed.
    """
    reason = "PermissionMissing" if is_permission else "WorldIncomplete"
    told = [observation(reasons.PROGRESSING, "Unknown", reason, message)]
    if not any(one.get("type") == reasons.READY for one in _conditions(stored)):
        told.append(observation(reasons.READY, "Unknown", reason, message))
    return amended(stored, told, generation, now)


def unreadable(
    stored: Manifest | None, problems: Iterable[str], types: Iterable[str], generation: int, now: datetime
) -> Manifest:
    """Return the status of an object whose spec this release cannot read.

    Args:
        stored: The status as it is, None where there is none.
        problems: What is wrong.
        types: Conditions that say so.
        generation: Generation of the spec.
        now: The date of what has changed.
    """
    message = f"this release of the operator cannot read the spec: {'; '.join(problems)}"
    told = [observation(type_, False, "InvalidSpec", message) for type_ in types]
    return {**amended(stored, told, generation, now), "observedGeneration": generation}


def amended(stored: Manifest | None, told: Iterable[Observation], generation: int, now: datetime) -> dict[str, Any]:
    """Return a status with some conditions said anew, each dated by its last change of status."""
    conditions = {one["type"]: one for one in _conditions(stored)}
    for one in told:
        before = conditions.get(one.type, {})
        conditions[one.type] = {
            "type": one.type,
            "status": one.status,
            "reason": one.reason,
            "message": shortened(one.message, MAX_MESSAGE_CHARACTERS),
            "observedGeneration": generation,
            "lastTransitionTime": before["lastTransitionTime"] if before.get("status") == one.status else stamp(now),
        }
    return {**(stored or {}), "conditions": [conditions[type_] for type_ in sorted(conditions)]}


def _conditions(stored: Manifest | None) -> list[dict[str, Any]]:
    return list((stored or {}).get("conditions") or ())
