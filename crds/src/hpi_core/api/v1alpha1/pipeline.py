"""The kind HPIPipeline, as far as one machine uses it.

The kind is completed and frozen when the operator is built on it; until then fields may be added, never renamed. Fields
that only a cluster can honour are declared here without their inner structure, so that one file serves both worlds.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from hpi_core.api.base import ApiModel, Metadata
from hpi_core.digest import PATTERN as DIGEST_PATTERN

JsonObject = dict[str, Any]

MODULE_PATH: Final = r"^(SubPipelines\.[A-Za-z0-9_]+\.)*SubModules\.[A-Za-z0-9_]+$"
MODEL_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$"
MODULE_NAME: Final = r"^[a-z0-9_]{1,64}$"
DEVICE: Final = r"^[a-z_]+(:[0-9]+(,[0-9]+)*)?$"

CLUSTER_ONLY: Final = (
    "replicas",
    "autoscaling",
    "placement",
    "runtime",
    "cache",
    "rollout",
    "route",
    "availability",
    "podTemplate",
)
"""Fields of the spec that only a cluster can honour and that never change an answer."""


class HpiConfig(ApiModel):
    """Settings of the inference backend, the same five as PaddleX's `hpi_config`."""

    auto_config: bool | None = None
    """Whether the backend may be chosen for the user. False: `backend` is used exactly as written. Absent: true."""

    backend: Literal["onnxruntime", "openvino", "paddle"] | None = None
    """The backend to use. Absent: the fastest of those that give the reference's answers, as measured on the machine
    that serves; until it is measured, the first of the knowledge table that loads without a build."""

    backend_config: JsonObject | None = None
    """Settings of the backend with PaddleX's own keys: `cpu_num_threads` for every backend, `cpu_threads`, `run_mode`
    and `mkldnn_cache_capacity` for `paddle`, `precision` (fp32, bf16) for `openvino`."""

    # The generator of aliases would write autoPaddle2Onnx.
    auto_paddle2onnx: bool | None = Field(default=None, alias="autoPaddle2onnx")
    """Whether a model in Paddle's format may be converted to ONNX. Absent: true."""

    def to_paddlex(self) -> JsonObject:
        """Return the settings that were written, under PaddleX's snake_case keys."""
        return self.model_dump(by_alias=False, exclude_none=True)


class Inference(ApiModel):
    """How models are run. What is absent is inherited exactly as in PaddleX: the module's own value wins."""

    use_hpip: bool | None = None
    """Whether high-performance inference is used. Absent: what the pipeline's YAML says, else true."""

    hpi_config: HpiConfig | None = None
    """Settings of the inference backend."""

    engine: Literal["hpi"] | None = None
    """PaddleX's engine. Absent: chosen by `useHpip`."""

    device: Annotated[str, Field(pattern=DEVICE)] | None = None
    """PaddleX's device string, such as `cpu` or `gpu:0`. Absent: what the placement gives; on one machine, `cpu`."""


class ModelSource(ApiModel):
    """Which model, and where its files come from."""

    name: str = Field(pattern=MODEL_NAME)
    """PaddleX's name of the model, such as `PP-OCRv6_small_det`. It decides pre- and post-processing."""

    source: str | None = Field(default=None, max_length=2048)
    """Where the files come from: `package://PACKAGE/PATH` is one ONNX file inside an installed Python package,
    `file:///DIRECTORY` a model directory of this machine. Absent: the model's own hub."""

    digest: Annotated[str, Field(pattern=DIGEST_PATTERN.pattern)] | None = None
    """SHA-256 that the source must have, as `sha256:<64 hex digits>`: of the ONNX file, or for a model in Paddle's
    format the digest that `hpi-agent explain` shows. Absent: not checked against anything."""

    format: Literal["Auto", "Paddle", "ONNX"] = "Auto"
    """Which files of the source count. Auto: an ONNX file beside Paddle's is used when it gives the same answers, and
    Paddle's files are converted where there is none. Paddle: an ONNX file is ignored. ONNX: Paddle's files are."""


class Module(ApiModel):
    """Settings of one model of the pipeline."""

    path: str = Field(pattern=MODULE_PATH, max_length=512)
    """Where the model stands in the pipeline's YAML, such as `SubModules.TextDetection`."""

    model: ModelSource | None = None
    """The model to use there. Absent: the one that the pipeline's YAML names."""

    inference: Inference | None = None
    """How this model is run. Absent: as the pipeline says."""


class Config(ApiModel):
    """A whole PaddleX pipeline YAML; exactly one of its fields is set."""

    inline: JsonObject | None = None
    """The YAML itself, with PaddleX's keys."""

    config_map_key_ref: JsonObject | None = None
    """A key of a ConfigMap in the pipeline's namespace that holds the YAML."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Config:
        if (self.inline is None) == (self.config_map_key_ref is None):
            raise ValueError("exactly one of inline and configMapKeyRef must be set")
        return self


class Accuracy(ApiModel):
    """When the answers of a candidate count as the reference's."""

    level: Literal["Auto", "Numeric", "Task"] = "Auto"
    """Numeric: every output tensor within the tolerance. Task: the model family's own answers (texts, classes, boxes)
    agree, and reduced precisions are tried. Auto: Numeric for float32; a reduced precision that the settings name
    passes by Task."""

    tolerance_parts_per_million: int | None = Field(default=None, ge=1, le=1_000_000)
    """Largest allowed max |answer - reference| / max |reference| of an output tensor. Absent: that of the precision,
    100 for float32. Unit: parts per million."""

    minimum_samples: int = Field(default=20, ge=1, le=10_000)
    """Texts, boxes or classes that the reference must answer before Task can pass anything."""


