"""Backends, precisions and tensor types, as data that both processes agree on."""

from __future__ import annotations

from typing import Final, Literal, get_args

Backend = Literal["onnxruntime", "openvino", "paddle"]
"""Inference backends that this release can run. Later releases add more; none is ever renamed."""

BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)

ModelFormat = Literal["onnx", "paddle"]
"""Formats of model files: one ONNX file, or Paddle's program (`inference.json`, `inference.pdmodel`) and weights."""

Precision = Literal["float32", "bfloat16"]
"""Precisions of the arithmetic that this release can ask a backend for."""

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
