"""The two key documents: everything that shapes an engine, and everything that shapes the choice of one; pure.

An engine is named by the digest of its document, a decision by the digest of its resolution. A leaf that is missing
here is a stale hit waiting to happen; a leaf too many builds the same engine twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hpi_agent.profile import HardwareClass
from hpi_agent.select.answers import Settings
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.device_key import WHOLE, Granularity, device_document
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.knowledge import Row
from hpi_agent.select.wish import Wish
from hpi_core.formats import ModelFormat

ENGINE_FORMAT: Final = 1
RESOLUTION_FORMAT: Final = 2
"""Raised when a document means something else than before, or candidates are made, judged or chosen otherwise."""

Document = dict[str, Any]
Profile = Mapping[str, Sequence[Sequence[int]]]


@dataclass(frozen=True)
class ModelKey:
    """What names a model."""

    name: str
    digest: str
    format: ModelFormat
    conversion: Mapping[str, Any] | None = None
    """What shapes the ONNX file that is made of it; None where none is made."""
    onnx_digest: str | None = None
    """Digest of an ONNX file that lies beside Paddle's files."""
    om_digest: str | None = None
    """Digest of an offline model of Ascend, where one can be a candidate."""


@dataclass(frozen=True)
class Installation:
    """What is installed."""

    runtimes: Mapping[str, str | None]
    """Version of each backend."""
    plugin: Mapping[str, str | None]
    """`variant` and `lockDigest` of the environment."""
    paddle_lock: str | None
    """Digest of the list that the environment with Paddle was made of."""
    device_runtimes: Mapping[str, str | None] = field(default_factory=dict)
    """Version of each backend that computes on the device that was asked for; empty for the processors."""


def engine_document(
    model: ModelKey,
    candidate: Candidate,
    profile: Profile,
    hardware: HardwareClass,
    installation: Installation,
    granularity: Granularity = WHOLE,
) -> Document:
    """Return everything that shapes one engine.

    What is not in it: the cache of timings that a compiler may start from. It holds measurements of kernels, which
    decide how long a build takes; which of two equally right kernels is taken differs from build to build without it,
    too.

    Args:
        model: The very file that it is made of.
        candidate: Backend, precision, device and settings.
        profile: The shapes it is made for, by input.
        hardware: The class of hardware.
        installation: What is installed.
        granularity: How far the facts of an accelerator count; the processors have none.
    """
    paddle = candidate.backend == "paddle"
    runtimes = installation.runtimes if candidate.device == "cpu" else installation.device_runtimes
    return {
        "formatVersion": ENGINE_FORMAT,
        "model": {"digest": model.digest, "format": model.format},
        # Paddle runs its own files, whatever they can be converted into.
        "conversion": None if paddle or model.conversion is None else dict(model.conversion),
        "backend": {
            "name": candidate.backend,
            "version": runtimes.get(candidate.backend),
            **_compiler(candidate, runtimes),
        },
        "precision": candidate.precision,
        "threads": candidate.threads,
        "options": dict(candidate.options),
        "shapes": _shapes(profile),
        "device": device_document(candidate, hardware, granularity),
        "plugin": {
            "variant": installation.plugin.get("variant"),
            # Paddle on another device is that of this program's own environment.
            "lockDigest": installation.paddle_lock
            if paddle and candidate.device == "cpu"
            else installation.plugin.get("lockDigest"),
        },
    }


def _compiler(candidate: Candidate, runtimes: Mapping[str, str | None]) -> Document:
    """Return the version of TensorRT where it compiles parts of a graph for another runtime."""
    return {"tensorrt": runtimes.get("tensorrt")} if candidate.is_compiled and candidate.backend != "tensorrt" else {}


