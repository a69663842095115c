"""The kind HPIEngine: one resolution – which engine serves one model on one class of hardware, and where it is."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel, JsonObject, Metadata
from hpi_core.api.rules import Atomic, ListMap, ListSet, Opaque, Rule
from hpi_core.api.v1alpha1.condition import Conditions, Generation
from hpi_core.api.v1alpha1.hardware import HardwareClass
from hpi_core.api.v1alpha1.scalars import (
    MODEL_NAME,
    Backend,
    Bytes,
    Digest,
    LabelName,
    Microseconds,
    ObjectName,
    Timestamp,
    Version,
    Word,
)
from hpi_core.digest import digest_of_json

MAX_CANDIDATES: Final = 24
MAX_VERIFIED_DRIVERS: Final = 8
MAX_INPUTS: Final = 8
MAX_SHAPES: Final = 8
MAX_RANK: Final = 8
MAX_DIMENSION: Final = 1_000_000

NAME_DIGITS: Final = 40
"""Hexadecimal digits of the digest in an HPIEngine's name: 160 bits, so that two resolutions never meet."""

Shape = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MAX_DIMENSION)], ...], Field(strict=False, max_length=MAX_RANK), Atomic()
]


class Gate(ApiModel):
    """What is asked of a candidate's answers."""

    level: Literal["Auto", "Numeric", "Task"]
    """As in the pipeline's `build.accuracy`."""

    tolerance_parts_per_million: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """As in the pipeline's `build.accuracy`. Unit: parts per million."""

    minimum_samples: Annotated[int, Field(ge=1, le=10_000)]
    """As in the pipeline's `build.accuracy`."""


class RuntimeIdentity(ApiModel):
    """The plugin variant that the engine is made with."""

    name: ObjectName
    """Name of the HPIRuntime."""

    lock_digest: Digest
    """Digest of the list of its wheels."""


