"""The kind HPIPipeline: a PaddleX pipeline, or one model, served at the speed of the hardware under it."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import SERVICE_NAME, ApiModel, JsonObject, Metadata
from hpi_core.api.rules import ListMap, Opaque, Rule
from hpi_core.api.v1alpha1.build import Accuracy, Build
from hpi_core.api.v1alpha1.exposure import MAX_REPLICAS, Autoscaling, Availability, Cache, License, Route
from hpi_core.api.v1alpha1.inference import HpiConfig, Inference
from hpi_core.api.v1alpha1.model_source import ModelSource
from hpi_core.api.v1alpha1.pipeline_status import PipelineStatus
from hpi_core.api.v1alpha1.placement import Placement
from hpi_core.api.v1alpha1.pod_template import PodTemplate
from hpi_core.api.v1alpha1.references import ConfigMapKey
from hpi_core.api.v1alpha1.rollout import Rollout
from hpi_core.api.v1alpha1.scalars import (
    DEVICE,
    MODEL_NAME,
    MODULE_NAME,
    MODULE_PATH,
    VARIANT,
    VERSION_CONSTRAINT,
    ObjectName,
)
from hpi_core.api.v1alpha1.serving import Limits, Queue, Serving, Timeouts

__all__ = [
    "CLUSTER_ONLY",
    "DEVICE",
    "MODEL_NAME",
    "MODULE_NAME",
    "MODULE_PATH",
    "Accuracy",
    "Build",
    "Config",
    "HPIPipeline",
    "HpiConfig",
    "Inference",
    "JsonObject",
    "Limits",
    "ModelSource",
    "Module",
    "PipelineSpec",
    "Queue",
    "RuntimeChoice",
    "Serving",
    "SingleModule",
    "Timeouts",
]

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

MAX_MODULES: Final = 64

NAME_RULE: Final = Rule(
    f"self.metadata.name.matches('{SERVICE_NAME}')",
    "metadata.name must be 1 to 63 lower-case letters, digits and '-', with a letter first and a letter or a digit "
    "last: a Service gets that name",
    lambda self: re.fullmatch(SERVICE_NAME, self.metadata.name) is not None,
)
"""A rule on the whole object, where alone metadata can be read."""


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

    inline: Annotated[JsonObject, Opaque()] | None = None
    """The YAML itself, with PaddleX's keys."""

    config_map_key_ref: ConfigMapKey | None = None
    """A key of a ConfigMap in the pipeline's namespace that holds the YAML."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.inline) != has(self.configMapKeyRef)",
            "exactly one of inline and configMapKeyRef must be set",
            lambda self: (self.inline is None) != (self.config_map_key_ref is None),
        ),
    )


class SingleModule(ApiModel):
    """One model served alone."""

    name: str = Field(pattern=MODULE_NAME, max_length=64)
    """PaddleX's name of the module, such as `text_detection`."""

    model: ModelSource
    """The model to serve."""


