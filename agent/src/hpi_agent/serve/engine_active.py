"""How the engines of a pod came to be, in one word for the cluster; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hpi_agent.exchange.reports import Active

MAX_MESSAGE: Final = 160

_ORDER: Final[tuple[Active, ...]] = ("Measured", "Provisional", "Fallback", "Building")
"""The last one of any model is the pod's."""


def engine_active(models: Sequence[Mapping[str, Any]], *, is_building: bool) -> tuple[Active, str]:
    """Return the reason of `EngineActive`, and for people why it is not `Measured`.

    Args:
        models: As a worker describes them: `name`, `state`, `reason`, `engine`.
        is_building: Whether a builder is at work beside the server, or about to be.
    """
    states = [active_of(str(model["state"]), is_building=is_building) for model in models]
    worst: Active = max(states, key=_ORDER.index) if states else "Measured"
    if worst == "Measured":
        return worst, ""
    told = (
        f"{model['name']}: {model['reason']}" for model, state in zip(models, states, strict=True) if state == worst
    )
    return worst, shortened("; ".join(told))


def shortened(text: str) -> str:
    """Return a text of at most `MAX_MESSAGE` characters in one line."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_MESSAGE else f"{line[: MAX_MESSAGE - 1]}…"


def active_of(state: str, *, is_building: bool) -> Active:
    """Return how the engine of one model came to be, in the words of the cluster.

    Args:
        state: As a worker describes it.
        is_building: Whether a builder is at work beside the server, or about to be.
    """
    if state == "Measured":
        return "Measured"
    if state == "Provisional":
        return "Provisional"
    # What nobody measures any more serves because it happens to load.
    return "Building" if state == "Unmeasured" and is_building else "Fallback"
