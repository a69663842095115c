"""The kind HPINode: what one node offers and has, and what is wanted of it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel, Metadata
from hpi_core.api.rules import ListMap, ListSet, Rule
from hpi_core.api.v1alpha1.condition import Conditions, Generation
from hpi_core.api.v1alpha1.hardware import Architecture, ProductName
from hpi_core.api.v1alpha1.pipeline_status import ActiveCount, RevisionName
from hpi_core.api.v1alpha1.scalars import (
    MODEL_NAME,
    UID,
    VARIANT,
    Backend,
    Bytes,
    Chip,
    ComputeCapability,
    Count,
    Digest,
    LabelName,
    Microseconds,
    ObjectName,
    Sentence,
    Timestamp,
    Version,
    Word,
)

MAX_RUNTIMES: Final = 8
MAX_ENGINES: Final = 64
MAX_WORKLOADS: Final = 64
MAX_DEVICE_GROUPS: Final = 8
MAX_ENGINES_OF_ALL_WORKLOADS: Final = 128
MAX_MODELS_OF_A_WORKLOAD: Final = 16
MAX_MODELS_OF_ALL_WORKLOADS: Final = 64
MAX_BACKENDS_OF_A_WORKLOAD: Final = 4
"""As many as compute on the processors and one vendor's devices."""


class WantedRuntime(ApiModel):
    """A runtime that the node shall have."""

    name: ObjectName
    """Name of the HPIRuntime."""

    lock_digest: Digest
    """Digest of the list of its wheels."""

    delivery: Literal["Image", "Store"] = "Image"
    """How it comes to the node."""

    variant: Annotated[str, Field(pattern=VARIANT, max_length=40)] | None = None
    """Name of the plugin variant, where the node's agent has to install it. Absent for delivery Image."""


class WantedEngine(ApiModel):
    """An engine that the node's cache shall have."""

    namespace: LabelName
    """Namespace of the HPIEngine."""

    name: LabelName
    """Name of the HPIEngine."""

    priority: int = Field(default=0, ge=-1_000, le=1_000)
    """Engines of a higher priority are fetched first and collected last."""


class NodeSpec(ApiModel):
    """What is wanted of the node; written by the operator."""

    node_uid: Annotated[str, Field(pattern=UID, max_length=36)]
    """UID of the Node: names come back, UIDs do not."""

    pool: ObjectName | None = None
    """The HPINodePool that has the node. Absent: none."""

    runtimes: Annotated[
        tuple[WantedRuntime, ...], Field(strict=False, max_length=MAX_RUNTIMES), ListMap(("name",))
    ] = ()
    """Runtimes that it shall have."""

    engines: Annotated[
        tuple[WantedEngine, ...], Field(strict=False, max_length=MAX_ENGINES), ListMap(("namespace", "name"))
    ] = ()
    """Engines that its cache shall have."""

    cache_quota_bytes: Bytes | None = None
    """Most that its cache may hold. Absent: the agent's own setting. Unit: bytes."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.nodeUid == oldSelf.nodeUid",
            "nodeUid must not change: another node is another HPINode",
        ),
    )


class Processors(ApiModel):
    """The processors of the node."""

    architecture: Architecture | None = None
    """Instruction set architecture. Absent: one that no engine exists for."""

    model: Annotated[str, Field(max_length=128)] = ""
    """Their name, as they say themselves."""

    isa_level: Annotated[str, Field(max_length=16)] = ""
    """`x86-64-v1` to `x86-64-v4`; on aarch64 the widest vector extension."""

    isa_flags: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=24)], ...], Field(strict=False, max_length=32), ListSet()
    ] = ()
    """Features that engines make use of."""

    cores: Annotated[int, Field(ge=0, le=65_536)] = 0
    """Physical cores."""

    numa_nodes: Annotated[int, Field(ge=0, le=1_024)] = 0
    """Memory nodes (NUMA)."""


class Devices(ApiModel):
    """Accelerators of one sort."""

    name: Annotated[str, Field(min_length=1, max_length=160)]
    """What tells the sort apart: product and slice."""

    vendor: Word
    """`NVIDIA` or `Ascend`."""

    product: ProductName | None = None
    """The vendor's name, without what sharing adds to it."""

    count: Count
    """How many there are of the sort."""

    compute_capability: ComputeCapability | None = None
    """NVIDIA's compute capability."""

    chip: Chip | None = None
    """Ascend's SoC version."""

    memory_bytes: Bytes | None = None
    """Memory of one device. Unit: bytes."""

    slice: Annotated[str, Field(max_length=40)] | None = None
    """MIG profile or vNPU template. Absent: whole devices."""


