"""Every field that could shape an engine or the choice of one, and whether it does.

The lists of fields are generated: from the two key documents and from the schema of HPIPipeline. The tables below are
written by hand; a field in neither or in both, and one that is there no more, fails a test. Paths of documents begin
with `engine` or `decision`, those of a manifest with `spec`; `*` stands for the names of a model's inputs, `[]` for the
entries of a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from hpi_agent.select.keys import leaves
from hpi_core.api.v1alpha1.pipeline import CLUSTER_ONLY, PipelineSpec
from hpi_core.formats import DeviceKind
from hpi_core.schema.structural import structural_schema
from support.key_documents import (
    ENGINES,
    ON_DEVICES,
    a_resolution_document,
    a_resolution_document_of,
    an_engine_document,
)

Shaped = Literal["engine", "decision", "both"]


class Shape(NamedTuple):
    """Which key a field changes, and why."""

    key: Shaped
    why: str


def document_fields() -> set[str]:
    """Return the path of every leaf of the two key documents, of every device."""
    engines = [an_engine_document(candidate) for candidate in (*ENGINES, *ON_DEVICES)]
    decisions = [a_resolution_document(), *(a_resolution_document_of(device) for device in ACCELERATORS)]
    found = {f"engine.{path}" for document in engines for path in _paths(document)}
    # An engine of Paddle's own files has no conversion, one without settings no options, and one that leaves nothing to
    # the processors none of them; the parts are listed instead.
    wholes = {"engine.conversion", "engine.options", "engine.device.processors"}
    return found - wholes | {f"decision.{path}" for document in decisions for path in _paths(document)}


ACCELERATORS: Final[tuple[DeviceKind, ...]] = ("gpu", "npu")

WHOLE: Final = frozenset(
    {
        *(f"spec.{name}" for name in CLUSTER_ONLY),
        "spec.license",
        "spec.config.inline",
        "spec.config.configMapKeyRef",
        "spec.serving.tls",
        "spec.serving.auth",
        "spec.serving.protocols",
        "spec.serving.queue.priorities",
        "spec.serving.queue.tenants",
        "spec.serving.urlInputs",
    }
)
"""Parts of the spec that are one field here: what is inside is of one kind."""


def spec_fields() -> set[str]:
    """Return the path of every leaf of HPIPipeline's spec, as the schema of the API server has it."""
    return set(_schema_paths(structural_schema(PipelineSpec), "spec"))


def _paths(document: Mapping[str, Any]) -> Iterator[str]:
    for path, _ in leaves(document):
        before, shapes, _ = path.rpartition("shapes.")
        yield f"{before}shapes.*" if shapes else path


def _schema_paths(node: Mapping[str, Any], path: str) -> Iterator[str]:
    if path in WHOLE:
        yield path
    elif "properties" in node:
        for name, inner in node["properties"].items():
            yield from _schema_paths(inner, f"{path}.{name}")
    elif node.get("type") == "array":
        yield from _schema_paths(node["items"], f"{path}[]")
    else:
        yield path


def _all_of(key: Shaped, why: str, *paths: str) -> dict[str, Shape]:
    return {path: Shape(key, why) for path in paths}


