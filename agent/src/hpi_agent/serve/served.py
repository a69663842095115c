"""What one worker serves: the pipeline of a manifest, its engines, and the proof that they answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hpi_agent.configuration import configs_directory
from hpi_agent.discovery import detect
from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.registry import load_engine
from hpi_agent.engines.shelf import Shelf, Shelved
from hpi_agent.models.assemble import AssembledModel, assemble
from hpi_agent.pipelines import paddlex
from hpi_agent.pipelines.canary import prove_engine, prove_ocr
from hpi_agent.pipelines.effective import Effective, effective
from hpi_agent.pipelines.ocr import OcrTask
from hpi_agent.profile import hardware_class
from hpi_agent.store.directory import Store
from hpi_core.api.manifest import read_pipeline
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused


@dataclass(frozen=True)
class Served:
    """One pipeline, or one model alone, ready to answer."""

    plan: Effective
    shelf: Shelf
    task: OcrTask | None
    models: tuple[AssembledModel, ...]
    seconds: dict[str, float]
    """How long each step of the start took."""

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
            "models": [{**describe_engine(item), "digest": digests[item.model_name]} for item in self.shelf],
            "startSeconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }


def describe_engine(item: Shelved) -> dict[str, Any]:
    """Return what was asked of and obtained from one engine, as JSON."""
    obtained = item.engine.obtained
    return {
        "name": item.model_name,
        "asked": {"backend": item.wish.backend, "threads": item.wish.threads},
        "backend": obtained.backend,
        "version": obtained.version,
        "precision": obtained.precision,
        "threads": obtained.threads,
        "device": obtained.device,
        "reason": item.reason,
        "rejected": [{"backend": rejected.backend, "reason": rejected.reason} for rejected in item.rejected],
        "loadSeconds": round(item.load_seconds, 3),
        "inputs": [asdict(spec) for spec in item.engine.inputs],
        "outputs": [asdict(spec) for spec in item.engine.outputs],
    }


def open_pipeline(manifest_text: str, where: str, store_root: Path, threads: int) -> Served:
    """Load everything that a manifest asks for and prove that it answers.

    Args:
        manifest_text: The manifest.
        where: What to call it in messages.
        store_root: The store.
        threads: Whole cores left to this process.

    Raises:
        HpiError: Something cannot be had or does not answer; the text says what.
    """
    clock = _Clock()
    manifest = read_pipeline(manifest_text, where)
    plan = effective(manifest, paddlex.registry_config)
    store = Store(store_root)
    models = assemble_models(plan, store)
    clock.lap("models")
    shelf = _shelf(manifest, store, models, threads)
    paddlex.activate(shelf, store.root / "paddlex")
    clock.lap("paddlexImport")
    task = _load(manifest, plan, shelf, models)
    clock.lap("engines")
    if task is not None:
        prove_ocr(task)
    for item in shelf:
        prove_engine(item)
    clock.lap("canary")
    return Served(plan, shelf, task, models, clock.seconds)


def assemble_models(plan: Effective, store: Store) -> tuple[AssembledModel, ...]:
    """Return the model directories of a plan, in the order of its models.

    Raises:
        HpiError: A source cannot deliver, or a digest differs.
    """
    from hpi_agent.engines.onnxruntime import read_metadata

    folder = configs_directory() / "models"
    return tuple(
        assemble(use.name, use.source, use.digest, store=store, models=folder, read_metadata=read_metadata)
        for use in plan.models
    )


def config_with(plan: Effective, models: tuple[AssembledModel, ...]) -> dict[str, Any]:
    """Return PaddleX's configuration of a plan with the directories of its models in it."""
    return plan.with_directories(
        {use.path: str(model.directory) for use, model in zip(plan.models, models, strict=True)}
    )


def _shelf(manifest: HPIPipeline, store: Store, models: tuple[AssembledModel, ...], threads: int) -> Shelf:
    build = manifest.spec.build
    digests = {model.directory: model.digest for model in models}
    cache: Callable[[EngineRequest], Path | None] = partial(_compile_cache, store, digests)
    return Shelf(
        default_threads=threads,
        fallback_allowed=build.fallback == "Allowed",
        load=load_engine,
        cache_directory=cache if build.policy == "OnDemand" else lambda _: None,
    )


def _compile_cache(store: Store, digests: dict[Path, str], request: EngineRequest) -> Path | None:
    if request.backend != "openvino":
        return None
    from importlib.metadata import version

    hardware = hardware_class(detect(Path("/")))
    key = {
        "model": digests[request.model_path.parent],
        "backend": request.backend,
        "version": version("openvino"),
        "precision": "float32",
        "threads": request.threads,
        "architecture": hardware.architecture,
        "vendor": hardware.vendor,
        # Compiled kernels are made for exactly these instructions.
        "isaFlags": list(hardware.isa_flags),
    }
    return store.compile_cache(digest_of_json(key))


def _load(manifest: HPIPipeline, plan: Effective, shelf: Shelf, models: tuple[AssembledModel, ...]) -> OcrTask | None:
    if plan.pipeline_name is None:
        [model] = models
        paddlex.create_model(model.name, model.directory, device=plan.device, hpi_config=plan.hpi_config)
        return None
    pipeline = paddlex.create_pipeline(config_with(plan, models), device=plan.device, hpi_config=plan.hpi_config)
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
