"""Which HPIEngines of a namespace are wanted, and which go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from hpi_core import reasons
from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.moments import read_moment
from hpi_operator.plan.conditions import merged, observation
from hpi_operator.plan.intent import Deletion, Manifest, ObjectKey
from hpi_operator.plan.observed import ObservedEngines


def wanted_condition(engine: HPIEngine, generation: int, is_wanted: bool, now: datetime) -> list[dict[str, Any]]:
    """Return the one condition that the operator writes of an HPIEngine; the others are its agent's."""
    old = () if engine.status is None else [one for one in engine.status.conditions if one.type == reasons.WANTED]
    told = observation(reasons.WANTED, is_wanted, "InUse" if is_wanted else "Unwanted")
    return merged(old, [told], generation, now)


def conditions_to_write(observed: ObservedEngines) -> Iterator[tuple[HPIEngine, Manifest]]:
    """Yield the engines whose condition differs from what is so, with the status to apply."""
    for engine, _, _ in sorted(observed.engines, key=lambda one: one[0].metadata.name):
        is_wanted = engine.metadata.name in observed.wanted
        if not is_wanted and not observed.complete:
            continue
        seen = None
        if engine.status is not None:
            seen = next((one.status for one in engine.status.conditions if one.type == reasons.WANTED), None)
        if seen != ("True" if is_wanted else "False"):
            yield engine, {"conditions": wanted_condition(engine, 1, is_wanted, observed.now)}


def deletions(observed: ObservedEngines) -> tuple[tuple[Deletion, ...], float | None]:
    """Return the engines that nothing has wanted for long enough, and the seconds until the next one will be such."""
    if not observed.complete:
        return (), None
    found, waits = [], []
    for engine, _, uid in sorted(observed.engines, key=lambda one: one[0].metadata.name):
        if engine.metadata.name in observed.wanted:
            continue
        remaining = _remaining_seconds(engine, observed)
        if remaining > 0:
            waits.append(remaining)
            continue
        key = ObjectKey(engine.api_version, engine.kind, observed.namespace, engine.metadata.name)
        found.append(Deletion(key, uid, "no pipeline has wanted it for long enough"))
    return tuple(found), min(waits, default=None)


def _remaining_seconds(engine: HPIEngine, observed: ObservedEngines) -> float:
    """Return how long an unwanted engine is kept still: from when its condition said so, else from now."""
    conditions = () if engine.status is None else engine.status.conditions
    told = next((one for one in conditions if one.type == reasons.WANTED and one.status == "False"), None)
    since = observed.now
    if told is not None:
        since = read_moment(told.last_transition_time)
    retention = timedelta(seconds=observed.settings.engine_retention_seconds)
    return (since + retention - observed.now).total_seconds()
