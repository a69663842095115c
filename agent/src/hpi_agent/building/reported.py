"""A resolution and its decision in the words of the wire: what is asked of the node's agent, and what it is told."""

from __future__ import annotations

import os
from typing import Any, Final, Literal

from hpi_agent.building.placement import BUILT_FILE
from hpi_agent.building.resolution import Resolution
from hpi_agent.exchange.reports import MAX_NAMED_ENGINES, Asked, DecisionReport
from hpi_agent.pipelines.effective import ModelUse
from hpi_agent.select.decision import Decision, Outcome
from hpi_agent.store.directory import Store
from hpi_core.api.v1alpha1.engine import MAX_CANDIDATES, MAX_VERIFIED_DRIVERS, Artifact, CandidateStatus
from hpi_core.errors import Bug
from hpi_core.names import ENV_RESOLUTIONS

Format = Literal["Paddle", "ONNX", "OM"]

MAX_NAME: Final = 40
MAX_REASON: Final = 160
MAX_SECONDS: Final = 604_800
PARTS_PER_MILLION: Final = 1e6
MAX_PARTS: Final = 2**53


def asked_of(resolution: Resolution) -> Asked:
    """Return what has to be decided, as the agent of the node compares it with HPIEngines."""
    build, use = resolution.build, resolution.use
    written = {
        "key": resolution.key,
        "modelName": resolution.model.name,
        # As the manifest says it, where it does: the operator knows no other.
        "modelDigest": use.digest or resolution.model.digest,
        "modelFormat": _format_of(use),
        "request": dict(use.settings),
        "fallback": build.fallback,
        "driverMatch": build.driver_match,
        "mode": build.mode,
        "accuracy": build.accuracy.model_dump(mode="json", by_alias=True, exclude_none=True),
        "deviceMemoryBytes": build.device_memory_bytes,
        "engines": [name for name in os.environ.get(ENV_RESOLUTIONS, "").split(",") if name][:MAX_NAMED_ENGINES],
    }
    return Asked.model_validate(written)


def report_of(decision: Decision, store: Store, token: int) -> DecisionReport:
    """Return what was decided, in bounds.

    Args:
        decision: One that chose something.
        store: Where the chosen engine lies.
        token: The right to build.

    Raises:
        Bug: Nothing was chosen.
    """
    chosen = decision.chosen
    if chosen is None:
        raise Bug("a decision that chose nothing is reported as a failure")
    first = sorted(decision.outcomes, key=lambda outcome: outcome is not chosen)
    # Each name once, and the chosen one whatever their number.
    named = {outcome.candidate.name[:MAX_NAME]: outcome for outcome in reversed(first)}
    kept = [outcome for outcome in first if named[outcome.candidate.name[:MAX_NAME]] is outcome][:MAX_CANDIDATES]
    artifact = _artifact(chosen, store)
    written = {
        "token": token,
        "candidates": [_candidate(outcome) for outcome in kept],
        "chosen": chosen.candidate.name[:MAX_NAME],
        "quality": "Measured" if decision.provisional is None else "Provisional",
        "reference": "" if decision.gate is None else decision.gate.reference[:MAX_REASON],
        "artifact": artifact,
        "buildSeconds": min(MAX_SECONDS, round(decision.build_seconds)),
        # The newest are the last.
        "verifiedOnDrivers": list(decision.verified_on_drivers[-MAX_VERIFIED_DRIVERS:]),
    }
    return DecisionReport.model_validate(written)


def _candidate(outcome: Outcome) -> CandidateStatus:
    written: dict[str, Any] = {
        "name": outcome.candidate.name[:MAX_NAME],
        "backend": outcome.candidate.backend,
        "precision": outcome.candidate.precision,
        "key": outcome.engine_key,
        "verdict": outcome.verdict,
        "reason": outcome.reason[:MAX_REASON],
    }
    if outcome.largest_difference is not None:
        parts = min(MAX_PARTS, round(outcome.largest_difference * PARTS_PER_MILLION))
        written["largestDifferencePartsPerMillion"] = parts
    if outcome.timing is not None:
        written |= {
            "p50Microseconds": outcome.timing.p50_microseconds,
            "p99Microseconds": outcome.timing.p99_microseconds,
            "memoryBytes": outcome.timing.memory_bytes,
            "deviceMemoryBytes": outcome.timing.device_memory_bytes,
        }
    return CandidateStatus.model_validate(written)


def _artifact(chosen: Outcome, store: Store) -> Artifact | None:
    if chosen.engine_key is None or not chosen.candidate.has_built_form:
        return None
    entry = store.open("engines", chosen.engine_key)
    if entry is None:
        return None
    with entry:
        seal = entry.files.get(BUILT_FILE)
    return None if seal is None else Artifact(key=chosen.engine_key, digest=seal.digest, bytes=seal.size_bytes)


def _format_of(use: ModelUse) -> Format:
    """Return the format that the digest of a manifest is of, by the rule of the operator."""
    if use.format != "Auto":
        return use.format
    suffix = use.source.partition("?")[0].rpartition(".")[2].lower()
    return "ONNX" if suffix == "onnx" else "OM" if suffix == "om" else "Paddle"
