"""For every field that could shape an engine or its choice, a change of the input it comes from, and the case it is in.

A change is one of a manifest, of a model's files, of the user's samples, or of what the machine and the installation
bring; nothing reaches into the keys themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from hpi_agent.building.device_access import DeviceAccess
from hpi_agent.building.model_directories import assemble_models
from hpi_agent.building.pipeline import read_plan
from hpi_agent.building.resolution import Resolution, resolve_plan
from hpi_agent.building.site import Site
from hpi_agent.engines.base import Device
from hpi_agent.plugins.environment import PluginEnvironment
from hpi_agent.select.knowledge import Borrowing, Defect
from hpi_agent.store.directory import digest_of_file
from hpi_core.formats import DeviceKind
from models.graphs import add, loose, scalars
from support.building import NAME, a_site, model_directory, only, write_inference
from support.key_documents import DEVICE_RUNTIMES, OF_DEVICE, a_digest
from support.manifests import DETECTION, RECOGNITION, Document, a_module, a_single_module, an_ocr_pipeline, with_value

BFLOAT16: Final = "avx512_bf16"
LINES: Final = "SubModules.TextLineOrientation"
DOCUMENT: Final = "SubPipelines.DocPreprocessor.SubModules"
PIR: Final = '{"base_code": {"magic": "pir", "version": 3}, "program": {}}'
VERSIONS: Final = {
    "paddlepaddle": "3.2.2",
    "paddle2onnx": "2.1.0",
    "onnx": "1.17.0",
    "onnx-graphsurgeon": "0.6.1",
    "onnxruntime": "1.31.1",
}

CaseName = Literal["module", "pipeline", "paddle", "gpu", "npu"]


@dataclass(frozen=True)
class Case:
    """A manifest, the folder with its models, and what the machine brings."""

    root: Path
    document: Document
    site: Site

    @property
    def manifest(self) -> str:
        """The text of the manifest."""
        return json.dumps(self.document)

    @property
    def model(self) -> Path:
        """The directory of the first model."""
        return self.root / NAME

    def resolutions(self) -> tuple[Resolution, ...]:
        """Return what has to be decided for every model."""
        checked, plan = read_plan(self.manifest, "test.yaml")
        return resolve_plan(plan, assemble_models(plan, self.site.store), checked.spec.build, self.site)

    def decision_keys(self) -> set[str]:
        """Return the names of the decisions of all models."""
        return {resolution.key for resolution in self.resolutions()}

    def engine_keys(self) -> set[str]:
        """Return the names of the engines of all candidates of all models."""
        return {one.engine_key(candidate) for one in self.resolutions() for candidate in one.candidates.survivors}

    def documents(self, kind: str) -> list[Document]:
        """Return the key documents of a kind: `engine` or `decision`."""
        if kind == "decision":
            return [one.document for one in self.resolutions()]
        return [one.engine_document(candidate) for one in self.resolutions() for candidate in one.candidates.survivors]


Change = Callable[[Case], Case]


class Mutation(NamedTuple):
    """A change and the case it is made in."""

    change: Change
    case: CaseName = "module"
    before: Change = lambda case: case
    """What the case needs before, so that the field is there at all."""

    @property
    def can_be_built(self) -> bool:
        """Whether the case can be built as it is: without Paddle, and without a device that nobody has."""
        return self.case in ("module", "pipeline") and not self.needs_device and self.before is not BOTH_FORMATS

    @property
    def needs_device(self) -> bool:
        """Whether the change asks for an accelerator."""
        return self.change is ON_A_GPU


def a_case(name: CaseName, root: Path) -> Case:
    """Return one of the cases, made in a folder.

    module: one ONNX model, on ONNX Runtime alone. pipeline: three ONNX models of OCR, one on two threads. paddle: one
    model in Paddle's format beside an environment that could convert it; its files cannot be run. gpu: one ONNX model
    on TensorRT alone, on a machine that pretends to have an A100. npu: the same model beside an offline one, where an
    Ascend 310P is pretended.
    """
    site = a_site(root / "store")
    if name == "pipeline":
        return _a_pipeline(root, site)
    model_directory(root / NAME)
    case = Case(root, a_single_module(name=NAME, source=f"file://{root / NAME}"), site)
    if name == "module":
        return spec("inference", only("onnxruntime", cpu_num_threads=1))(case)
    if name == "gpu":
        return both(on_device("gpu"), alone("tensorrt"))(case)
    if name == "npu":
        return both(file("inference.om", b"offline"), on_device("npu"))(case)
    (case.model / "inference.onnx").unlink()
    write_paddle_files(case.model)
    environment = PluginEnvironment("paddle2onnx", Path("python"), a_digest(2), VERSIONS)
    runtimes = {**site.runtimes, "paddle": VERSIONS["paddlepaddle"]}
    hardware = replace(site.hardware, architecture="x86_64")
    return replace(case, site=replace(site, environment=environment, runtimes=runtimes, hardware=hardware))


def _a_pipeline(root: Path, site: Site) -> Case:
    folders = {
        "det": model_directory(root / NAME, add(), "det"),
        "rec": model_directory(root / "rec", loose(), "rec"),
        "lines": model_directory(root / "lines", scalars(), "lines"),
    }
    config = {
        "pipeline_name": "OCR",
        "text_type": "general",
        "use_doc_preprocessor": False,
        "use_textline_orientation": True,
        "SubModules": {
            "TextDetection": {"module_name": "text_detection", "model_name": "det", "model_dir": str(folders["det"])},
            "TextRecognition": {"module_name": "text_recognition", "model_name": "rec"},
            "TextLineOrientation": {
                "module_name": "textline_orientation",
                "model_name": "lines",
                "model_dir": str(folders["lines"]),
            },
        },
    }
    modules = [
        a_module(RECOGNITION, "rec", model={"name": "rec", "source": f"file://{folders['rec']}"}),
        {"path": DETECTION, "inference": only("onnxruntime", cpu_num_threads=2)},
    ]
    return Case(root, an_ocr_pipeline(config={"inline": config}, modules=modules), site)


def spec(path: str, value: Any) -> Change:
    """Return a change of one value of the manifest."""
    return lambda case: replace(case, document=with_value(case.document, f"spec.{path}", value))


def on_device(kind: DeviceKind) -> Change:
    """Return a change to a machine that pretends to have a device, which the manifest asks for."""
    return both(
        lambda case: site(
            hardware=replace(case.site.hardware, accelerator=OF_DEVICE[kind].accelerator),
            device=Device(kind),
            device_runtimes=DEVICE_RUNTIMES[kind],
            access=DeviceAccess(Device(kind)),
        )(case),
        spec("inference.device", kind),
    )


def alone(backend: str, **config: Any) -> Change:
    """Return a change that lets one backend serve on the device and no other."""
    return spec("inference.hpiConfig", only(backend, **config)["hpiConfig"])


def accelerator(**fields: Any) -> Change:
    """Return a change of the class of the accelerator."""

    def change(case: Case) -> Case:
        assert case.site.hardware.accelerator is not None
        return hardware(accelerator=replace(case.site.hardware.accelerator, **fields))(case)

    return change


def device_runtimes(**versions: str | None) -> Change:
    """Return a change of the versions of backends that compute on the device."""
    return lambda case: site(device_runtimes={**case.site.device_runtimes, **versions})(case)


def both(*changes: Change) -> Change:
    """Return several changes as one."""

    def change(case: Case) -> Case:
        for one in changes:
            case = one(case)
        return case

    return change


def inference(**parts: Any) -> Change:
    """Return a change of the first model's `inference.yml`."""

    def change(case: Case) -> Case:
        write_inference(case.model, **parts)
        return case

    return change