class Driver(ApiModel):
    """One vendor's driver on the node."""

    vendor: Word
    """`NVIDIA` or `Ascend`."""

    version: Version | None = None
    """Version of the kernel driver. Absent: it is not loaded."""

    library_version: Version | None = None
    """Version of the library beside it. Absent: there is none. It must be the kernel driver's."""

    toolkit: Version | None = None
    """Newest CUDA that it serves, or the installed CANN."""


class Hardware(ApiModel):
    """What the node offers."""

    processors: Processors = Field(default_factory=Processors)
    """Processors of the node."""

    memory_bytes: Bytes | None = None
    """Main memory. Unit: bytes."""

    devices: Annotated[tuple[Devices, ...], Field(strict=False, max_length=MAX_DEVICE_GROUPS), ListMap(("name",))] = ()
    """Accelerators by sort."""

    drivers: Annotated[tuple[Driver, ...], Field(strict=False, max_length=4), ListMap(("vendor",))] = ()
    """Drivers by vendor."""

    notes: Annotated[tuple[Sentence, ...], Field(strict=False, max_length=8), ListSet()] = ()
    """What could not be read or is broken, one sentence each."""


class SelfTestResult(ApiModel):
    """How the last self-test of a runtime ended."""

    state: Word
    """`Passed`, `Failed` or `Running`."""

    message: Sentence = ""
    """What failed, for people."""

    time: Timestamp | None = None
    """When it ended."""


class NodeRuntime(ApiModel):
    """A runtime on the node."""

    name: ObjectName
    """Name of the HPIRuntime."""

    lock_digest: Digest
    """Digest of the list of its wheels, as it is there."""

    state: Word
    """Such as `Pulling`, `Installing`, `Installed`, `Usable` or `Failed`."""

    message: Sentence = ""
    """How far its installation is, or why it failed; for delivery Store."""

    self_test: SelfTestResult | None = None
    """How its last self-test ended. Absent: none yet."""

    backends: Annotated[tuple[Backend, ...], Field(strict=False, max_length=8), ListSet()] = ()
    """Backends that its self-test has seen work."""


BackendInUse = Annotated[str, Field(pattern=VARIANT, max_length=16)]


class ServedModel(ApiModel):
    """A model, and what it is served on."""

    name: Annotated[str, Field(pattern=MODEL_NAME, max_length=128)]
    """PaddleX's name of the model."""

    backend: BackendInUse
    """Backend that it is served on."""

    precision: Word
    """Precision of the arithmetic."""

    state: Word
    """How its engine came to be: `Measured`, `Provisional`, `Fallback` or `Building`."""

    p50_microseconds: Microseconds | None = None
    """Median time of one inference when the engine was chosen. Absent: it was not measured. Unit: microseconds."""

    p99_microseconds: Microseconds | None = None
    """The 99th percentile of the same. Unit: microseconds."""


class ModelInUse(ServedModel):
    """A model that pods serve on one backend; of pods that differ the slowest and the least sure counts."""

    pods: Count
    """Pods that serve it there."""


class Workload(ApiModel):
    """The serving pods of one revision of a pipeline on the node."""

    namespace: LabelName
    """Namespace of the pipeline."""

    pipeline: LabelName
    """Name of the pipeline."""

    revision: RevisionName
    """Name of the revision."""

    engine_active: ActiveCount = Field(default_factory=ActiveCount)
    """Its pods by how their engines came to be."""

    engines: Annotated[tuple[LabelName, ...], Field(strict=False, max_length=32), ListSet()] = ()
    """HPIEngines that its pods use, in the same namespace."""

    backends: Annotated[
        tuple[BackendInUse, ...], Field(strict=False, max_length=MAX_BACKENDS_OF_A_WORKLOAD), ListSet()
    ] = ()
    """Backends that its pods serve on, whether there is an HPIEngine or not."""

    models: Annotated[
        tuple[ModelInUse, ...],
        Field(strict=False, max_length=MAX_MODELS_OF_A_WORKLOAD),
        ListMap(("name", "backend")),
    ] = ()
    """Models that its pods serve, whether there is an HPIEngine or not."""

    message: Annotated[str, Field(max_length=160)] = ""
    """Why pods are not on measured engines."""