def resolution_document(
    model: ModelKey,
    wish: Wish,
    accuracy: Accuracy,
    profile: Profile,
    samples: Mapping[str, str],
    row: Row,
    hardware: HardwareClass,
    installation: Installation,
    *,
    fallback_allowed: bool,
    settings: Settings | None = None,
    granularity: Granularity = WHOLE,
) -> Document:
    """Return everything that shapes the choice for one model.

    Args:
        model: The files that the answers come from.
        wish: What the user asks of the engine.
        accuracy: What is asked of a candidate's answers.
        profile: The declared shapes, by input.
        samples: `origin` and `digest` of the samples.
        row: What is known of the model.
        hardware: The class of hardware.
        installation: What is installed.
        fallback_allowed: Whether other backends than the wished one may serve.
        settings: The post-processing by which answers are read; None: they are not read.
        granularity: How far the facts of an accelerator count; the processors have none.
    """
    document: Document = {
        "formatVersion": RESOLUTION_FORMAT,
        "model": {
            "name": model.name,
            "digest": model.digest,
            "format": model.format,
            "onnxDigest": model.onnx_digest,
        },
        "conversion": None if model.conversion is None else dict(model.conversion),
        "request": {**wish.to_json(), "fallbackAllowed": fallback_allowed},
        "accuracy": {
            "level": accuracy.level,
            "tolerance": accuracy.tolerance,
            "minimumSamples": accuracy.minimum_samples,
        },
        "shapes": _shapes(profile),
        "samples": {"origin": samples["origin"], "digest": samples["digest"]},
        "answers": None
        if settings is None
        else {"threshold": settings.threshold, "boxThreshold": settings.box_threshold},
        "knowledge": {
            "order": list(row.order),
            "known": row.known,
            "failsOn": list(row.fails_on),
            "defects": _defects(row),
        },
        "hardware": hardware.to_json(),
        "runtimes": dict(installation.runtimes),
        "plugin": {**installation.plugin, "paddleLockDigest": installation.paddle_lock},
    }
    if hardware.accelerator is None:
        return document
    document["model"]["omDigest"] = model.om_digest
    document["knowledge"] |= {"borrowed": list(row.borrowed), "failsWith": list(row.fails_with)}
    document["hardware"]["accelerator"] = granularity.accelerator_to_json(hardware.accelerator)
    document["deviceRuntimes"] = dict(installation.device_runtimes)
    document["deviceMemoryBytes"] = granularity.device_memory_bytes
    return document


def _defects(row: Row) -> list[str]:
    return [f"{defect.pseudo_backend} {version}" for defect in row.defects for version in defect.versions]


def _shapes(profile: Profile) -> Document:
    return {name: [list(shape) for shape in shapes] for name, shapes in sorted(profile.items())}


@dataclass(frozen=True)
class FieldDifference:
    """One leaf in which two documents differ; None stands for a leaf that one of them lacks."""

    path: str
    ours: Any
    theirs: Any


def leaves(document: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of every leaf; a list is one leaf."""
    for key, value in document.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and value:
            yield from leaves(value, here)
        else:
            yield here, value


def difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[FieldDifference, ...]:
    """Return the leaves in which two documents differ, in the order of their paths."""
    left, right = dict(leaves(ours)), dict(leaves(theirs))
    return tuple(
        FieldDifference(path, left.get(path), right.get(path))
        for path in sorted(left.keys() | right.keys())
        if path not in left or path not in right or _spelled(left[path]) != _spelled(right[path])
    )


def _spelled(value: Any) -> str:
    # To Python true is 1, and 1 is 1.0; to a digest they are not.
    return json.dumps(value, sort_keys=True)


def nearest(
    ours: Mapping[str, Any], others: Iterable[Mapping[str, Any]]
) -> tuple[Mapping[str, Any], tuple[FieldDifference, ...]] | None:
    """Return the most similar other document and where it differs, or None when there is no other.

    One of the same model is nearer than any of another model: that is the entry a person expected to hit.
    """
    compared = [(other, difference(ours, other)) for other in others]
    if not compared:
        return None

    def distance(found: tuple[Mapping[str, Any], tuple[FieldDifference, ...]]) -> tuple[bool, int]:
        other, differing = found
        return (not _is_same_model(ours.get("model"), other.get("model")), len(differing))

    return min(compared, key=distance)


def _is_same_model(ours: Any, theirs: Any) -> bool:
    if not (isinstance(ours, Mapping) and isinstance(theirs, Mapping)):
        return False
    # A model whose weights were replaced keeps its name, and its old entry is the one that is missed.
    return ours.get("digest") == theirs.get("digest") or (
        ours.get("name") is not None and ours.get("name") == theirs.get("name")
    )