def _in_both_formats(case: Case) -> Case:
    write_paddle_files(case.root / "rec")
    return case


def write_paddle_files(folder: Path) -> None:
    """Write the files of a model in Paddle's format, as far as anybody looks before it is run."""
    (folder / "inference.json").write_text(PIR, encoding="utf-8")
    (folder / "inference.pdiparams").write_bytes(b"weights")


def file(name: str, content: bytes) -> Change:
    """Return a change of one file of the first model."""

    def change(case: Case) -> Case:
        (case.model / name).write_bytes(content)
        return case

    return change


def site(**fields: Any) -> Change:
    """Return a change of what the machine and the installation bring."""
    return lambda case: replace(case, site=replace(case.site, **fields))


def hardware(**fields: Any) -> Change:
    """Return a change of the class of hardware."""
    return lambda case: site(hardware=replace(case.site.hardware, **fields))(case)


def knowledge(**fields: Any) -> Change:
    """Return a change of what is known of models."""
    return lambda case: site(knowledge=replace(case.site.knowledge, **fields))(case)


def runtimes(**versions: str | None) -> Change:
    """Return a change of the versions of backends."""
    return lambda case: site(runtimes={**case.site.runtimes, **versions})(case)


def plugin(**fields: str) -> Change:
    """Return a change of the list of packages that this program runs on."""
    return lambda case: site(plugin={**case.site.plugin, **fields})(case)