class NodeEngine(ApiModel):
    """A wanted engine on the node."""

    namespace: LabelName
    """Namespace of the HPIEngine."""

    name: LabelName
    """Name of the HPIEngine."""

    state: Word
    """Such as `Cached`, `Fetching`, `Building` or `Absent`."""


class CacheUse(ApiModel):
    """How full the node's cache is."""

    quota_bytes: Bytes = 0
    """Most that it may hold. Unit: bytes."""

    used_bytes: Bytes = 0
    """What it holds. Unit: bytes."""

    entries: Count = 0
    """Engines, models and plugins in it."""


class UpgradeState(ApiModel):
    """Where the node stands in an upgrade."""

    state: Word
    """Such as `Idle`, `Queued`, `SelfTested` or `Failed`."""

    reason: Sentence = ""
    """What it waits for, or what failed."""

    since: Timestamp
    """Since when it is in that state."""


class NodeStatus(ApiModel):
    """What the node offers and has; written by its agent when something has changed."""

    observed_generation: Generation | None = None
    """Generation of the spec that this is about."""

    conditions: Conditions = ()
    """Observations."""

    agent_version: Version | None = None
    """Version of the agent."""

    hardware: Hardware = Field(default_factory=Hardware)
    """What the node offers."""

    runtimes: Annotated[tuple[NodeRuntime, ...], Field(strict=False, max_length=MAX_RUNTIMES), ListMap(("name",))] = ()
    """Runtimes on the node."""

    workloads: Annotated[
        tuple[Workload, ...],
        Field(strict=False, max_length=MAX_WORKLOADS),
        ListMap(("namespace", "pipeline", "revision")),
    ] = ()
    """Serving pods by pipeline and revision."""

    workloads_omitted: Count = 0
    """Pairs of pipeline and revision that found no place in `workloads`."""

    engines: Annotated[
        tuple[NodeEngine, ...], Field(strict=False, max_length=MAX_ENGINES), ListMap(("namespace", "name"))
    ] = ()
    """Wanted engines on the node."""

    cache: CacheUse = Field(default_factory=CacheUse)
    """How full its cache is."""

    upgrade: UpgradeState | None = None
    """Where it stands in an upgrade. Absent: in none."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.workloads)"
            " || self.workloads.map(one, has(one.engines) ? one.engines.size() : 0).sum()"
            f" <= {MAX_ENGINES_OF_ALL_WORKLOADS}",
            f"workloads must not name more than {MAX_ENGINES_OF_ALL_WORKLOADS} engines together",
            lambda self: sum(len(one.engines) for one in self.workloads) <= MAX_ENGINES_OF_ALL_WORKLOADS,
        ),
        Rule(
            "!has(self.workloads)"
            " || self.workloads.map(one, has(one.models) ? one.models.size() : 0).sum()"
            f" <= {MAX_MODELS_OF_ALL_WORKLOADS}",
            f"workloads must not name more than {MAX_MODELS_OF_ALL_WORKLOADS} models together",
            lambda self: sum(len(one.models) for one in self.workloads) <= MAX_MODELS_OF_ALL_WORKLOADS,
        ),
    )


class HPINode(ApiModel):
    """What one node offers and has, and what is wanted of it."""

    api_version: Literal["hpi.paddlex.io/v1alpha1"]
    """Always `hpi.paddlex.io/v1alpha1`."""

    kind: Literal["HPINode"]
    """Always `HPINode`."""

    metadata: Metadata
    """Name of the Node."""

    spec: NodeSpec
    """What is wanted of the node."""

    status: NodeStatus | None = None
    """What the node offers and has."""
