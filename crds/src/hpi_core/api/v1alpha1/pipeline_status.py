"""What has become of a pipeline: what was asked and what was obtained, in counts that do not grow with the cluster."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import Atomic, ListMap, ListSet
from hpi_core.api.v1alpha1.condition import Conditions, Generation
from hpi_core.api.v1alpha1.scalars import (
    MODULE_NAME,
    MODULE_PATH,
    REVISION,
    Backend,
    Count,
    LabelName,
    Microseconds,
    ObjectName,
    Sentence,
    Timestamp,
    Word,
)

PATH_OR_MODULE: Final = f"{MODULE_PATH}|{MODULE_NAME}"

MAX_MODELS: Final = 32
MAX_EXAMPLES: Final = 5

RevisionName = Annotated[str, Field(pattern=REVISION, max_length=16)]


class ClassCount(ApiModel):
    """Replicas on one class of hardware."""

    class_: Word = Field(alias="class")
    """The class, as in the placement."""

    replicas: Count
    """Replicas that are wanted there."""

    ready_replicas: Count
    """Replicas that serve there."""


class ActiveCount(ApiModel):
    """Replicas by how their engines came to be."""

    measured: Count = 0
    """Pods on engines that were chosen by measurement."""

    provisional: Count = 0
    """Pods on engines that were measured under load of others."""

    fallback: Count = 0
    """Pods on another engine than the first choice."""

    building: Count = 0
    """Pods on the engine that loads first, while better ones are built."""


class ModelStatus(ApiModel):
    """What one model of the pipeline was asked to run on, and what it runs on."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """PaddleX's name of the model; one that is used twice is loaded once."""

    path: Annotated[str, Field(pattern=PATH_OR_MODULE, max_length=128)] | None = None
    """Where it stands in the pipeline. Absent: where PaddleX's own YAML has it."""

    wanted_backend: Backend | None = None
    """The backend that was asked for. Absent: the best."""

    backend: Backend | None = None
    """The backend that most replicas serve on."""

    precision: Word | None = None
    """Precision of its arithmetic."""

    p50_microseconds: Microseconds | None = None
    """Median time of one inference, as measured. Unit: microseconds."""

    engine: LabelName | None = None
    """The HPIEngine with the rest."""

    reason: Annotated[str, Field(max_length=128)] = ""
    """Why this backend."""


class EngineCount(ApiModel):
    """Engines that the pipeline wants."""

    wanted: Count = 0
    """Engines that are wanted."""

    ready: Count = 0
    """Engines that are decided and there."""

    building: Count = 0
    """Engines that are being built."""

    failed: Count = 0
    """Engines that were given up, with the reason in the HPIEngine."""


class CanaryStatus(ApiModel):
    """Where a canary stands."""

    step: Annotated[int, Field(ge=0, le=16)]
    """Number of the step, the first is 1; 0: not begun."""

    weight_percent: Annotated[int, Field(ge=0, le=100)]
    """Share that the new revision has. Unit: percent."""

    since: Timestamp
    """When the step began."""


class Failure(ApiModel):
    """The last failure of a revision."""

    reason: Word
    """One word for programs."""

    message: Annotated[str, Field(max_length=1_024)] = ""
    """What happened, with the end of the container's log."""

    revision: RevisionName
    """The revision that failed."""

    pod: ObjectName | None = None
    """Name of the pod."""

    container: LabelName | None = None
    """Name of the container."""

    exit_code: Annotated[int, Field(ge=-255, le=255)] | None = None
    """Exit code of the container."""

    time: Timestamp
    """When it happened."""


class RevisionStatus(ApiModel):
    """One revision of the pipeline."""

    name: RevisionName
    """Digits of the digest of what the pods of the revision are made of."""

    number: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Number of the revision, counted from 1."""

    state: Word
    """State of the revision, such as `Active`, `Progressing`, `Failed`, `Retired`."""

    created_at: Timestamp
    """When it was first wanted."""


class PipelineStatus(ApiModel):
    """What has become of the pipeline."""

    observed_generation: Generation | None = None
    """Generation of the spec that this is about."""

    conditions: Conditions = ()
    """Observations; `Ready` sums them up."""

    replicas: Count = 0
    """Pods of all revisions."""

    ready_replicas: Count = 0
    """Pods that serve: a real inference passed on the engine that is active."""

    wanted_replicas: Count = 0
    """Pods that are wanted."""

    selector: Annotated[str, Field(max_length=256)] = ""
    """Label selector of the pods, for autoscalers."""

    url: Annotated[str, Field(max_length=512)] = ""
    """Where the pipeline answers."""

    pipeline: Annotated[str, Field(max_length=128)] = ""
    """Name of the pipeline, whether it was named, given as YAML or is one module."""

    backend: Annotated[str, Field(max_length=128)] = ""
    """Backends in use, in words: `openvino, onnxruntime`."""

    hardware: Annotated[str, Field(max_length=128)] = ""
    """Hardware in use, in words: `2 CPU, 1 NVIDIA`."""

    revision: RevisionName | None = None
    """The revision that has the traffic."""

    wanted_revision: RevisionName | None = None
    """The revision that the spec asks for."""

    canary: CanaryStatus | None = None
    """Where a canary stands. Absent: there is none."""

    classes: Annotated[tuple[ClassCount, ...], Field(strict=False, max_length=8), ListMap(("class",))] = ()
    """Replicas by class of hardware."""

    engine_active: ActiveCount = Field(default_factory=ActiveCount)
    """Replicas by how their engines came to be."""

    models: Annotated[tuple[ModelStatus, ...], Field(strict=False, max_length=MAX_MODELS), ListMap(("name",))] = ()
    """What each model was asked to run on, and what it runs on."""

    engines: EngineCount = Field(default_factory=EngineCount)
    """Engines that the pipeline wants."""

    runtime: ObjectName | None = None
    """The HPIRuntime that was chosen."""

    last_failure: Failure | None = None
    """The last failure of a revision. Absent: none since the pipeline was made."""

    revisions: Annotated[tuple[RevisionStatus, ...], Field(strict=False, max_length=10), ListMap(("name",))] = ()
    """The newest revisions."""

    example_nodes: Annotated[tuple[ObjectName, ...], Field(strict=False, max_length=MAX_EXAMPLES), ListSet()] = ()
    """Up to five of the nodes that serve."""

    notes: Annotated[tuple[Sentence, ...], Field(strict=False, max_length=8), Atomic()] = ()
    """What was asked and could not be honoured as asked, one sentence each."""
