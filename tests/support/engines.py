"""Engines for tests: the ways to compute that the conformance suite runs, and a runtime that lives in memory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import Device, Engine, EngineRequest, Obtained, TensorSpec
from hpi_agent.engines.registry import build_engine
from hpi_core.errors import EngineFailed
from hpi_core.formats import Backend, DType
from support.offline_models import as_offline_model
from support.ways import Way

NO_TENSORRT_TYPES: Final[tuple[DType, ...]] = ("uint16", "int16", "uint32", "uint64")
"""Types of tensors that TensorRT does not have."""

IN_PROCESS: Final[tuple[Backend, ...]] = ("onnxruntime", "openvino")
"""The backends that compute on the processors inside the process that asks; both read ONNX and have built forms."""


def _onnxruntime_for_gpu() -> AbstractContextManager[object]:
    from doubles.onnxruntime_gpu import presented

    return presented()


def _tensorrt() -> AbstractContextManager[object]:
    from doubles.nvidia_runtimes import presented

    return presented()


def _acl() -> AbstractContextManager[object]:
    from doubles.ascend_runtimes import presented

    return presented()


ON_CPU: Final = (Way("onnxruntime", "onnxruntime"), Way("openvino", "openvino"))

ON_DEVICES: Final = (
    Way(
        "onnxruntime-cuda",
        "onnxruntime",
        Device("gpu", 0),
        options=(("execution_provider", "cuda"),),
        # Nothing is compiled that could be kept.
        forms=("file",),
        # Releases before 1.28 have no kernel that adds these (`docs/OperatorKernels.md`).
        leaves=frozenset(f"twice-{dtype}" for dtype in ("uint8", "int8", "uint16", "int16")),
        double=_onnxruntime_for_gpu,
    ),
    Way(
        "onnxruntime-tensorrt",
        "onnxruntime",
        Device("gpu", 0),
        precision="tf32",
        options=(("execution_provider", "tensorrt"),),
        # From the model file every load compiles anew, for seconds.
        forms=("built",),
        # An output that is an input lies outside of what TensorRT compiles, and so outside of what is kept.
        computes=frozenset({"add", "convolution", "loose", "twice-float32"}),
        compiles_for_shapes=True,
        # TF32 keeps 10 bits of mantissa.
        tolerance=2e-3,
        double=_onnxruntime_for_gpu,
    ),
    Way(
        "tensorrt",
        "tensorrt",
        Device("gpu", 0),
        # It adds nothing of these types, and `pairs` has no shape for the smallest of every dimension.
        leaves=frozenset({"pairs", *(f"twice-{dtype}" for dtype in (*NO_TENSORRT_TYPES, "int8", "uint8"))}),
        compiles_for_shapes=True,
        double=_tensorrt,
    ),
    Way(
        "om",
        "om",
        Device("npu", 0),
        forms=("file",),
        computes=frozenset(
            {"add", "convolution", "scalars", "repeated", "default-input", "loose", "pairs", "twice-float32"}
        ),
        fixed_shapes=True,
        write=as_offline_model,
        double=_acl,
    ),
)
"""Ways that need a device. Each runs on its double, or on the device where `HPI_TEST_DEVICES` names it."""

WAYS: Final = (*ON_CPU, *ON_DEVICES)
"""What the conformance suite runs."""

WIDTH: Final = 4


def with_built_form(request: EngineRequest) -> EngineRequest:
    """Return the request together with its built form, made on the spot."""
    built = build_engine(request)
    assert built is not None
    return replace(request, built=built)


class DoublingSession:
    """A model that doubles a float32 matrix of any number of rows."""

    inputs: tuple[TensorSpec, ...] = (TensorSpec("x", "float32", (None, WIDTH)),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec("doubled", "float32", (None, WIDTH)),)

    def __init__(self, request: EngineRequest) -> None:
        self.obtained = Obtained(request.backend, "1.0 of tests", "float32", request.threads, "cpu")
        self.closed = False

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return twice the input, as an array of its own."""
        return [feeds["x"] * np.float32(2)]

    def close(self) -> None:
        """Remember that the memory was given back."""
        self.closed = True


@dataclass
class InMemoryRuntime:
    """Loads `DoublingSession` for every request, except on backends that are broken.

    Attributes:
        broken: Backends that cannot load, with the reason they give.
        sessions: Every session loaded so far, in order.
        requests: Every request made so far, in order, those of broken backends too.
    """

    broken: Mapping[Backend, str] = field(default_factory=dict)
    sessions: list[DoublingSession] = field(default_factory=list)
    requests: list[EngineRequest] = field(default_factory=list)

    def load(self, request: EngineRequest) -> Engine:
        """Return an engine for a request.

        Raises:
            EngineFailed: The backend is one of the broken ones.
        """
        self.requests.append(request)
        if request.backend in self.broken:
            raise EngineFailed(self.broken[request.backend])
        session = DoublingSession(request)
        self.sessions.append(session)
        return Engine(session, request)
