"""The two key documents with no part left out, as tests change them one field at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hpi_agent.convert.conversion import conversion_document
from hpi_agent.models.paddle_files import PaddleModel
from hpi_agent.plugins.environment import PluginEnvironment
from hpi_agent.profile import AcceleratorClass, HardwareClass
from hpi_agent.select.answers import Settings
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.device_key import Granularity
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.keys import Document, Installation, ModelKey, engine_document, resolution_document
from hpi_agent.select.knowledge import Defect, Row
from hpi_agent.select.wish import Wish
from hpi_core.formats import DeviceKind


def a_digest(digit: int) -> str:
    """Return a digest of one digit repeated."""
    return "sha256:" + str(digit) * 64


PROFILE: Final = {"x": ((1, 3, 32, 32), (1, 3, 736, 736), (1, 3, 4000, 4000))}
HARDWARE: Final = HardwareClass("x86_64", "AMD", "x86-64-v4", ("avx2", "avx512_bf16"), 4, 1, 15)
INSTALLATION: Final = Installation(
    {"onnxruntime": "1.31.1", "openvino": "2026.4.1", "paddle": "3.2.2"},
    {"variant": "hpi-cpu", "lockDigest": a_digest(1)},
    a_digest(2),
)
A_GPU: Final = AcceleratorClass(
    "NVIDIA",
    "NVIDIA A100-SXM4-40GB",
    compute_capability="8.0",
    memory_gibibytes=39,
    slice="1g.5gb",
    driver="550.54.15",
    toolkit="12.4",
)
AN_NPU: Final = AcceleratorClass(
    "Ascend", "Ascend310P3", chip="Ascend310P3", memory_gibibytes=21, driver="24.1.rc2", toolkit="8.0.RC3"
)
OF_DEVICE: Final[dict[DeviceKind, HardwareClass]] = {
    "cpu": HARDWARE,
    "gpu": replace(HARDWARE, accelerator=A_GPU),
    "npu": replace(HARDWARE, architecture="aarch64", accelerator=AN_NPU),
}
DEVICE_RUNTIMES: Final[dict[DeviceKind, dict[str, str | None]]] = {
    "cpu": {},
    "gpu": {"onnxruntime": "1.22.0", "paddle": "3.2.2", "tensorrt": "10.9.0.34"},
    "npu": {"paddle": "3.2.0", "om": "8.0.RC3"},
}
LIMITED: Final = Granularity("Exact", device_memory_bytes=2**32)
ROW: Final = Row(
    ("openvino", "paddle_mkldnn", "onnxruntime", "paddle"),
    known=True,
    fails_on=("new IR",),
    defects=(Defect("paddle_mkldnn", ("3.3.1",), ("text_detection",), "it fails"),),
    borrowed=("tensorrt",),
    fails_with=("paddle",),
)
SAMPLES: Final = {"origin": "rendered", "digest": a_digest(3)}

ENGINES: Final = (
    Candidate("openvino", "float32", 4),
    Candidate("onnxruntime", "float32", 4, (("graph_optimization", "off"),)),
    Candidate("paddle", "float32", 4, (("mkldnn_cache_capacity", 64), ("run_mode", "mkldnn"))),
)
"""Candidates of the processors that between them have every setting."""

ON_DEVICES: Final = (
    Candidate("tensorrt", "tf32", 1, (("optimization_level", 3), ("workspace_mebibytes", 1024)), "gpu"),
    Candidate("onnxruntime", "float32", 1, (("execution_provider", "tensorrt"),), "gpu"),
    Candidate("paddle", "float16", 1, (("run_mode", "trt"),), "gpu"),
    Candidate("om", "float16", 1, (), "npu"),
)
"""Candidates of accelerators that between them have every setting."""

FULL_WISH: Final = Wish(
    execution_provider="cuda", shapes=(("x", PROFILE["x"]),), workspace_mebibytes=1024, optimization_level=3
)
"""A wish with everything that a key has only where it is set."""


def a_conversion() -> Document:
    """Return what shapes a converted ONNX file, as the converter's own module says it."""
    here = Path("model")
    model = PaddleModel(here, here / "inference.json", here / "inference.pdiparams", "pir", 3, a_digest(4))
    versions = {
        "paddlepaddle": "3.2.2",
        "paddle2onnx": "2.1.0",
        "onnx": "1.17.0",
        "onnx-graphsurgeon": "0.6.1",
        "onnxruntime": "1.31.1",
    }
    return conversion_document(model, PluginEnvironment("paddle2onnx", Path("python"), a_digest(2), versions))


def a_model(**changes: Any) -> ModelKey:
    """Return a model in Paddle's format with an ONNX file beside it, with fields changed."""
    fields = {
        "name": "det",
        "digest": a_digest(4),
        "format": "paddle",
        "conversion": a_conversion(),
        "onnx_digest": a_digest(5),
    }
    return ModelKey(**{**fields, **changes})


def an_engine_document(candidate: Candidate = ENGINES[0], **changes: Any) -> Document:
    """Return the document that names an engine, with arguments of `engine_document` changed."""
    arguments: dict[str, Any] = {
        "model": a_model(),
        "profile": PROFILE,
        "hardware": OF_DEVICE[candidate.device],
        "installation": an_installation(candidate.device),
        "granularity": LIMITED,
    }
    return engine_document(candidate=candidate, **{**arguments, **changes})


def an_installation(device: DeviceKind = "cpu") -> Installation:
    """Return what is installed on a machine that was asked for a device."""
    return replace(INSTALLATION, device_runtimes=DEVICE_RUNTIMES[device])


def a_resolution_document_of(device: DeviceKind, **changes: Any) -> Document:
    """Return the document that names a decision for a device, with arguments of `resolution_document` changed."""
    arguments: dict[str, Any] = {
        "model": a_model(om_digest=a_digest(6)),
        "hardware": OF_DEVICE[device],
        "installation": an_installation(device),
        "granularity": LIMITED,
        "wish": FULL_WISH,
    }
    return a_resolution_document(**{**arguments, **changes})


def a_resolution_document(**changes: Any) -> Document:
    """Return the document that names a decision, with arguments of `resolution_document` changed."""
    arguments: dict[str, Any] = {
        "model": a_model(),
        "wish": Wish(),
        "accuracy": Accuracy(tolerance=1e-3),
        "profile": PROFILE,
        "samples": SAMPLES,
        "row": ROW,
        "hardware": HARDWARE,
        "installation": INSTALLATION,
        "fallback_allowed": True,
        "settings": Settings(),
    }
    return resolution_document(**{**arguments, **changes})
