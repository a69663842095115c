"""What one worker serves: the pipeline of a manifest, its engines, and the proof that they answer."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from hpi_agent.building.choice import EngineChooser
from hpi_agent.building.model_directories import Say, assemble_models, tell_nobody
from hpi_agent.building.prefetch import Prefetch
from hpi_agent.building.reported import asked_of
from hpi_agent.building.resolution import resolve_plan
from hpi_agent.building.site import read_site
from hpi_agent.engines.shelf import Choice, Chooser, Shelf, Shelved
from hpi_agent.exchange.address import AgentAddress
from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.reports import to_json
from hpi_agent.models.assemble import AssembledModel
from hpi_agent.models.official import official_model
from hpi_agent.models.sources.settings import SourceSettings
from hpi_agent.pipelines import paddlex
from hpi_agent.pipelines.canary import prove_engine, prove_ocr
from hpi_agent.pipelines.effective import Effective, effective
from hpi_agent.pipelines.ocr import OcrTask
from hpi_agent.select.wish import Wish
from hpi_agent.store.directory import Store
from hpi_core.api.manifest import read_pipeline
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.errors import Refused
from hpi_core.names import ENV_DEVICE

PADDLEX_FOLDERS: Final = ("func_ret", "locks", "temp")
"""What PaddleX 3.7.2 makes in its cache when it is imported."""


@dataclass(frozen=True)
class Served:
    """One pipeline, or one model alone, ready to answer."""

    plan: Effective
    shelf: Shelf
    task: OcrTask | None
    models: tuple[AssembledModel, ...]
    store: Store
    follows_store: bool
    """Whether engines that are published later are taken up."""
    stamps: dict[str, tuple[int, int, int] | None]
    """What the store's decisions looked like when the models were loaded, by model name."""
    seconds: dict[str, float]
    """How long each step of the start took."""
    cautious: bool = False
    """Whether engines of the store are left alone, because workers with them have died again and again."""
    scratch: Path | None = None
    """A folder of this process alone, where the store cannot be written."""
    asked: tuple[dict[str, Any], ...] | None = None
    """What has to be decided for each model, as the agent of the node is told; None: there is no agent."""

    def clear(self) -> None:
        """Remove what belongs to this process alone."""
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def ocr(self) -> OcrTask:
        """Return the OCR task.

        Raises:
            Refused: A single module is served, which has no `/ocr`.
        """
        if self.task is None:
            raise Refused("this server serves one model alone; use POST /v2/models/NAME/infer")
        return self.task

    def describe(self) -> dict[str, Any]:
        """Return what the server has to know, as JSON."""
        digests = {model.name: model.digest for model in self.models}
        return {
            "pipeline": self.plan.pipeline_name,
            "device": str(self.plan.device),
            "models": [
                {**describe_engine(item, str(self.plan.device)), "digest": digests[item.model_name]}
                for item in self.shelf
            ],
            "startSeconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
            "cautious": self.cautious,
            **({} if self.asked is None else {"resolutions": list(self.asked)}),
        }


def describe_engine(item: Shelved, device: str) -> dict[str, Any]:
    """Return what was asked of and obtained from one engine, as JSON.

    Args:
        item: The loaded model.
        device: What was asked to compute, such as `gpu:0`.
    """
    obtained = item.engine.obtained
    return {
        "name": item.model_name,
        "asked": {"backend": item.wish.backend, "threads": item.wish.threads, "device": device},
        "backend": obtained.backend,
        "version": obtained.version,
        "precision": obtained.precision,
        "threads": obtained.threads,
        "device": obtained.device,
        "engine": item.name,
        "state": item.state,
        "reason": item.reason,
        "engineKey": item.engine_key,
        "decisionKey": item.decision_key,
        "fromStore": obtained.from_store,
        "rejected": [asdict(rejected) for rejected in item.rejected],
        "loadSeconds": round(item.load_seconds, 3),
        "inputs": [asdict(spec) for spec in item.engine.inputs],
        "outputs": [asdict(spec) for spec in item.engine.outputs],
    }


@dataclass(frozen=True)
class Start:
    """What a worker is told when it starts."""

    manifest_text: str
    where: str
    """What to call the manifest in messages."""
    store_root: Path
    threads: int
    """Whole cores left to this process."""
    samples: Path | None = None
    """The user's folder of samples, by which decisions are named."""
    cautious: bool = False
    """Whether engines of the store are left alone, because workers with them have died again and again."""
    sources: SourceSettings | None = None
    """How sources of models are had; None: as the environment says."""
    agent: AgentAddress | None = None
    """The agent of the node; None: there is none."""