def environment(versions: Mapping[str, str] | None = None, **fields: Any) -> Change:
    """Return a change of the environment with Paddle."""

    def change(case: Case) -> Case:
        assert case.site.environment is not None
        known = {**case.site.environment.versions, **(versions or {})}
        return site(environment=replace(case.site.environment, versions=known, **fields))(case)

    return change


def samples(rows: int) -> Change:
    """Return a change of the user's folder of samples: one file with so many rows."""

    def change(case: Case) -> Case:
        folder = case.root / "samples"
        folder.mkdir(exist_ok=True)
        np.savez(folder / "one.npz", x=np.ones((rows, 3), dtype=np.float32))
        return site(samples=folder)(case)

    return change


def _renamed(case: Case) -> Case:
    write_inference(case.model, "other")
    return spec("module.model.name", "other")(case)


def _renamed_in_pipeline(case: Case) -> Case:
    write_inference(case.root / "rec", "other")
    return spec("modules[0].model.name", "other")(case)


def _registered(case: Case) -> Case:
    """Serve the pipeline of the registry, which has two more models."""
    extra = {name: model_directory(case.root / name, add(), name) for name in ("turned", "flat")}
    folders = {
        DETECTION: ("det", case.model),
        RECOGNITION: ("rec", case.root / "rec"),
        LINES: ("lines", case.root / "lines"),
        **{f"{DOCUMENT}.{path}": (name, extra[name]) for path, name in UNREGISTERED.items()},
    }
    modules = [
        a_module(path, name, model={"name": name, "source": f"file://{folder}"})
        for path, (name, folder) in folders.items()
    ]
    return replace(case, document=an_ocr_pipeline(config=..., pipeline="OCR", modules=modules))


MODULE: Final[CaseName] = "module"
PIPELINE: Final[CaseName] = "pipeline"
UNREGISTERED: Final = {"DocOrientationClassify": "turned", "DocUnwarping": "flat"}

SHAPED: Final = {"tensorrt": {"dynamic_shapes": {"x": [[1, 3], [2, 3], [4, 3]]}}}
REPLACED: Final = file("inference.onnx", scalars().proto.SerializeToString())
OTHER_WEIGHTS: Final = file("inference.pdiparams", b"other weights")
BESIDE: Final = file("inference.onnx", add().proto.SerializeToString())
ON_PADDLE: Final = spec("inference", {"hpiConfig": {"backend": "paddle", "backendConfig": {"run_mode": "mkldnn"}}})
ON_PLAIN_PADDLE: Final = spec("inference.hpiConfig.backendConfig", {"run_mode": "paddle"})
ON_OPENVINO: Final = both(spec("inference", only("openvino")), hardware(isa_flags=("avx2", BFLOAT16)))
BOTH_FORMATS: Final[Change] = _in_both_formats
OTHER_MODEL: Final = both(REPLACED, inference())
ON_A_GPU: Final = on_device("gpu")
ON_CUDA: Final = alone("onnxruntime", execution_provider="cuda")
WITH_TENSORRT: Final = alone("onnxruntime", execution_provider="tensorrt")
SHAPES: Final = [[1, 3], [2, 3], [4, 3]]
OTHER_SHAPES: Final = [[1, 3], [2, 3], [5, 3]]
KNOWN_TO_CUDA: Final = knowledge(rows={NAME: (None, ("tensorrt",), ("onnxruntime",))})
LENT: Final = Borrowing("gpu_cuda12", "gpu_cuda11", ("tensorrt",), "it is lent")
OTHER_ACCELERATOR: Final[dict[str, tuple[str, Any]]] = {
    "vendor": ("vendor", "Ascend"),
    "product": ("product", "another"),
    "computeCapability": ("compute_capability", "8.6"),
    "chip": ("chip", "another"),
    "memoryGibibytes": ("memory_gibibytes", 7),
    "slice": ("slice", "2g.10gb"),
    "driver": ("driver", "550.54.14"),
    "toolkit": ("toolkit", "12.5"),
}
"""By field of the document: the field of the class, and another value."""


