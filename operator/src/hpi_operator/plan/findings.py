"""What the decision for one pipeline found on its way, for its status."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpi_operator.plan.acceptance import Blocked
from hpi_operator.plan.placing import Placing
from hpi_operator.plan.prebuild import Prebuild
from hpi_operator.plan.rollout_state import RolloutDecision
from hpi_operator.plan.workload.parts import ClassPlan


@dataclass(frozen=True)
class Findings:
    """What the decision found. What it did not come to is absent."""

    blocked: Blocked | None = None
    placing: Placing | None = None
    classes: tuple[ClassPlan, ...] = ()
    """Classes that have replicas."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Replicas by class."""
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Replicas by class that have waited too long for a node."""
    wanted_replicas: int | None = None
    decision: RolloutDecision | None = None
    ahead: Prebuild = field(default_factory=Prebuild)
    taken: tuple[str, ...] = ()
    """Objects of somebody else's that have a name that the pipeline needs, in words."""