class RuntimeChoice(ApiModel):
    """The HPIRuntime to use: one by name, or the best of a variant."""

    name: ObjectName | None = None
    """Name of the HPIRuntime."""

    variant: Annotated[str, Field(pattern=VARIANT, max_length=40)] | None = None
    """Plugin variant, such as `hpi-gpu-cu126`; of those that fit the hardware the newest version."""

    version_constraint: Annotated[str, Field(pattern=VERSION_CONSTRAINT, max_length=128)] | None = None
    """Versions of the variant that may be used, such as `>=1.2,<2`. Absent: every one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.name) != has(self.variant)",
            "exactly one of name and variant must be set",
            lambda self: (self.name is None) != (self.variant is None),
        ),
        Rule(
            "!has(self.versionConstraint) || has(self.variant)",
            "versionConstraint needs variant",
            lambda self: self.version_constraint is None or self.variant is not None,
        ),
    )


class PipelineSpec(ApiModel):
    """What is wanted: exactly one of `pipeline`, `config` and `module`, and how it is served."""

    pipeline: Annotated[str, Field(pattern=MODEL_NAME, max_length=128)] | None = None
    """Name of a pipeline in PaddleX's registry, such as `OCR`."""

    config: Config | None = None
    """A whole PaddleX pipeline YAML, inline or in a ConfigMap."""

    module: SingleModule | None = None
    """One model alone."""

    modules: Annotated[tuple[Module, ...], Field(strict=False, max_length=MAX_MODULES), ListMap(("path",))] = ()
    """Settings of single models of the pipeline; each path appears once."""

    inference: Inference = Field(default_factory=Inference)
    """How every model is run, unless its module says otherwise."""

    build: Build = Field(default_factory=Build)
    """How engines are prepared."""

    placement: Placement = Field(default_factory=Placement)
    """On which hardware the replicas run. Honoured by a cluster."""

    runtime: RuntimeChoice | None = None
    """The HPIRuntime to use. Absent: the newest that fits the hardware. Honoured by a cluster."""

    replicas: Annotated[int, Field(ge=0, le=MAX_REPLICAS)] | None = None
    """Pods that serve the pipeline. Absent: 1, or the autoscaler's. Honoured by a cluster."""

    autoscaling: Autoscaling | None = None
    """Bounds and targets of the autoscaler. Absent: `replicas` decides. Honoured by a cluster."""

    cache: Cache = Field(default_factory=Cache)
    """Where engines and models are kept. Honoured by a cluster."""

    rollout: Rollout = Field(default_factory=Rollout)
    """How a new revision replaces the old one. Honoured by a cluster."""

    serving: Serving = Field(default_factory=Serving)
    """How requests are taken."""

    route: Route | None = None
    """How the pipeline is reached from outside the cluster. Absent: from inside alone. Honoured by a cluster."""

    availability: Availability = Field(default_factory=Availability)
    """The disruption budget. Honoured by a cluster."""

    pod_template: PodTemplate = Field(default_factory=PodTemplate)
    """Additions to the serving pods. Honoured by a cluster."""

    license: License | None = None
    """Licences of the plugin that PaddleX 3.0-beta had. Absent: none is needed, as for every later plugin."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.pipeline), has(self.config), has(self.module)].filter(given, given).size() == 1",
            "exactly one of pipeline, config and module must be set",
            lambda self: sum(given is not None for given in (self.pipeline, self.config, self.module)) == 1,
        ),
        Rule(
            "!has(self.module) || !has(self.modules) || self.modules.size() == 0",
            "modules must not be set when module is set: the model's settings stand in module.model",
            lambda self: self.module is None or not self.modules,
        ),
        Rule(
            "!has(self.replicas) || !has(self.autoscaling)",
            "replicas must not be set when autoscaling is set",
            lambda self: self.replicas is None or self.autoscaling is None,
        ),
        Rule(
            "!has(self.cache) || !has(self.cache.accessMode) || self.cache.accessMode != 'ReadWriteOnce'"
            " || (!has(self.autoscaling) && (!has(self.replicas) || self.replicas <= 1))",
            "a cache with accessMode ReadWriteOnce allows one replica and no autoscaling",
            lambda self: (
                self.cache.access_mode != "ReadWriteOnce"
                or (self.autoscaling is None and (self.replicas is None or self.replicas <= 1))
            ),
        ),
    )


class HPIPipeline(ApiModel):
    """A PaddleX pipeline, or one model, served at the speed of the hardware under it."""

    api_version: Literal["hpi.paddlex.io/v1alpha1"]
    """Always `hpi.paddlex.io/v1alpha1`."""

    kind: Literal["HPIPipeline"]
    """Always `HPIPipeline`."""

    metadata: Metadata
    """Name and namespace of the object."""

    spec: PipelineSpec
    """What is wanted: exactly one of `pipeline`, `config` and `module`, and how it is served."""

    status: PipelineStatus | None = None
    """What has become of it; written by the operator alone."""