def _conversion(kind: str) -> dict[str, Mutation]:
    """Return the changes of what shapes a converted ONNX file."""
    return {
        f"{kind}.conversion.model": Mutation(OTHER_WEIGHTS, "paddle"),
        **{
            f"{kind}.conversion.versions.{name}": Mutation(environment({name: "9.9"}), "paddle")
            for name in ("paddlepaddle", "paddle2onnx", "onnx")
        },
        f"{kind}.conversion.lock": Mutation(environment(lock_digest=a_digest(9)), "paddle"),
    }


MUTATIONS: Final[dict[str, Mutation]] = {
    "engine.model.digest": Mutation(OTHER_MODEL),
    "engine.model.format": Mutation(spec("module.model.format", "ONNX"), "paddle", BESIDE),
    **_conversion("engine"),
    "engine.backend.name": Mutation(spec("inference", only("openvino", cpu_num_threads=1))),
    "engine.backend.version": Mutation(runtimes(onnxruntime="9.9")),
    "engine.precision": Mutation(spec("inference", only("openvino", precision="bf16")), before=ON_OPENVINO),
    "engine.threads": Mutation(spec("inference", only("onnxruntime", cpu_num_threads=2))),
    "engine.options.mkldnn_cache_capacity": Mutation(
        spec("inference.hpiConfig.backendConfig", {"run_mode": "mkldnn", "mkldnn_cache_capacity": 10}),
        "paddle",
        ON_PADDLE,
    ),
    "engine.options.run_mode": Mutation(ON_PLAIN_PADDLE, "paddle", ON_PADDLE),
    "engine.shapes.*": Mutation(inference(Hpi={"backend_configs": SHAPED})),
    "engine.device.architecture": Mutation(hardware(architecture="aarch64"), before=hardware(architecture="x86_64")),
    "engine.device.vendor": Mutation(hardware(vendor="another")),
    "engine.device.isaLevel": Mutation(hardware(isa_level="another")),
    "engine.device.isaFlags": Mutation(hardware(isa_flags=("sse4_2",))),
    "engine.device.kind": Mutation(ON_A_GPU),
    "engine.device.memoryBytes": Mutation(spec("build.deviceMemoryBytes", 2**31), "gpu"),
    "engine.device.processors.vendor": Mutation(hardware(vendor="another"), "gpu", ON_CUDA),
    "engine.device.processors.isaLevel": Mutation(hardware(isa_level="another"), "gpu", ON_CUDA),
    "engine.device.processors.isaFlags": Mutation(hardware(isa_flags=("sse4_2",)), "gpu", ON_CUDA),
    "engine.backend.tensorrt": Mutation(device_runtimes(tensorrt="9.9"), "gpu", WITH_TENSORRT),
    "engine.options.execution_provider": Mutation(WITH_TENSORRT, "gpu", ON_CUDA),
    "engine.options.optimization_level": Mutation(
        alone("tensorrt", optimization_level=4), "gpu", alone("tensorrt", optimization_level=3)
    ),
    "engine.options.workspace_mebibytes": Mutation(
        alone("tensorrt", workspace_mebibytes=4), "gpu", alone("tensorrt", workspace_mebibytes=3)
    ),
    **{
        f"{document}.accelerator.{field}": Mutation(accelerator(**{name: value}), "gpu")
        for document in ("engine.device", "decision.hardware")
        for field, (name, value) in OTHER_ACCELERATOR.items()
    },
    "engine.plugin.variant": Mutation(plugin(variant="another")),
    "engine.plugin.lockDigest": Mutation(plugin(lockDigest=a_digest(9))),
    "decision.model.name": Mutation(_renamed),
    "decision.model.digest": Mutation(OTHER_MODEL),
    "decision.model.format": Mutation(spec("module.model.format", "ONNX"), "paddle", BESIDE),
    "decision.model.onnxDigest": Mutation(REPLACED, "paddle", BESIDE),
    "decision.model.omDigest": Mutation(file("inference.om", b"another"), "npu"),
    **_conversion("decision"),
    "decision.request.backend": Mutation(spec("inference", only("openvino", cpu_num_threads=1))),
    "decision.request.exactly": Mutation(spec("inference.hpiConfig.autoConfig", True)),
    "decision.request.threads": Mutation(spec("inference", only("onnxruntime", cpu_num_threads=2))),
    "decision.request.precision": Mutation(spec("inference", only("openvino", precision="fp32")), before=ON_OPENVINO),
    "decision.request.runMode": Mutation(ON_PLAIN_PADDLE, "paddle", ON_PADDLE),
    "decision.request.cacheCapacity": Mutation(
        spec("inference.hpiConfig.backendConfig", {"run_mode": "mkldnn", "mkldnn_cache_capacity": 10}),
        "paddle",
        ON_PADDLE,
    ),
    "decision.request.conversionAllowed": Mutation(spec("inference.hpiConfig.autoPaddle2onnx", False)),
    "decision.request.executionProvider": Mutation(WITH_TENSORRT, "gpu", ON_CUDA),
    "decision.request.shapes.*": Mutation(
        alone("tensorrt", dynamic_shapes={"x": OTHER_SHAPES}), "gpu", alone("tensorrt", dynamic_shapes={"x": SHAPES})
    ),
    "decision.request.workspaceMebibytes": Mutation(
        alone("tensorrt", workspace_mebibytes=4), "gpu", alone("tensorrt", workspace_mebibytes=3)
    ),
    "decision.request.optimizationLevel": Mutation(
        alone("tensorrt", optimization_level=4), "gpu", alone("tensorrt", optimization_level=3)
    ),
    "decision.deviceMemoryBytes": Mutation(spec("build.deviceMemoryBytes", 2**31), "gpu"),
    "decision.request.fallbackAllowed": Mutation(spec("build.fallback", "Forbidden")),
    "decision.accuracy.level": Mutation(spec("build.accuracy.level", "Numeric")),
    "decision.accuracy.tolerance": Mutation(spec("build.accuracy.tolerancePartsPerMillion", 5)),
    "decision.accuracy.minimumSamples": Mutation(spec("build.accuracy.minimumSamples", 5)),
    "decision.answers.threshold": Mutation(inference(PostProcess={"thresh": 0.25})),
    "decision.answers.boxThreshold": Mutation(inference(PostProcess={"box_thresh": 0.25})),
    "decision.shapes.*": Mutation(inference(Hpi={"backend_configs": SHAPED})),
    "decision.samples.origin": Mutation(samples(1)),
    "decision.samples.digest": Mutation(samples(2), before=samples(1)),
    "decision.knowledge.order": Mutation(
        knowledge(unknown=dict.fromkeys(("x86_64", "aarch64"), ("onnxruntime", "openvino"))),
    ),
    "decision.knowledge.known": Mutation(
        lambda case: knowledge(rows={NAME: (case.resolutions()[0].row.order, None, None)})(case),
        before=hardware(architecture="x86_64"),
    ),
    "decision.knowledge.failsOn": Mutation(knowledge(fails_on={NAME: ("new IR",)})),
    "decision.knowledge.defects": Mutation(
        knowledge(groups={NAME: "tests"}, defects=(Defect("openvino", ("1.0",), ("tests",), "it fails"),)),
    ),
    "decision.knowledge.borrowed": Mutation(
        knowledge(borrowed=(LENT,)), "gpu", both(KNOWN_TO_CUDA, knowledge(borrowed=()))
    ),
    "decision.knowledge.failsWith": Mutation(knowledge(fails_with={"gpu": {"paddle": frozenset({NAME})}}), "gpu"),
    "decision.hardware.device": Mutation(ON_A_GPU),
    "decision.hardware.architecture": Mutation(
        hardware(architecture="aarch64"), before=hardware(architecture="x86_64")
    ),
    "decision.hardware.vendor": Mutation(hardware(vendor="another")),
    "decision.hardware.isaLevel": Mutation(hardware(isa_level="another")),
    "decision.hardware.isaFlags": Mutation(hardware(isa_flags=("sse4_2",))),
    "decision.hardware.threads": Mutation(hardware(threads=97)),
    "decision.hardware.numaNodes": Mutation(hardware(numa_nodes=7)),
    "decision.hardware.memoryGibibytes": Mutation(hardware(memory_gibibytes=7)),
    "decision.runtimes.onnxruntime": Mutation(runtimes(onnxruntime="9.9")),
    "decision.runtimes.openvino": Mutation(runtimes(openvino="9.9")),
    "decision.runtimes.paddle": Mutation(runtimes(paddle="9.9")),
    "decision.deviceRuntimes.onnxruntime": Mutation(device_runtimes(onnxruntime="9.9"), "gpu"),
    "decision.deviceRuntimes.paddle": Mutation(device_runtimes(paddle="9.9"), "gpu"),
    "decision.deviceRuntimes.tensorrt": Mutation(device_runtimes(tensorrt="9.9"), "gpu"),
    "decision.deviceRuntimes.om": Mutation(device_runtimes(om="9.9"), "npu"),
    "decision.plugin.variant": Mutation(plugin(variant="another")),
    "decision.plugin.lockDigest": Mutation(plugin(lockDigest=a_digest(9))),
    "decision.plugin.paddleLockDigest": Mutation(environment(lock_digest=a_digest(9)), "paddle"),
    "spec.pipeline": Mutation(_registered, "pipeline"),
    "spec.config.inline": Mutation(
        lambda case: spec(
            "config.inline.SubModules.TextDetection.model_dir",
            str(model_directory(case.root / "another", loose(), "det")),
        )(case),
        "pipeline",
    ),
    "spec.modules[].path": Mutation(spec("modules[1].path", LINES), "pipeline"),
    "spec.modules[].model.name": Mutation(_renamed_in_pipeline, "pipeline"),
    "spec.modules[].model.source": Mutation(
        lambda case: spec("modules[0].model.source", f"file://{model_directory(case.root / 'copy', loose(), 'rec')}")(
            case
        ),
        "pipeline",
    ),
    "spec.modules[].model.digest": Mutation(
        lambda case: spec("modules[0].model.digest", digest_of_file(case.root / "rec" / "inference.onnx"))(case),
        "pipeline",
    ),
    "spec.modules[].model.format": Mutation(spec("modules[0].model.format", "ONNX"), "pipeline", BOTH_FORMATS),
    "spec.modules[].inference.hpiConfig.autoConfig": Mutation(
        spec("modules[1].inference.hpiConfig.autoConfig", True), "pipeline"
    ),
    "spec.modules[].inference.hpiConfig.backend": Mutation(
        spec("modules[1].inference.hpiConfig.backend", "openvino"), "pipeline"
    ),
    "spec.modules[].inference.hpiConfig.autoPaddle2onnx": Mutation(
        spec("modules[1].inference.hpiConfig.autoPaddle2onnx", False), "pipeline"
    ),
    "spec.modules[].inference.hpiConfig.backendConfig": Mutation(
        spec("modules[1].inference.hpiConfig.backendConfig", {"cpu_num_threads": 1}), "pipeline"
    ),
    "spec.modules[].inference.engineConfig": Mutation(
        spec(
            "modules[1].inference",
            {"engineConfig": {"backend": "onnxruntime", "backend_config": {"cpu_num_threads": 1}}},
        ),
        "pipeline",
    ),
    "spec.modules[].inference.useHpip": Mutation(spec("modules[1].inference.useHpip", True), "pipeline"),
    "spec.modules[].inference.engine": Mutation(spec("modules[1].inference.engine", "hpi"), "pipeline"),
    "spec.module.name": Mutation(spec("module.name", "image_classification")),
    "spec.module.model.name": Mutation(_renamed),
    "spec.module.model.source": Mutation(
        lambda case: spec("module.model.source", f"file://{model_directory(case.root / 'copy')}")(case)
    ),
    "spec.module.model.digest": Mutation(
        lambda case: spec("module.model.digest", case.resolutions()[0].model.digest)(case)
    ),
    "spec.module.model.format": Mutation(spec("module.model.format", "Paddle"), "paddle", BESIDE),
    "spec.inference.hpiConfig.autoConfig": Mutation(spec("inference.hpiConfig.autoConfig", True)),
    "spec.inference.hpiConfig.backend": Mutation(spec("inference.hpiConfig.backend", "openvino")),
    "spec.inference.hpiConfig.autoPaddle2onnx": Mutation(spec("inference.hpiConfig.autoPaddle2onnx", False)),
    "spec.inference.hpiConfig.backendConfig": Mutation(
        spec("inference.hpiConfig.backendConfig", {"cpu_num_threads": 2})
    ),
    "spec.inference.engineConfig": Mutation(
        spec("inference", {"engineConfig": {"backend": "onnxruntime", "backend_config": {"cpu_num_threads": 2}}})
    ),
    "spec.inference.useHpip": Mutation(spec("inference.useHpip", True)),
    "spec.inference.engine": Mutation(spec("inference.engine", "hpi")),
    "spec.inference.device": Mutation(ON_A_GPU),
    "spec.build.driverMatch": Mutation(spec("build.driverMatch", "Major"), "gpu"),
    "spec.build.deviceMemoryBytes": Mutation(spec("build.deviceMemoryBytes", 2**31), "gpu"),
    "spec.build.policy": Mutation(spec("build.policy", "Prebuild")),
    "spec.build.timeoutSeconds": Mutation(spec("build.timeoutSeconds", 301)),
    "spec.build.fallback": Mutation(spec("build.fallback", "Forbidden")),
    "spec.build.accuracy.level": Mutation(spec("build.accuracy.level", "Numeric")),
    "spec.build.accuracy.tolerancePartsPerMillion": Mutation(spec("build.accuracy.tolerancePartsPerMillion", 5)),
    "spec.build.accuracy.minimumSamples": Mutation(spec("build.accuracy.minimumSamples", 5)),
    **{
        f"spec.serving.{path}": Mutation(spec(f"serving.{path}", 1_111))
        for path in (
            "limits.bodyBytes",
            "limits.imagePixels",
            "limits.imageSidePixels",
            "limits.pages",
            "queue.length",
            "timeouts.requestSeconds",
            "timeouts.drainSeconds",
        )
    }
    | {"spec.serving.limits.pages": Mutation(spec("serving.limits.pages", 11))},
    "spec.replicas": Mutation(spec("replicas", 3)),
    **{
        f"spec.{path}": Mutation(spec(path, value))
        for path, value in {
            "autoscaling": {"maxReplicas": 3},
            "placement": {"policy": "Spill"},
            "runtime": {"variant": "hpi-cpu"},
            "cache": {"medium": "Ephemeral"},
            "rollout": {"paused": True},
            "route": {"parentRefs": [{"name": "gateway"}]},
            "availability": {"maxUnavailable": 2},
            "podTemplate": {"labels": {"team": "ocr"}},
            "serving.protocols": ["PaddleX"],
        }.items()
    },
}
"""By field. Those of Paddle's conversion and of both formats are in the case `paddle`."""

