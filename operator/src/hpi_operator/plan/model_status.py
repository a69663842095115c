"""What each model of a pipeline was asked to run on, and what it runs on."""

from __future__ import annotations

from typing import Any, Final

from hpi_core.api.v1alpha1.engine import CandidateStatus, HPIEngine
from hpi_core.api.v1alpha1.pipeline_status import MAX_MODELS
from hpi_operator.plan.conditions import shortened
from hpi_operator.plan.effective_request import hpi_settings
from hpi_operator.plan.observed import ObservedPipeline

MAX_NAME: Final = 64
MAX_PATH: Final = 128
MAX_REASON: Final = 128


def model_statuses(observed: ObservedPipeline) -> list[dict[str, Any]]:
    """Return one entry for each model whose engines are in use, by name."""
    found: dict[str, dict[str, Any]] = {}
    for engine in observed.engines:
        if engine.metadata.name in observed.engines_in_use:
            name = shortened(engine.spec.model_name, MAX_NAME)
            # Of a model that runs on several classes of hardware, one that has been decided tells more.
            if name not in found or ("backend" not in found[name] and _chosen(engine) is not None):
                found[name] = _status(observed, engine, name)
    return [found[name] for name in sorted(found)][:MAX_MODELS]


def engine_counts(observed: ObservedPipeline, wanted: frozenset[str]) -> dict[str, int]:
    """Return how many of the HPIEngines that a pipeline uses or wants are decided, being built, given up."""
    names = wanted | set(observed.engines_in_use)
    states = [_state(one) for one in observed.engines if one.metadata.name in names]
    return {
        "wanted": len(names),
        "ready": states.count("ready"),
        "building": states.count("building"),
        "failed": states.count("failed"),
    }


def _status(observed: ObservedPipeline, engine: HPIEngine, name: str) -> dict[str, Any]:
    chosen = _chosen(engine)
    path, wish = _asked(observed, engine.spec.model_name)
    written = {
        "name": name,
        "path": path,
        "wantedBackend": wish,
        "backend": None if chosen is None else chosen.backend,
        "precision": None if chosen is None else chosen.precision,
        "p50Microseconds": None if chosen is None else chosen.p50_microseconds,
        "engine": engine.metadata.name,
        "reason": "not decided yet" if chosen is None else shortened(chosen.reason, MAX_REASON),
    }
    return {key: value for key, value in written.items() if value is not None}


def _asked(observed: ObservedPipeline, model: str) -> tuple[str | None, str | None]:
    """Return where a model stands in the pipeline, and the backend that was asked for it."""
    spec = observed.pipeline.spec
    general = (hpi_settings(spec.inference) or {}).get("backend")
    if spec.module is not None:
        return spec.module.name, general
    module = next((one for one in spec.modules if one.model is not None and one.model.name == model), None)
    if module is None:
        return None, general
    own = None if module.inference is None else (hpi_settings(module.inference) or {}).get("backend")
    # Part of a path would name another place.
    return module.path if len(module.path) <= MAX_PATH else None, own or general


def _chosen(engine: HPIEngine) -> CandidateStatus | None:
    if engine.status is None or engine.status.chosen is None:
        return None
    return next((one for one in engine.status.candidates if one.name == engine.status.chosen), None)


def _state(engine: HPIEngine) -> str:
    status = engine.status
    if status is None:
        return "building"
    if status.chosen is not None:
        return "ready"
    return "failed" if status.last_failure is not None else "building"