SHAPES: Final[dict[str, Shape]] = {
    **_all_of("engine", "a document of another format means something else", "engine.formatVersion"),
    **_all_of("engine", "other weights are another engine", "engine.model.digest", "engine.model.format"),
    **_all_of(
        "engine",
        "another converter, or another list of packages, writes another ONNX file",
        "engine.conversion.format",
        "engine.conversion.model",
        "engine.conversion.converter",
        "engine.conversion.versions.paddlepaddle",
        "engine.conversion.versions.paddle2onnx",
        "engine.conversion.versions.onnx",
        "engine.conversion.opset",
        "engine.conversion.patches.interpolation-scale-float32",
        "engine.conversion.patches.names",
        "engine.conversion.lock",
    ),
    **_all_of("engine", "each runtime reads only what it wrote", "engine.backend.name", "engine.backend.version"),
    **_all_of("engine", "it decides the kernels", "engine.precision"),
    **_all_of("engine", "the plan of a graph depends on its threads", "engine.threads"),
    **_all_of(
        "engine",
        "a setting of the session",
        "engine.options.graph_optimization",
        "engine.options.mkldnn_cache_capacity",
        "engine.options.run_mode",
        "engine.options.execution_provider",
        "engine.options.optimization_level",
        "engine.options.workspace_mebibytes",
    ),
    **_all_of("engine", "it compiles parts of the graph for another runtime", "engine.backend.tensorrt"),
    **_all_of(
        "engine",
        "a compiled engine is for one product, its driver and its toolkit",
        "engine.device.accelerator.vendor",
        "engine.device.accelerator.product",
        "engine.device.accelerator.computeCapability",
        "engine.device.accelerator.chip",
        "engine.device.accelerator.memoryGibibytes",
        "engine.device.accelerator.slice",
        "engine.device.accelerator.driver",
        "engine.device.accelerator.toolkit",
    ),
    **_all_of("engine", "it decides which kernels can be chosen", "engine.device.memoryBytes"),
    **_all_of(
        "engine",
        "what a GPU leaves over is written for the instructions of one processor",
        "engine.device.processors.vendor",
        "engine.device.processors.isaLevel",
        "engine.device.processors.isaFlags",
    ),
    **_all_of("engine", "kernels are chosen for the declared shapes", "engine.shapes.*"),
    **_all_of(
        "engine",
        "an optimised graph is written for the instructions of one processor",
        "engine.device.kind",
        "engine.device.architecture",
        "engine.device.vendor",
        "engine.device.isaLevel",
        "engine.device.isaFlags",
    ),
    **_all_of("engine", "other packages beside the runtime", "engine.plugin.variant", "engine.plugin.lockDigest"),
    **_all_of("decision", "a document of another format means something else", "decision.formatVersion"),
    **_all_of("decision", "the knowledge table and the user's samples go by the name", "decision.model.name"),
    **_all_of("decision", "another model", "decision.model.digest", "decision.model.format"),
    **_all_of("decision", "a candidate may be made of it", "decision.model.onnxDigest", "decision.model.omDigest"),
    **_all_of(
        "decision",
        "candidates are made of what it writes",
        "decision.conversion.format",
        "decision.conversion.model",
        "decision.conversion.converter",
        "decision.conversion.versions.paddlepaddle",
        "decision.conversion.versions.paddle2onnx",
        "decision.conversion.versions.onnx",
        "decision.conversion.opset",
        "decision.conversion.patches.interpolation-scale-float32",
        "decision.conversion.patches.names",
        "decision.conversion.lock",
    ),
    **_all_of(
        "decision",
        "what the user asks decides which candidates there are",
        "decision.request.backend",
        "decision.request.exactly",
        "decision.request.threads",
        "decision.request.precision",
        "decision.request.runMode",
        "decision.request.cacheCapacity",
        "decision.request.conversionAllowed",
        "decision.request.executionProvider",
        "decision.request.fallbackAllowed",
    ),
    **_all_of(
        "decision",
        "candidates are compiled by it",
        "decision.request.shapes.*",
        "decision.request.workspaceMebibytes",
        "decision.request.optimizationLevel",
        "decision.deviceMemoryBytes",
    ),
    **_all_of(
        "decision",
        "the gate judges by it",
        "decision.accuracy.level",
        "decision.accuracy.tolerance",
        "decision.accuracy.minimumSamples",
        "decision.answers.threshold",
        "decision.answers.boxThreshold",
    ),
    **_all_of(
        "decision",
        "candidates are judged and timed on it",
        "decision.shapes.*",
        "decision.samples.origin",
        "decision.samples.digest",
    ),
    **_all_of(
        "decision",
        "it decides which candidates there are, and between those that noise tells apart",
        "decision.knowledge.order",
        "decision.knowledge.known",
        "decision.knowledge.failsOn",
        "decision.knowledge.defects",
        "decision.knowledge.borrowed",
        "decision.knowledge.failsWith",
    ),
    **_all_of(
        "decision",
        "another class of hardware measures otherwise",
        "decision.hardware.formatVersion",
        "decision.hardware.device",
        "decision.hardware.architecture",
        "decision.hardware.vendor",
        "decision.hardware.isaLevel",
        "decision.hardware.isaFlags",
        "decision.hardware.threads",
        "decision.hardware.numaNodes",
        "decision.hardware.memoryGibibytes",
        "decision.hardware.accelerator.vendor",
        "decision.hardware.accelerator.product",
        "decision.hardware.accelerator.computeCapability",
        "decision.hardware.accelerator.chip",
        "decision.hardware.accelerator.memoryGibibytes",
        "decision.hardware.accelerator.slice",
        "decision.hardware.accelerator.driver",
        "decision.hardware.accelerator.toolkit",
    ),
    **_all_of(
        "decision",
        "other candidates, or the same with another speed",
        "decision.runtimes.onnxruntime",
        "decision.runtimes.openvino",
        "decision.runtimes.paddle",
        "decision.deviceRuntimes.onnxruntime",
        "decision.deviceRuntimes.paddle",
        "decision.deviceRuntimes.tensorrt",
        "decision.deviceRuntimes.om",
        "decision.plugin.variant",
        "decision.plugin.lockDigest",
        "decision.plugin.paddleLockDigest",
    ),
    **_all_of(
        "both",
        "it names the models, or where one stands",
        "spec.pipeline",
        "spec.config.inline",
        "spec.modules[].path",
    ),
    **_all_of(
        "decision",
        "the knowledge table and the user's samples go by it; an engine goes by the bytes",
        "spec.modules[].model.name",
        "spec.module.model.name",
    ),
    **_all_of("both", "it decides which of the files count", "spec.modules[].model.format", "spec.module.model.format"),
    **_all_of(
        "decision",
        "it decides which candidates there are",
        "spec.inference.hpiConfig.autoConfig",
        "spec.inference.hpiConfig.backend",
        "spec.inference.hpiConfig.autoPaddle2onnx",
        "spec.modules[].inference.hpiConfig.autoConfig",
        "spec.modules[].inference.hpiConfig.backend",
        "spec.modules[].inference.hpiConfig.autoPaddle2onnx",
        "spec.build.fallback",
    ),
    **_all_of(
        "both",
        "threads, run mode and precision are settings of the session",
        "spec.inference.hpiConfig.backendConfig",
        "spec.modules[].inference.hpiConfig.backendConfig",
        "spec.inference.engineConfig",
        "spec.modules[].inference.engineConfig",
    ),
    **_all_of("both", "an engine is for one kind of device", "spec.inference.device"),
    **_all_of("both", "it says how much of a driver's version counts", "spec.build.driverMatch"),
    **_all_of("both", "it decides which kernels can be chosen", "spec.build.deviceMemoryBytes"),
    **_all_of(
        "decision",
        "the gate judges by it",
        "spec.build.accuracy.level",
        "spec.build.accuracy.tolerancePartsPerMillion",
        "spec.build.accuracy.minimumSamples",
    ),
}
"""Fields that shape an engine, the choice of one, or both."""

