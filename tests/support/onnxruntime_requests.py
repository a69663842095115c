"""Requests for ONNX Runtime's providers of GPUs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.base import Device, EngineRequest
from hpi_core.formats import Precision
from models.graphs import TinyModel
from support.ways import profiles_of

GPU: Final = Device("gpu", 0)


def by_cuda(model: TinyModel, directory: Path, precision: Precision = "float32", **changes: Any) -> EngineRequest:
    """Return a request for the CUDA provider."""
    options = (("execution_provider", "cuda"),)
    return replace(EngineRequest(model.save(directory), "onnxruntime", 1, precision, options, device=GPU), **changes)


def by_tensorrt(model: TinyModel, directory: Path, precision: Precision = "tf32", **changes: Any) -> EngineRequest:
    """Return a request for the TensorRT provider, for shapes up to 64."""
    options = (("execution_provider", "tensorrt"),)
    request = EngineRequest(
        model.save(directory), "onnxruntime", 1, precision, options, device=GPU, profiles=profiles_of(model)
    )
    return replace(request, **changes)