class InputShapes(ApiModel):
    """The shapes of one input that engines are built and measured for."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    """Name of the input."""

    shapes: Annotated[tuple[Shape, ...], Field(strict=False, min_length=1, max_length=MAX_SHAPES), Atomic()]
    """Shapes, smallest, usual and largest first where the profile has no other order."""


class EngineSpec(ApiModel):
    """Everything that shapes the choice. Its digest is the object's name, and it never changes."""

    model_name: Annotated[str, Field(pattern=MODEL_NAME, max_length=128)]
    """PaddleX's name of the model."""

    model_digest: Digest
    """Digest of the model's files."""

    model_format: Literal["Paddle", "ONNX", "OM"]
    """Format that the digest is of."""

    request: Annotated[JsonObject, Opaque()] = Field(default_factory=dict)
    """PaddleX's effective `hpi_config` of the model, after every inheritance."""

    fallback: Literal["Allowed", "Forbidden"] = "Allowed"
    """As in the pipeline's `build`."""

    runtime: RuntimeIdentity
    """The plugin variant that the engine is made with."""

    hardware_class: HardwareClass
    """The class of hardware that the engine is made for."""

    driver_match: Literal["Exact", "Verified", "Major"] = "Exact"
    """As in the pipeline's `build`."""

    mode: Literal["Latency", "Throughput"] = "Latency"
    """What is measured."""

    accuracy: Gate
    """What is asked of a candidate's answers."""

    shapes: Annotated[tuple[InputShapes, ...], Field(strict=False, max_length=MAX_INPUTS), ListMap(("name",))] = ()
    """Shapes by input. Empty: those that the model's own profile declares."""

    samples_digest: Digest | None = None
    """Digest of the user's samples. Absent: rendered ones."""

    tenant: Annotated[str, Field(min_length=1, max_length=63)]
    """Who may share the engine: the namespace, or `cluster` where the pool shares across tenants."""

    device_memory_bytes: Bytes | None = None
    """Most memory of the accelerator. Absent: what is free. Unit: bytes."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self == oldSelf", "spec must not change: another resolution is another HPIEngine"),
    )


class CandidateStatus(ApiModel):
    """One way to run the model, and what became of it."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    """How people call it, such as `openvino` or `paddle mkldnn`."""

    backend: Backend
    """Name of the backend."""

    precision: Word
    """Precision of the arithmetic."""

    key: Digest | None = None
    """Name of the built engine. Absent: nothing was built."""

    p50_microseconds: Microseconds | None = None
    """Median time of one inference over the mix of shapes. Unit: microseconds."""

    p99_microseconds: Microseconds | None = None
    """The 99th percentile of the same. Unit: microseconds."""

    memory_bytes: Bytes | None = None
    """Main memory that it took. Unit: bytes."""

    device_memory_bytes: Bytes | None = None
    """Memory of the accelerator that it took. Unit: bytes."""

    largest_difference_parts_per_million: Annotated[int, Field(ge=0, le=2**53)] | None = None
    """Largest max |answer - reference| / max |reference| over outputs and samples. Unit: parts per million."""

    verdict: Word
    """What became of it, such as `Chosen`, `Slower`, `OutOfTolerance`, `Failed`, `Excluded`."""

    reason: Annotated[str, Field(max_length=160)] = ""
    """Why, for people."""


class Artifact(ApiModel):
    """The built form of the chosen engine."""

    key: Digest
    """Digest of everything that shaped it."""

    digest: Digest
    """Digest of its bytes; the first complete one of a key wins."""

    bytes: Bytes
    """Size of the built form. Unit: bytes."""


class EngineFailure(ApiModel):
    """The last failure of a build."""

    reason: Word
    """One word for programs."""

    message: Annotated[str, Field(max_length=1_024)] = ""
    """What happened, for people."""

    time: Timestamp
    """When it happened."""


class EngineStatus(ApiModel):
    """What was decided; written by the node agent that holds the Lease of the same name. `Wanted` is the operator's."""

    observed_generation: Generation | None = None
    """Generation of the spec that this is about."""

    conditions: Conditions = ()
    """Observations; `Ready` says that a decision is there."""

    candidates: Annotated[
        tuple[CandidateStatus, ...], Field(strict=False, max_length=MAX_CANDIDATES), ListMap(("name",))
    ] = ()
    """All ways to run the model, in the order in which they were tried."""

    chosen: Annotated[str, Field(max_length=40)] | None = None
    """Name of the candidate that serves. Absent: not decided yet."""

    quality: Word | None = None
    """`Measured`, or `Provisional` where others kept the cores busy meanwhile: that one is never shared."""

    reference: Annotated[str, Field(max_length=160)] = ""
    """Who gave the answers that count, in words."""

    artifact: Artifact | None = None
    """The built form of the chosen engine. Absent: it loads from the model's own files."""

    attempts: Annotated[int, Field(ge=0, le=1_000)] = 0
    """Builds begun so far."""

    build_seconds: Annotated[int, Field(ge=0, le=604_800)] | None = None
    """How long the last complete build took. Unit: seconds."""

    verified_on_drivers: Annotated[
        tuple[Version, ...], Field(strict=False, max_length=MAX_VERIFIED_DRIVERS), ListSet()
    ] = ()
    """Drivers under which the engine was loaded and gave the right answers."""

    holder: ObjectName | None = None
    """Node whose agent builds, or built last."""

    last_used: Annotated[str, Field(max_length=10, json_schema_extra={"format": "date"})] | None = None
    """Day of the last use; written once a day at most."""

    last_failure: EngineFailure | None = None
    """The last failure of a build. Absent: none."""


class HPIEngine(ApiModel):
    """One resolution: which engine serves one model on one class of hardware."""

    api_version: Literal["hpi.paddlex.io/v1alpha1"]
    """Always `hpi.paddlex.io/v1alpha1`."""

    kind: Literal["HPIEngine"]
    """Always `HPIEngine`."""

    metadata: Metadata
    """Name, which is the digest of the spec, and namespace."""

    spec: EngineSpec
    """Everything that shapes the choice."""

    status: EngineStatus | None = None
    """What was decided."""


def engine_name(spec: EngineSpec) -> LabelName:
    """Return the name of the HPIEngine of a spec: `e-` and 40 digits of the digest of its canonical JSON.

    Absent fields count as absent, and defaults as written out, as the API server stores them.
    """
    written = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return f"e-{digest_of_json(written).partition(':')[2][:NAME_DIGITS]}"
