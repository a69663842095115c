"""What would serve each model of a manifest here, what was rejected and why, and what the store has for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hpi_agent.building.choice import choice_of, find_decision
from hpi_agent.building.model_directories import assemble_models
from hpi_agent.building.pipeline import read_plan
from hpi_agent.building.resolution import Resolution, resolve_plan
from hpi_agent.building.site import Site, read_site
from hpi_agent.discovery import cpu_allowance
from hpi_agent.models.sources.settings import SourceSettings
from hpi_agent.models.sources.url import shown_address
from hpi_agent.select.decision import Decision
from hpi_agent.select.keys import FieldDifference, nearest
from hpi_agent.store.directory import Store

MAX_DIFFERENCES: Final = 20
"""Most fields told of the nearest entry: one of another model differs in nearly all."""


def explain_pipeline(
    text: str, where: str, store_root: Path, samples: Path | None, sources: SourceSettings | None = None
) -> dict[str, Any]:
    """Return what is known of every model of a manifest, as JSON; nothing is built, loaded or measured.

    What has to be fetched is fetched: the key of a choice begins with the bytes of the model.

    Raises:
        HpiError: The manifest is not sound, or a model cannot be had.
    """
    _, plan = read_plan(text, where)
    site = read_site(Store(store_root), cpu_allowance().whole_cores, samples, plan.device)
    return explain_on_site(text, where, site, sources)


def explain_on_site(text: str, where: str, site: Site, sources: SourceSettings | None = None) -> dict[str, Any]:
    """Return what is known of every model of a manifest with what a site brings; see `explain_pipeline`."""
    manifest, plan = read_plan(text, where)
    models = assemble_models(plan, site.store, sources)
    allowed = manifest.spec.build.fallback == "Allowed"
    resolutions = resolve_plan(plan, models, manifest.spec.build, site)
    return {
        "pipeline": plan.name,
        "store": str(site.store.root),
        "hardwareClass": site.hardware.digest,
        "device": {"asked": str(site.device), "found": _found(site)},
        "models": [_explain(resolution, fallback_allowed=allowed) for resolution in resolutions],
    }


def _found(site: Site) -> str:
    """Return what computes, in words: the processors, or an accelerator with its driver."""
    accelerator = site.hardware.accelerator
    if accelerator is None:
        return f"{site.hardware.vendor or 'unknown'} {site.hardware.architecture or 'processors'}"
    part = "" if accelerator.slice is None else f" {accelerator.slice}"
    return f"{accelerator.product or accelerator.vendor}{part}, driver {accelerator.driver or 'unknown'}"


def _explain(resolution: Resolution, *, fallback_allowed: bool) -> dict[str, Any]:
    decision = find_decision(resolution)
    choice = choice_of(resolution, decision, fallback_allowed=fallback_allowed)
    first = choice.attempts[0] if choice.attempts else None
    return {
        "name": resolution.model.name,
        "source": shown_address(resolution.use.source),
        "digest": resolution.model.digest,
        "serves": None if first is None else first.name,
        "reason": "no candidate can serve here" if first is None else first.reason,
        "state": choice.state,
        "notes": list(resolution.notes),
        "decision": _decision(resolution, decision),
        "engine": _engine(resolution, decision),
        "candidates": _candidates(resolution, decision),
        "gate": None if decision is None else decision.to_json()["gate"],
    }


def _decision(resolution: Resolution, decision: Decision | None) -> dict[str, Any]:
    found: dict[str, Any] = {"key": resolution.key, "hit": decision is not None}
    if decision is not None:
        return {
            **found,
            "provisional": decision.provisional,
            "decidedAt": decision.decided_at,
            "buildSeconds": round(decision.build_seconds, 1),
            "verifiedOnDrivers": list(decision.verified_on_drivers),
            "verified": resolution.is_verified(decision),
        }
    others = [written.get("resolution", {}) for written in resolution.site.store.decisions()]
    near = nearest(resolution.document, [other for other in others if other])
    return {**found, "nearest": None if near is None else _differences(near[1])}


def _engine(resolution: Resolution, decision: Decision | None) -> dict[str, Any] | None:
    """Return whether the chosen engine is in the store, and where it differs from the nearest that is."""
    chosen = None if decision is None else decision.chosen
    if chosen is None or chosen.engine_key is None:
        return None
    entries = [entry for entry in resolution.site.store.entries() if entry.kind == "engines"]
    key = chosen.engine_key.removeprefix("sha256:")
    if any(entry.key.removeprefix("sha256:") == key and entry.damage is None for entry in entries):
        return {"key": chosen.engine_key, "hit": True}
    documents = [entry.about["key"] for entry in entries if isinstance(entry.about.get("key"), dict)]
    near = nearest(resolution.engine_document(chosen.candidate), documents)
    return {"key": chosen.engine_key, "hit": False, "nearest": None if near is None else _differences(near[1])}


def _differences(found: tuple[FieldDifference, ...]) -> dict[str, Any]:
    told = [{"field": one.path, "here": one.ours, "there": one.theirs} for one in found[:MAX_DIFFERENCES]]
    return {"differences": told, "more": max(0, len(found) - MAX_DIFFERENCES)}


def _candidates(resolution: Resolution, decision: Decision | None) -> list[dict[str, Any]]:
    if decision is not None:
        outcomes: list[dict[str, Any]] = decision.to_json()["outcomes"]
        for outcome, known in zip(outcomes, decision.outcomes, strict=True):
            outcome["name"] = known.candidate.name
        return outcomes
    untried = [
        {"name": candidate.name, "candidate": candidate.to_json(), "verdict": "Untried", "reason": "not measured yet"}
        for candidate in resolution.candidates.survivors
    ]
    excluded = [
        {
            "name": outcome.candidate.name,
            "candidate": outcome.candidate.to_json(),
            "verdict": outcome.verdict,
            "reason": outcome.reason,
        }
        for outcome in resolution.candidates.excluded
    ]
    return untried + excluded
