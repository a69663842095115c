"""Backends, precisions and tensor types, as data that both processes agree on."""

from __future__ import annotations

from typing import Final, Literal, get_args

Backend = Literal["onnxruntime", "openvino", "paddle", "tensorrt", "om"]
"""Inference backends, by PaddleX's names. Later releases may add more; none is ever renamed."""

BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)

ModelFormat = Literal["onnx", "paddle", "om"]
"""Formats of model files: one ONNX file; Paddle's program (`inference.json`, `inference.pdmodel`) and weights; one
offline model of Ascend (`inference.om`)."""

DeviceKind = Literal["cpu", "gpu", "npu"]
"""What computes, by PaddleX's words: the processors, an NVIDIA GPU, an Ascend NPU."""

DEVICE_KINDS: Final[tuple[DeviceKind, ...]] = get_args(DeviceKind)

Precision = Literal["float32", "tf32", "bfloat16", "float16", "int8"]
"""Precisions of the arithmetic. `tf32` multiplies float32 tensors with 10 bits of mantissa on an NVIDIA GPU: the
default of its libraries, and a precision of its own here."""

PADDLEX_BACKENDS: Final = ("paddle", "openvino", "onnxruntime", "tensorrt", "om")
"""Every backend name that PaddleX's own `hpi_config.backend` allows (paddlex 3.7.2, `HPIConfig`)."""

DType = Literal[
    "bool",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
]
"""Tensor element types, by their numpy names."""

OPEN_INFERENCE_DTYPES: Final[dict[DType, str]] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""The names of the same types in the Open Inference Protocol v2, section "Tensor Data Types"."""