CONSTANT: Final = frozenset(
    f"{kind}.{path}"
    for kind, paths in {
        "engine": ("formatVersion", "options.graph_optimization"),
        "decision": ("formatVersion", "hardware.formatVersion"),
        **dict.fromkeys(
            ["engine ", "decision "],
            (
                "conversion.format",
                "conversion.converter",
                "conversion.opset",
                "conversion.patches.interpolation-scale-float32",
                "conversion.patches.names",
            ),
        ),
    }.items()
    for path in paths
    for kind in [kind.strip()]
)
"""Fields that this release always writes alike: no input changes them, a later release does."""

REFUSED: Final[dict[str, Mutation]] = {
    "spec.config.configMapKeyRef": Mutation(spec("config", {"configMapKeyRef": {"name": "a", "key": "b"}}), "pipeline"),
    "spec.modules[].inference.device": Mutation(spec("modules[1].inference.device", "cpu"), "pipeline"),
    "spec.build.mode": Mutation(spec("build.mode", "Throughput")),
    "spec.build.shapes": Mutation(spec("build.shapes", "Observed")),
    **{
        f"spec.{path}": Mutation(spec(path, value))
        for path, value in {
            "license": {"serialNumbersSecretRef": {"name": "serials"}, "licensesHostPath": "/licences"},
            "serving.tls": {"secretRef": {"name": "certificate"}},
            "serving.auth": {"type": "BearerToken", "tokensSecretRef": {"name": "tokens"}},
            "serving.queue.priorities": [{"name": "urgent"}],
            "serving.queue.tenants": {},
            "serving.urlInputs": {"allowedHosts": ["images.example"]},
        }.items()
    },
    **{
        f"spec.{path}.{field}": Mutation(spec(f"{place}.{field}", value), case)
        for path, place, case in (
            ("module.model", "module.model", MODULE),
            ("modules[].model", "modules[0].model", PIPELINE),
        )
        for field, value in (("endpoint", "https://hub.example"), ("credentialsSecretRef.name", "token"))
    },
}
"""Fields that are refused here: a pipeline on one machine, one value of a release, and sources on this machine."""