class Build(ApiModel):
    """How engines are prepared."""

    policy: Literal["OnDemand", "Prebuild", "Never"] = "OnDemand"
    """OnDemand: what the store does not have is built and measured beside the serving process, which changes over
    between two requests. Prebuild: the server builds nothing and takes what `hpi-agent build` has published, before its
    start or later. Never: engines of the store are neither looked for nor built; the knowledge table decides."""

    accuracy: Accuracy = Field(default_factory=Accuracy)
    """How a candidate proves that it gives the reference's answers."""

    fallback: Literal["Allowed", "Forbidden"] = "Allowed"
    """Whether another backend may serve a model that the first choice cannot load. A fall-back is always shown."""

    timeout_seconds: int = Field(default=300, ge=1, le=86_400)
    """How long loading all engines may take before the start counts as failed, and how long building and measuring one
    model may take. Unit: seconds."""


class Limits(ApiModel):
    """Bounds on what one request may bring."""

    body_bytes: int = Field(default=64 * 2**20, ge=1_024, le=2**31 - 1)
    """Largest request body. Unit: bytes."""

    image_pixels: int = Field(default=178_956_970, ge=1, le=2**30)
    """Most pixels of one image or rendered page, width times height; PaddleX's own limit is the default."""

    image_side_pixels: int = Field(default=65_535, ge=1, le=2**20)
    """Longest side of one image. Unit: pixels."""

    pages: int = Field(default=10, ge=1, le=1_000)
    """Most pages of one document that are read, as PaddleX's `max_num_input_imgs`: a longer document is refused."""


class Queue(ApiModel):
    """The queue in front of the worker."""

    length: int = Field(default=64, ge=0, le=10_000)
    """Requests that may wait while one is in service; one more is answered 503 with Retry-After."""


class Timeouts(ApiModel):
    """How long things may take."""

    request_seconds: int = Field(default=60, ge=1, le=3_600)
    """From the arrival of a whole request to its answer; later it is answered 504. Unit: seconds."""

    drain_seconds: int = Field(default=30, ge=0, le=3_600)
    """How long a stopping server finishes what it has accepted. Unit: seconds."""


class Serving(ApiModel):
    """How requests are taken."""

    limits: Limits = Field(default_factory=Limits)
    """Bounds on what one request may bring."""

    queue: Queue = Field(default_factory=Queue)
    """The queue in front of the worker."""

    timeouts: Timeouts = Field(default_factory=Timeouts)
    """How long things may take."""


class SingleModule(ApiModel):
    """One model served alone."""

    name: str = Field(pattern=MODULE_NAME)
    """PaddleX's name of the module, such as `text_detection`."""

    model: ModelSource
    """The model to serve."""


class PipelineSpec(ApiModel):
    """What is wanted: exactly one of `pipeline`, `config` and `module`, and how it is served."""

    pipeline: str | None = Field(default=None, pattern=MODEL_NAME)
    """Name of a pipeline in PaddleX's registry, such as `OCR`."""

    config: Config | None = None
    """A whole PaddleX pipeline YAML."""

    module: SingleModule | None = None
    """One model alone."""

    modules: tuple[Module, ...] = Field(default=(), max_length=64, strict=False)
    """Settings of single models of the pipeline; each path appears once."""

    inference: Inference = Field(default_factory=Inference)
    """How every model is run, unless its module says otherwise."""

    build: Build = Field(default_factory=Build)
    """How engines are prepared."""

    serving: Serving = Field(default_factory=Serving)
    """How requests are taken."""

    replicas: int | None = Field(default=None, ge=0, le=10_000)
    """Pods that serve the pipeline. Absent: 1, or the autoscaler's. Honoured by a cluster."""

    autoscaling: JsonObject | None = None
    """Bounds and targets of the autoscaler. Honoured by a cluster."""

    placement: JsonObject | None = None
    """Accelerator classes in order of wish. Honoured by a cluster."""

    runtime: JsonObject | None = None
    """The HPIRuntime to use. Honoured by a cluster."""

    cache: JsonObject | None = None
    """The volume that keeps engines. Honoured by a cluster."""

    rollout: JsonObject | None = None
    """How a new revision replaces the old one. Honoured by a cluster."""

    route: JsonObject | None = None
    """How the pipeline is reached from outside the cluster. Honoured by a cluster."""

    availability: JsonObject | None = None
    """The disruption budget. Honoured by a cluster."""

    pod_template: JsonObject | None = None
    """Additions to the serving pods. Honoured by a cluster."""

    @model_validator(mode="after")
    def _consistent(self) -> PipelineSpec:
        given = [name for name in ("pipeline", "config", "module") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of pipeline, config and module must be set, got {given or 'none'}")
        if self.module is not None and self.modules:
            raise ValueError("modules must not be set when module is set: the model's settings stand in module.model")
        paths = [module.path for module in self.modules]
        repeated = sorted({path for path in paths if paths.count(path) > 1})
        if repeated:
            raise ValueError(f"each path of modules must appear once, repeated: {repeated}")
        if self.replicas is not None and self.autoscaling is not None:
            raise ValueError("replicas must not be set when autoscaling is set")
        return self


class HPIPipeline(ApiModel):
    """A PaddleX pipeline, or one model, served at the speed of the hardware under it."""

    api_version: Literal["hpi.paddlex.io/v1alpha1"]
    """Always `hpi.paddlex.io/v1alpha1`."""

    kind: Literal["HPIPipeline"]
    """Always `HPIPipeline`."""

    metadata: Metadata
    """Name and namespace of the object."""

    spec: PipelineSpec
    """What is wanted."""