DOES_NOT_SHAPE: Final[dict[str, str]] = {
    "spec.module.name": "it says what prepares inputs and reads answers, around the model",
    **dict.fromkeys(
        ["spec.modules[].model.source", "spec.module.model.source"], "the bytes count, not where they come from"
    ),
    **dict.fromkeys(
        ["spec.modules[].model.digest", "spec.module.model.digest"], "it is compared with the bytes, which count"
    ),
    **dict.fromkeys(
        [
            f"spec.{module}model.{field}"
            for module in ("modules[].", "module.")
            for field in ("endpoint", "credentialsSecretRef.name")
        ],
        "the bytes count, not where they come from",
    ),
    **dict.fromkeys(
        [
            "spec.inference.useHpip",
            "spec.inference.engine",
            "spec.build.mode",
            "spec.build.shapes",
            "spec.modules[].inference.useHpip",
            "spec.modules[].inference.engine",
            "spec.modules[].inference.device",
        ],
        "this release serves one value of it and refuses every other",
    ),
    "spec.config.configMapKeyRef": "one machine has no ConfigMaps and refuses it",
    "spec.build.policy": "it says who builds and when, not what",
    "spec.build.timeoutSeconds": "it says how long a build may take, not what it makes",
    **dict.fromkeys(
        [
            "spec.serving.limits.bodyBytes",
            "spec.serving.limits.imagePixels",
            "spec.serving.limits.imageSidePixels",
            "spec.serving.limits.pages",
            "spec.serving.queue.length",
            "spec.serving.timeouts.requestSeconds",
            "spec.serving.timeouts.drainSeconds",
        ],
        "it bounds requests, before a model sees them",
    ),
    **dict.fromkeys(
        [
            "spec.serving.protocols",
            "spec.serving.tls",
            "spec.serving.auth",
            "spec.serving.queue.priorities",
            "spec.serving.queue.tenants",
            "spec.serving.urlInputs",
            "spec.license",
        ],
        "it says who may ask and how, before a model sees a request",
    ),
    **dict.fromkeys(
        [
            "spec.replicas",
            "spec.autoscaling",
            "spec.placement",
            "spec.runtime",
            "spec.cache",
            "spec.rollout",
            "spec.route",
            "spec.availability",
            "spec.podTemplate",
        ],
        "it is for a cluster; what a pod is given shows in its hardware class and its list of packages",
    ),
}
"""Fields that change neither key, with the reason."""
