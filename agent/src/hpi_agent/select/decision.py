"""The remembered choice for one model on one class of hardware: what was tried, judged, timed and chosen; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hpi_agent.select.candidate import Candidate
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused

DECISION_FORMAT: Final = 1
"""Version of the JSON form; a reader refuses any other and builds anew."""

Verdict = Literal["Chosen", "Slower", "OutOfTolerance", "Failed", "Excluded"]
"""Chosen: serves. Slower: passed the gate and lost on time. OutOfTolerance: the gate refused its answers. Failed: could
not be built, run or kept within its limits. Excluded: knowledge or the request says that it need not be tried."""

TaskVerdict = Literal["Agreed", "Differed", "Ungated", "NotNeeded"]
"""Agreed, Differed: the model family's own answers were compared. Ungated: there was nothing to compare them on, so
only the numbers were. NotNeeded: the request asks for the numbers alone."""


@dataclass(frozen=True)
class Timing:
    """What a candidate cost when it was measured, in rounds that took turns with the other candidates'."""

    rounds: int
    """Passes over the whole mix of samples."""
    inferences_per_round: int
    p50_microseconds: int
    """Median over the rounds of one round's mean time of an inference."""
    p99_microseconds: int
    """99th percentile of single inferences over the mix, by the nearest rank."""
    memory_bytes: int
    """Largest resident memory of the candidate's process tree, the inference library included."""
    load_microseconds: int
    """From the verified bytes of the store to an engine that is ready for its first inference."""
    device_memory_bytes: int | None = None
    """Memory of the accelerator that it held after the last round; None: it computes on the processors, or its runtime
    does not tell."""


@dataclass(frozen=True)
class Outcome:
    """What became of one candidate."""

    candidate: Candidate
    verdict: Verdict
    reason: str
    engine_key: str | None = None
    """Name of its engine in the store, `sha256:<hex>`; None when it was never built."""
    largest_difference: float | None = None
    """max |answer - reference| / max |reference|, the worst over outputs and samples; None when it was not judged."""
    task: TaskVerdict | None = None
    timing: Timing | None = None


@dataclass(frozen=True)
class Gate:
    """On what the candidates were judged."""

    reference: str
    """Who gave the answers that count, such as `paddle 3.2.2 without oneDNN`."""
    samples: str
    """Where the inputs came from: `folder`, `rendered` or `noise`."""
    sample_count: int
    answer_count: int
    """Texts, boxes or classes in the reference's answers; 0 for noise."""
    tolerance: float
    """Largest difference that was allowed for float32."""


@dataclass(frozen=True)
class Decision:
    """The choice for one resolution."""

    resolution: Mapping[str, Any]
    """The document whose digest names the decision; see `hpi_agent.select.keys`."""
    outcomes: tuple[Outcome, ...]
    gate: Gate | None
    """None when no candidate got as far as the gate."""
    provisional: str | None
    """Why the choice has to be made again, or None. A provisional choice is used and never shared; it is final when the
    next one is made in quiet, or chooses the same."""
    decided_at: str
    """For people, RFC 3339 in UTC. Nothing is decided by it: clocks go back."""
    build_seconds: float
    verified_on_drivers: tuple[str, ...] = ()
    """Drivers under which the engines were loaded and judged, whole versions; empty for the processors. One decision is
    of several drivers where `driverMatch` lets it be."""

    @property
    def key(self) -> str:
        """`sha256:<hex>` of the resolution document."""
        return digest_of_json(self.resolution)

    @property
    def chosen(self) -> Outcome | None:
        """The outcome that serves, or None when every candidate failed."""
        return next((outcome for outcome in self.outcomes if outcome.verdict == "Chosen"), None)

    @property
    def provisional_key(self) -> str | None:
        """Key of the engine that was chosen on busy cores; None: the choice is final, or nothing was chosen."""
        return None if self.provisional is None or self.chosen is None else self.chosen.engine_key

    @property
    def is_shareable(self) -> bool:
        """Whether others may use it: it chose something, and nobody has to choose again."""
        return self.provisional is None and self.chosen is not None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, which `read_decision` reads."""
        return {
            "formatVersion": DECISION_FORMAT,
            "resolution": dict(self.resolution),
            "outcomes": [_outcome_to_json(outcome) for outcome in self.outcomes],
            "gate": None if self.gate is None else _camel(vars(self.gate)),
            "provisional": self.provisional,
            "decidedAt": self.decided_at,
            "buildSeconds": round(self.build_seconds, 3),
            "verifiedOnDrivers": list(self.verified_on_drivers),
        }


def read_decision(written: Mapping[str, Any]) -> Decision:
    """Return the decision of a JSON form.

    Raises:
        Refused: The form is of another version, or is not a decision at all.
    """
    version = written.get("formatVersion")
    if version != DECISION_FORMAT:
        raise Refused(f"the decision has format {version!r}, this release reads {DECISION_FORMAT}; build it again")
    try:
        return Decision(
            resolution=dict(written["resolution"]),
            outcomes=tuple(_outcome_from_json(outcome) for outcome in written["outcomes"]),
            gate=None if written["gate"] is None else Gate(**_snake(written["gate"])),
            provisional=written["provisional"],
            decided_at=written["decidedAt"],
            build_seconds=float(written["buildSeconds"]),
            # Decisions are older than accelerators.
            verified_on_drivers=tuple(written.get("verifiedOnDrivers", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"the decision is malformed ({type(error).__name__}: {error}); build it again") from error


def _outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "candidate": outcome.candidate.to_json(),
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "engineKey": outcome.engine_key,
        "largestDifference": outcome.largest_difference,
        "task": outcome.task,
        "timing": None if outcome.timing is None else _camel(vars(outcome.timing)),
    }


def _outcome_from_json(written: Mapping[str, Any]) -> Outcome:
    timing = written["timing"]
    return Outcome(
        candidate=Candidate.from_json(written["candidate"]),
        verdict=written["verdict"],
        reason=written["reason"],
        engine_key=written["engineKey"],
        largest_difference=written["largestDifference"],
        task=written["task"],
        timing=None if timing is None else Timing(**_snake(timing)),
    )


def _camel(fields: Mapping[str, Any]) -> dict[str, Any]:
    def name(field: str) -> str:
        first, *rest = field.split("_")
        return first + "".join(word.capitalize() for word in rest)

    return {name(field): value for field, value in fields.items()}


def _snake(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): value for name, value in fields.items()}
