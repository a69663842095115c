"""HPIEngine.status as the agent of a pod that builds states it, and which HPIEngine a pod speaks of; pure.

All agents are one field manager, and what is stated replaces what was: every form here begins with what is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hpi_agent.exchange.reports import Asked, DecisionReport, FailureReport, to_json
from hpi_agent.node.conditions import ready
from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.engine import MAX_VERIFIED_DRIVERS, EngineStatus

Document = dict[str, Any]

PROVISIONAL: Final = "Provisional"
MAX_ATTEMPTS: Final = 1_000

SAME: Final = (
    "modelName",
    "modelDigest",
    "modelFormat",
    "request",
    "fallback",
    "driverMatch",
    "mode",
    "accuracy",
    "deviceMemoryBytes",
)
"""Fields of an HPIEngine's spec that a pod knows as well."""


def is_asked(engine: Mapping[str, Any], asked: Asked) -> bool:
    """Return whether an HPIEngine is the resolution that a pod asks for, as far as the pod knows it."""
    told = to_json(asked)
    defaults: Document = {"request": {}}
    spec = engine.get("spec") or {}
    return all(told.get(name, defaults.get(name)) == spec.get(name, defaults.get(name)) for name in SAME)


def is_final(engine: Mapping[str, Any]) -> bool:
    """Return whether a choice is on record that does not change any more."""
    status = engine.get("status") or {}
    return bool(status.get("chosen")) and status.get("quality") != PROVISIONAL


def building(engine: Mapping[str, Any], node: str, now: str) -> Document:
    """Return the status of a resolution whose build begins; a provisional choice stays in use meanwhile."""
    before = _own(engine)
    attempts = min(MAX_ATTEMPTS, int(before.get("attempts", 0)) + 1)
    chosen = "True" if before.get("chosen") else "False"
    told = ready(engine, chosen, "Building", f"{node} builds it", now)
    return _statement(engine, {**before, "conditions": [told], "attempts": attempts, "holder": node})


def decided(engine: Mapping[str, Any], node: str, report: DecisionReport, now: str) -> Document:
    """Return the status of a resolution that is decided."""
    before, told = _own(engine), to_json(report)
    del told["token"]
    if report.quality == PROVISIONAL:
        quality = f"{report.chosen}, measured while others kept the cores busy; it is decided again when it is quiet"
    else:
        quality = f"{report.chosen} is the fastest of those that answer right"
    drivers = [*report.verified_on_drivers, *before.get("verifiedOnDrivers", ())]
    status = {
        **told,
        "conditions": [ready(engine, "True", "Decided", quality, now)],
        "verifiedOnDrivers": list(dict.fromkeys(drivers))[:MAX_VERIFIED_DRIVERS],
        "attempts": max(1, int(before.get("attempts", 0))),
        "holder": node,
    }
    return _statement(engine, status)


def failed(engine: Mapping[str, Any], node: str, report: FailureReport, now: str) -> Document:
    """Return the status of a resolution whose build failed; a choice that was there stays."""
    before = _own(engine)
    failure = {"reason": report.reason, "message": report.message, "time": now}
    chosen = "True" if before.get("chosen") else "False"
    told = ready(engine, chosen, "EngineFailed", report.message or report.reason, now)
    return _statement(engine, {**before, "conditions": [told], "lastFailure": failure, "holder": node})


def _own(engine: Mapping[str, Any]) -> Document:
    """Return what agents have said of an HPIEngine; the conditions are left out."""
    return {key: value for key, value in (engine.get("status") or {}).items() if key != "conditions"}


def _statement(engine: Mapping[str, Any], status: Document) -> Document:
    generation = engine["metadata"].get("generation", 1)
    checked = EngineStatus.model_validate({"observedGeneration": generation, **status})
    metadata = {key: engine["metadata"][key] for key in ("name", "namespace", "uid")}
    return {
        "apiVersion": API_VERSION,
        "kind": "HPIEngine",
        "metadata": metadata,
        "status": checked.model_dump(mode="json", by_alias=True, exclude_none=True),
    }
