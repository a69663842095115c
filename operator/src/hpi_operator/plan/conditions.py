"""Conditions of a status: observations of now, dated by their last change; Ready only sums up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from hpi_core import reasons
from hpi_core.api.v1alpha1.condition import MAX_MESSAGE_CHARACTERS, Condition
from hpi_core.moments import stamp

Status = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Observation:
    """One condition without its date."""

    type: str
    status: Status
    reason: str
    message: str = ""


def observation(type_: str, status: Status | bool, reason: str, message: str = "") -> Observation:
    """Return an observation whose reason is one that people can look up.

    Raises:
        KeyError: Nobody has explained the reason.
    """
    word: Status = ("True" if status else "False") if isinstance(status, bool) else status
    return Observation(type_, word, reasons.reason(reason), message)


def merged(
    old: Iterable[Condition], new: Iterable[Observation], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Return conditions as JSON, by type, each dated by its last change of status.

    Args:
        old: Conditions as they are.
        new: Observations of now; an old condition of a type that is not observed any more goes.
        generation: Generation of the spec that was looked at.
        now: The date of what has changed.
    """
    before = {condition.type: condition for condition in old}
    return [_dated(before.get(one.type), one, generation, now) for one in sorted(new, key=lambda one: one.type)]


def _dated(before: Condition | None, new: Observation, generation: int, now: datetime) -> dict[str, Any]:
    changed = before is None or before.status != new.status
    return {
        "type": new.type,
        "status": new.status,
        "reason": new.reason,
        "message": shortened(new.message, MAX_MESSAGE_CHARACTERS),
        "observedGeneration": generation,
        "lastTransitionTime": stamp(now) if changed or before is None else before.last_transition_time,
    }


def shortened(text: str, characters: int) -> str:
    """Return a text of at most so many characters."""
    return text if len(text) <= characters else text[: characters - 1] + "…"


def readiness(observations: Iterable[Observation], needed: tuple[str, ...]) -> Observation:
    """Return Ready: true when every needed observation is, else with the reason of the first that is not."""
    by_type = {one.type: one for one in observations}
    for type_ in needed:
        one = by_type.get(type_)
        if one is not None and one.status != "True":
            return Observation(reasons.READY, one.status, one.reason, one.message)
    return observation(reasons.READY, True, "AsWanted")
