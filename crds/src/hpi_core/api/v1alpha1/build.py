"""How engines are prepared, and what proves that they give the right answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.v1alpha1.scalars import MAX_BYTES


class Accuracy(ApiModel):
    """When the answers of a candidate count as the reference's."""

    level: Literal["Auto", "Numeric", "Task"] = "Auto"
    """Numeric: every output tensor within the tolerance. Task: the model family's own answers (texts, classes, boxes)
    agree, and reduced precisions are tried. Auto: Numeric for float32 and TF32, where float32 up to ten times beyond
    its tolerance passes when every answer agrees; a reduced precision that the settings or the knowledge table name
    passes by Task."""

    tolerance_parts_per_million: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Largest allowed max |answer - reference| / max |reference| of an output tensor. Absent: that of the precision,
    100 for float32, 2,000 for TF32. Unit: parts per million."""

    minimum_samples: int = Field(default=20, ge=1, le=10_000)
    """Texts, boxes or classes that the reference must answer before Task can pass anything."""


class Build(ApiModel):
    """How engines are prepared."""

    policy: Literal["OnDemand", "Prebuild", "Never"] = "OnDemand"
    """OnDemand: what the store does not have is built and measured beside the serving process, which changes over
    between two requests. Prebuild: the server builds nothing and takes what `hpi-agent build` has published, before its
    start or later. Never: engines of the store are neither looked for nor built; the knowledge table decides."""

    driver_match: Literal["Exact", "Verified", "Major"] = "Exact"
    """For which drivers an engine counts that was built under another. Exact: for none, because engines break between
    patch levels. Verified: for one of the same major version under which it was loaded and gave the right answers.
    Major: for every one of the same major version."""

    mode: Literal["Latency", "Throughput"] = "Latency"
    """What is measured. Latency: one inference with all cores. Throughput: one single-threaded stream per core."""

    accuracy: Accuracy = Field(default_factory=Accuracy)
    """How a candidate proves that it gives the reference's answers."""

    fallback: Literal["Allowed", "Forbidden"] = "Allowed"
    """Whether another backend may serve a model that the first choice cannot load. A fall-back is always shown."""

    shapes: Literal["Declared", "Observed"] = "Declared"
    """Which input shapes engines are built and measured for. Declared: those of the model's profile. Observed: those
    that requests have had, within the profile."""

    device_memory_bytes: Annotated[int, Field(ge=2**20, le=MAX_BYTES)] | None = None
    """Most memory of an accelerator that building one engine, and running it, may take. Absent: what is free. Unit:
    bytes."""

    timeout_seconds: int = Field(default=300, ge=1, le=86_400)
    """How long loading all engines may take before the start counts as failed, and how long building and measuring one
    model may take. Unit: seconds."""
