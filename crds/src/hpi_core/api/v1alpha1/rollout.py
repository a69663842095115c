"""How a new revision replaces the old one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import Atomic, IntOrPercent, Rule

MAX_STEPS: Final = 16


class CanaryStep(ApiModel):
    """One step of a canary."""

    weight_percent: Annotated[int, Field(ge=1, le=100)]
    """Share of the requests that the new revision gets; without a gateway, of the replicas. Unit: percent."""

    soak_seconds: int = Field(default=60, ge=0, le=604_800)
    """How long the new revision serves that share without a failure before the next step. Unit: seconds."""


class Rollout(ApiModel):
    """How a new revision replaces the old one."""

    strategy: Literal["Rolling", "Canary"] = "Rolling"
    """Rolling: replica by replica. Canary: by `steps`."""

    steps: Annotated[tuple[CanaryStep, ...], Field(strict=False, max_length=MAX_STEPS), Atomic()] = ()
    """Steps of a canary, each with a larger share than the one before; after the last the new revision gets all."""

    progress_deadline_seconds: int = Field(default=600, ge=1, le=86_400)
    """How long a revision may go without progress before it counts as failed. Unit: seconds."""

    max_failed_replicas: IntOrPercent = 1
    """Replicas of the new revision that may fail before it is stopped."""

    auto_rollback: Literal["Enabled", "Disabled"] = "Enabled"
    """Whether a revision that failed is replaced by the last good one. Disabled: it is only stopped."""

    paused: bool = False
    """Whether the rollout stands still where it is."""

    revision_history_limit: int = Field(default=5, ge=1, le=10)
    """Old revisions that are kept to go back to."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.strategy == 'Canary' || !has(self.steps) || self.steps.size() == 0",
            "steps are for strategy Canary alone",
            lambda self: self.strategy == "Canary" or not self.steps,
        ),
        Rule(
            "self.strategy != 'Canary' || (has(self.steps) && self.steps.size() > 0)",
            "strategy Canary needs steps",
            lambda self: self.strategy != "Canary" or bool(self.steps),
        ),
        Rule(
            "!has(self.steps) || (self.steps.map(step, step.weightPercent).isSorted()"
            " && self.steps.all(step, self.steps.exists_one(other, other.weightPercent == step.weightPercent)))",
            "the weights of steps must grow",
            lambda self: all(
                earlier.weight_percent < later.weight_percent
                for earlier, later in zip(self.steps, self.steps[1:], strict=False)
            ),
        ),
    )