def open_pipeline(start: Start, say: Say = tell_nobody) -> Served:
    """Load everything that a manifest asks for and prove that it answers.

    Args:
        start: What to load, and with what.
        say: Receives `fetching` and `fetched` of each model that has to be fetched, and `assembled` after the last one.

    Raises:
        HpiError: Something cannot be had or does not answer; the text says what.
    """
    clock = _Clock()
    manifest = read_pipeline(start.manifest_text, start.where)
    plan = effective(manifest, paddlex.registry_config, official_model, os.environ.get(ENV_DEVICE))
    store = Store(start.store_root)
    # Before a model is fetched or a runtime loaded: a device that is not there ends the start at once, and which device
    # a runtime sees is decided when it is loaded.
    site = read_site(store, start.threads, start.samples, plan.device)
    os.environ.update(site.access.environment)
    models = assemble_models(plan, store, start.sources, say)
    say({"event": "assembled"})
    clock.lap("models")
    uses_store = manifest.spec.build.policy != "Never"
    cautious = uses_store and start.cautious
    follows_store = uses_store and not cautious
    prefetch, asked = None, None
    if start.agent is not None:
        resolutions = resolve_plan(plan, models, manifest.spec.build, site)
        asked = tuple(to_json(asked_of(one)) for one in resolutions)
        if follows_store:
            prefetch = Prefetch(AgentClient(start.agent), resolutions)
            prefetch.start()
        clock.lap("resolutions")
    chooser = EngineChooser(site, manifest.spec.build, plan, models, looks_in_store=follows_store)
    shelf = Shelf(standing_in(chooser.choose) if cautious else chooser.choose)
    scratch = _make_scratch(store)
    paddlex.activate(shelf, scratch or paddlex_home(store))
    clock.lap("paddlexImport")
    if prefetch is not None:
        prefetch.settle()
        clock.lap("nodeCache")
    task = _load(manifest, plan, shelf, models)
    clock.lap("engines")
    if task is not None:
        prove_ocr(task)
    for item in shelf:
        prove_engine(item)
    clock.lap("canary")
    seconds = clock.seconds
    return Served(plan, shelf, task, models, store, follows_store, chooser.stamps, seconds, cautious, scratch, asked)


def paddlex_home(store: Store) -> Path:
    """Return the folder of a store for what PaddleX writes when it is imported."""
    return store.root / "paddlex"


def _make_scratch(store: Store) -> Path | None:
    """Return a folder of this process alone for what PaddleX writes, or None: that of the store can be used.

    A store that is mounted read-only, in an image or from a volume, serves as well.
    """
    try:
        for folder in PADDLEX_FOLDERS:
            (paddlex_home(store) / folder).mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="hpi-paddlex-"))
    return None


def standing_in(choose: Chooser) -> Chooser:
    """Return a chooser whose choices say that they stand in for engines of the store that end their workers."""
    reason = "stands in: workers with the engines of the store died again and again"

    def chosen(model_name: str, directory: Path, wish: Wish) -> Choice:
        choice = choose(model_name, directory, wish)
        attempts = tuple(replace(attempt, reason=reason) for attempt in choice.attempts)
        return replace(choice, attempts=attempts, state="Fallback")

    return chosen


def config_with(plan: Effective, models: tuple[AssembledModel, ...]) -> dict[str, Any]:
    """Return PaddleX's configuration of a plan with the directories of its models in it."""
    return plan.with_directories(
        {use.path: str(model.directory) for use, model in zip(plan.models, models, strict=True)}
    )


def _load(manifest: HPIPipeline, plan: Effective, shelf: Shelf, models: tuple[AssembledModel, ...]) -> OcrTask | None:
    if plan.pipeline_name is None:
        [model] = models
        paddlex.create_model(model.name, model.directory, device=str(plan.device), hpi_config=plan.hpi_config)
        return None
    pipeline = paddlex.create_pipeline(config_with(plan, models), device=str(plan.device), hpi_config=plan.hpi_config)
    return OcrTask(pipeline, manifest.spec.serving.limits)


class _Clock:
    """Seconds per step of the start."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        # The interpreter and our own imports count too: from the start of the process, as the kernel knows it.
        self.seconds: dict[str, float] = {"interpreter": _process_age_seconds()}

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = now - self._last
        self._last = now


def _process_age_seconds() -> float:
    """Return how long this process has run, from /proc (start time in clock ticks since boot, field 22 of proc(5))."""
    try:
        ticks = int(Path("/proc/self/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0
