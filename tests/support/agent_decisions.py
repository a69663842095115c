"""What a node agent says in HPIEngine.status; checked against the contract's own models."""

from __future__ import annotations

from typing import Any, Final

from hpi_core import reasons
from hpi_core.api.v1alpha1.engine import EngineSpec, EngineStatus, engine_name
from hpi_core.digest import digest_of_json
from support.manifests import Document

CANDIDATES: Final = {
    "cpu": (("openvino", "openvino"), ("onnxruntime", "onnxruntime"), ("paddle", "paddle")),
    "gpu": (("tensorrt", "tensorrt"), ("onnxruntime cuda", "onnxruntime"), ("paddle", "paddle")),
    "npu": (("om", "om"), ("paddle", "paddle")),
}
"""Names and backends by device, the fastest first."""
DONE: Final = ("Chosen", "Slower")


def is_decided(engine: Document) -> bool:
    """Return whether a choice is on record."""
    return "chosen" in engine.get("status", {})


def building(engine: Document, node: str, now: str) -> Document:
    """Return the status of a resolution whose build begins."""
    attempts = engine.get("status", {}).get("attempts", 0) + 1
    told = _ready(engine, "False", "Building", f"{node} builds it", now)
    return _status(engine, {"conditions": [told], "attempts": attempts, "holder": node})


def decided(engine: Document, node: str, driver: str | None, seconds: float, now: str) -> Document:
    """Return the status of a resolution that is decided: every candidate was tried, the first is the fastest.

    Raises:
        pydantic.ValidationError: The HPIEngine's spec is not what the contract allows.
    """
    spec = EngineSpec.model_validate(engine["spec"])
    assert engine["metadata"]["name"] == engine_name(spec), f"HPIEngine {engine['metadata']['name']} has another's name"
    candidates = [
        {
            "name": name,
            "backend": backend,
            "precision": "float32",
            "key": _digest(engine, name),
            "p50Microseconds": 5_000 * (number + 1),
            "p99Microseconds": 7_000 * (number + 1),
            "memoryBytes": 300_000_000,
            "largestDifferencePartsPerMillion": 12,
            "verdict": DONE[min(number, 1)],
        }
        for number, (name, backend) in enumerate(CANDIDATES[spec.hardware_class.device])
    ]
    chosen = str(candidates[0]["name"])
    key = _digest(engine, chosen)
    status: dict[str, Any] = {
        "conditions": [_ready(engine, "True", "Decided", f"{chosen} is the fastest", now)],
        "candidates": candidates,
        "chosen": chosen,
        "quality": "Measured",
        "reference": "Paddle without oneDNN",
        "artifact": {"key": key, "digest": _digest(engine, "bytes"), "bytes": 20_000_000},
        "attempts": max(1, engine.get("status", {}).get("attempts", 0)),
        "buildSeconds": round(seconds),
        "verifiedOnDrivers": [] if driver is None else [driver],
        "holder": node,
    }
    return _status(engine, status)


def failed(engine: Document, node: str, message: str, now: str) -> Document:
    """Return the status of a resolution whose build failed."""
    told = {
        "conditions": [_ready(engine, "False", "EngineFailed", message, now)],
        "attempts": max(1, engine.get("status", {}).get("attempts", 0)),
        "holder": node,
        "lastFailure": {"reason": "BuildFailed", "message": message[:1024], "time": now},
    }
    return _status(engine, told)


def _status(engine: Document, told: Document) -> Document:
    status = {"observedGeneration": engine["metadata"].get("generation", 1), **told}
    return EngineStatus.model_validate(status).model_dump(mode="json", by_alias=True, exclude_none=True)


def _ready(engine: Document, status: str, reason: str, message: str, now: str) -> Document:
    before = engine.get("status", {}).get("conditions", ())
    same = [one for one in before if one["type"] == reasons.READY and one["status"] == status]
    return {
        "type": reasons.READY,
        "status": status,
        "reason": reasons.reason(reason),
        "message": message[:512],
        "observedGeneration": engine["metadata"].get("generation", 1),
        "lastTransitionTime": same[0]["lastTransitionTime"] if same else now,
    }


def _digest(engine: Document, *words: str) -> str:
    return digest_of_json([engine["metadata"]["name"], *words])
