"""What a pass wrote, for whoever has to see it before anything else is done."""

from __future__ import annotations

from dataclasses import dataclass

from hpi_operator.plan.intent import ObjectKey


@dataclass(frozen=True)
class Written:
    """An object that a pass wrote, as the picture of it must show it before the next pass looks."""

    key: ObjectKey
    version: str | None
    """Resource version that the API server answered; None: the object was deleted."""
    uid: str = ""
