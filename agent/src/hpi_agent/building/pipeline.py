"""Build every model of one HPIPipeline, one after the other, each at most once however many processes ask for it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from hpi_agent.building.builder import Builder
from hpi_agent.building.choice import find_decision
from hpi_agent.building.measurement import USUAL_PACE, Pace
from hpi_agent.building.model_directories import assemble_models
from hpi_agent.building.progress import ModelProgress, Say
from hpi_agent.building.resolution import Resolution, resolve_plan
from hpi_agent.building.site import Site, read_site
from hpi_agent.building.trial import Bounds
from hpi_agent.building.turn import announce, turn
from hpi_agent.discovery import cpu_allowance, detect
from hpi_agent.engines.base import Device
from hpi_agent.exchange.address import AgentAddress
from hpi_agent.exchange.client import AgentClient
from hpi_agent.models.official import official_model
from hpi_agent.models.sources.settings import SourceSettings
from hpi_agent.pipelines import paddlex
from hpi_agent.pipelines.effective import Effective, effective
from hpi_agent.select.decision import Decision
from hpi_agent.store.directory import Store, default_store_max_bytes
from hpi_agent.store.entry import Damaged
from hpi_core.api.manifest import read_pipeline
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.errors import EngineFailed, Retry
from hpi_core.names import ENV_DEVICE

MIN_CANDIDATE_MEMORY_BYTES: Final = 2**30

STEP_SECONDS: Final = 60
COMPILING_STEP_SECONDS: Final = 900
"""On an accelerator, where compilers try hundreds of kernels for every shape of a model."""


@dataclass(frozen=True)
class BuildSettings:
    """How one build is run."""

    store: Path
    samples: Path | None
    again: bool = False
    """Whether what has been decided in quiet is decided again."""
    candidate_seconds: int | None = None
    """For one step of a candidate. None: `STEP_SECONDS`, on an accelerator `COMPILING_STEP_SECONDS`."""
    candidate_memory_bytes: int | None = None
    """None: half of the memory that this process may use."""
    pace: Pace = USUAL_PACE
    """How long one model is measured."""
    sources: SourceSettings | None = None
    """How sources of models are had; None: as the environment says."""
    agent: AgentAddress | None = None
    """The agent of the node, whose pods build each resolution once; None: there is none."""
    is_alone: bool = False
    """Whether no server stands beside the build that tells the agent later what it could not be told."""

    def bounds(self, device: Device) -> Bounds:
        """Return what one candidate may use where a device was asked for."""
        usual = STEP_SECONDS if device.kind == "cpu" else COMPILING_STEP_SECONDS
        return Bounds(self.candidate_seconds or usual, self.candidate_memory_bytes or _half_of_memory())


def read_plan(text: str, where: str) -> tuple[HPIPipeline, Effective]:
    """Return a checked manifest and what this machine makes of it.

    Raises:
        InvalidManifest: The manifest does not say what it must.
    """
    manifest = read_pipeline(text, where)
    return manifest, effective(manifest, paddlex.registry_config, official_model, os.environ.get(ENV_DEVICE))


def build_pipeline(text: str, where: str, settings: BuildSettings, say: Say) -> tuple[Decision, ...]:
    """Decide for every model of a manifest; what is decided already is kept.

    Args:
        text: The manifest.
        where: What to call it in messages.
        settings: How to build.
        say: Receives what happens.

    Raises:
        HpiError: A model cannot be had, or nothing could be judged.
    """
    store = Store(settings.store, default_store_max_bytes(os.environ))
    _, plan = read_plan(text, where)
    site = read_site(store, cpu_allowance().whole_cores, settings.samples, plan.device)
    return build_on_site(text, where, site, settings, say)


def build_on_site(text: str, where: str, site: Site, settings: BuildSettings, say: Say) -> tuple[Decision, ...]:
    """Decide for every model of a manifest with what a site brings; see `build_pipeline`.

    Args:
        text: The manifest.
        where: What to call it in messages.
        site: Store, samples, hardware and runtimes; those of the settings are not read again.
        settings: How to build.
        say: Receives what happens.

    Raises:
        EngineFailed: The reference of a model fails, so that nothing could be judged; the other models are decided.
        HpiError: A model cannot be had.
    """
    began = time.monotonic()
    manifest, plan = read_plan(text, where)
    models = assemble_models(plan, site.store, settings.sources, say)
    say({"event": "started", "models": [use.name for use in plan.models], "store": str(site.store.root)})
    seconds = manifest.spec.build.timeout_seconds
    resolutions = resolve_plan(plan, models, manifest.spec.build, site)
    decisions = _decide_all(resolutions, settings, seconds, say)
    rows = [_row(resolution, decision) for resolution, decision in zip(resolutions, decisions, strict=True)]
    provisional = [
        {"model": resolution.model.name, "why": decision.provisional}
        for resolution, decision in zip(resolutions, decisions, strict=True)
        if decision.provisional is not None
    ]
    say(
        {
            "event": "finished",
            "models": rows,
            "provisional": provisional,
            "seconds": round(time.monotonic() - began, 1),
            "store": str(site.store.root),
        }
    )
    return tuple(decisions)


def _decide_all(resolutions: tuple[Resolution, ...], settings: BuildSettings, seconds: int, say: Say) -> list[Decision]:
    """Decide for one model after the other; one whose reference fails leaves the others alone."""
    decisions, failures = [], []
    for resolution in resolutions:
        try:
            decisions.append(_build_model(resolution, settings, seconds, say))
        except EngineFailed as error:
            ModelProgress(resolution.model.name, say).step("failed", str(error))
            failures.append(f"model {resolution.model.name!r} cannot be judged: {error}")
    if failures:
        raise EngineFailed("; ".join(failures))
    return decisions


def _build_model(resolution: Resolution, settings: BuildSettings, seconds: int, say: Say) -> Decision:
    store, key = resolution.site.store, resolution.key
    progress = ModelProgress(resolution.model.name, say)
    client = None if settings.agent is None else AgentClient(settings.agent)
    if not settings.again and (known := _final_decision(resolution)) is not None:
        announce(resolution, client, known, progress)
        return _said(resolution, known, say, hit=True)
    name = f"decision-{key.removeprefix('sha256:')}"
    if _is_held(store, name):
        progress.step("waiting")
    # Freed by the kernel when its holder dies, so a builder that was killed blocks nobody.
    with store.hold(name):
        if not settings.again and (known := _final_decision(resolution)) is not None:
            return _said(resolution, known, say, hit=True)
        final = partial(_final_decision, resolution)
        with turn(
            resolution, client, progress, seconds, final, again=settings.again, is_alone=settings.is_alone
        ) as mine:
            if mine.known is not None:
                announce(resolution, client, mine.known, progress)
                return _said(resolution, mine.known, say, hit=True)
            bounds = settings.bounds(resolution.site.device)
            resolution = resolution.with_files_made(bounds, progress)
            with _device_to_itself(resolution.site, progress):
                deadline = time.monotonic() + seconds
                builder = Builder(resolution, bounds, progress, deadline, settings.pace, mine.chosen_before)
                decision = builder.decide()
            store.write_decision(decision.key, decision.to_json())
            decision = mine.decided(decision)
    return _said(resolution, decision, say, hit=False)


@contextmanager
def _device_to_itself(site: Site, progress: ModelProgress) -> Iterator[None]:
    """Let no other build of this store use an accelerator meanwhile: two would spoil each other's times and memory.

    Builds on the processors take turns by the load that they see of each other.
    """
    if site.device.kind == "cpu":
        yield
        return
    name = f"device-{site.access.name}"
    if _is_held(site.store, name):
        progress.step("device", str(site.device))
    with site.store.hold(name):
        yield


def _final_decision(resolution: Resolution) -> Decision | None:
    """Return the decision of the store if it is final and holds here, and its engine is there and sound."""
    decision = find_decision(resolution)
    if decision is None or decision.provisional is not None or decision.chosen is None:
        return None
    if not resolution.is_verified(decision):
        return None
    key = decision.chosen.engine_key
    if key is None:
        return decision
    entry = resolution.site.store.open("engines", key)
    if entry is None:
        return None
    try:
        with entry:
            # Every byte: a server would find the damage only when it loads the engine, and nobody would build it again.
            entry.verify()
    except Damaged:
        return None
    return decision


def _is_held(store: Store, name: str) -> bool:
    try:
        with store.hold(name, wait=False):
            return False
    except Retry:
        return True


def _half_of_memory() -> int:
    available = detect(Path("/")).memory.available_bytes
    return MIN_CANDIDATE_MEMORY_BYTES if available is None else max(MIN_CANDIDATE_MEMORY_BYTES, available // 2)


def _said(resolution: Resolution, decision: Decision, say: Say, *, hit: bool) -> Decision:
    row = _row(resolution, decision)
    summary = f"{row['chosen'] or 'no engine serves'}: {row['reason']}" + (" (decided before)" if hit else "")
    say({"event": "decided", "hit": hit, "decisionKey": decision.key, "summary": summary, **row})
    return decision


def _row(resolution: Resolution, decision: Decision) -> dict[str, Any]:
    chosen = decision.chosen
    outcomes = decision.to_json()["outcomes"]
    written = next((outcome for outcome in outcomes if outcome["verdict"] == "Chosen"), None)
    failed = "; ".join(f"{one.candidate.name}: {one.reason}" for one in decision.outcomes)
    return {
        "model": resolution.model.name,
        "chosen": None if chosen is None else chosen.candidate.name,
        "precision": None if chosen is None else chosen.candidate.precision,
        "reason": failed if chosen is None else chosen.reason,
        "timing": None if written is None else written["timing"],
        "provisional": decision.provisional is not None,
    }
