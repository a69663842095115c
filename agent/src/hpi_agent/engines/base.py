"""The contract of an engine: load, describe, infer, close; every tensor is checked at this door.

A runtime implements `Session` (names and arrays in, arrays out, no checks). `Engine` wraps one session, refuses what
the model does not declare, and says which backend, precision and thread count were asked for and obtained.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hpi_core.errors import Refused
from hpi_core.formats import Backend, DeviceKind, DType, Precision

MAX_TENSOR_BYTES: Final = 2**31 - 1
"""Largest tensor an engine takes: every runtime here counts bytes of one tensor in 31 bits somewhere. Unit: bytes."""

MAX_THREADS: Final = 1024
"""More threads than any machine here has cores: beyond it a number is a mistake."""

MAX_DEVICE_INDEX: Final = 63
"""More devices than any machine has: beyond it a number is a mistake."""


@dataclass(frozen=True)
class TensorSpec:
    """What a model declares of one input or output."""

    name: str
    dtype: DType
    shape: tuple[int | None, ...]
    """Dimensions; None stands for a dimension that the caller chooses."""


@dataclass(frozen=True)
class Device:
    """What computes."""

    kind: DeviceKind = "cpu"
    index: int = 0
    """Number of the device among those that this process sees; 0 for the processors."""

    def __str__(self) -> str:
        """Return PaddleX's word for it: `cpu`, `gpu:0`."""
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"


CPU: Final = Device()


@dataclass(frozen=True)
class ShapeProfile:
    """The shapes that one input may take, for a backend that compiles for them."""

    name: str
    smallest: tuple[int, ...]
    usual: tuple[int, ...]
    """The shape that the engine is tuned for; every dimension from that of `smallest` to that of `largest`."""
    largest: tuple[int, ...]


@dataclass(frozen=True)
class EngineRequest:
    """What is asked of a backend when it loads a model."""

    model_path: Path
    """An ONNX file; for the backend `paddle` the program file (`inference.json` or `inference.pdmodel`) beside its
    weights; for `om` an offline model. It is opened for reading and never written."""
    backend: Backend
    threads: int
    """Threads of one inference, at least 1. Callers take it from the whole cores left by the cgroup."""
    precision: Precision = "float32"
    options: tuple[tuple[str, str | int], ...] = ()
    """Settings of the backend, sorted by name; see `hpi_agent.select.candidate.Candidate.options`."""
    built: bytes | None = field(default=None, repr=False)
    """The built form of this very request, as `hpi_agent.engines.registry.build_engine` gave it and the store kept it;
    verified by the caller. None: the model file itself is compiled or optimised while it is loaded."""
    interpreter: Path | None = None
    """The Python that has the backend `paddle`; None: the one that runs this program."""
    device: Device = CPU
    """What has to compute. An engine that cannot compute there fails; it never computes elsewhere."""
    profiles: tuple[ShapeProfile, ...] = ()
    """Shapes to compile for, by input; empty: those that the model file fixes."""
    device_memory_bytes: int | None = None
    """Most memory of the device that building and running may take; None: what is free. Unit: bytes."""
    timing_cache: Path | None = None
    """A file with measurements of kernels on this very device, read where it is there and replaced after a build; it
    makes a second build shorter. None: no such file."""


@dataclass(frozen=True)
class Obtained:
    """What a backend really gave, beside what was asked."""

    backend: Backend
    version: str
    """Version of the runtime as loaded, not as installed."""
    precision: Precision
    """Precision of the arithmetic."""
    threads: int
    """Threads of one inference, as the runtime reports them: OpenVINO never takes more than the cores it sees."""
    device: str
    """What computes, as the runtime calls it: `CPUExecutionProvider`, `CPU`, `NVIDIA H100 80GB HBM3`."""
    from_store: bool = False
    """Whether the built form was loaded; False: compiled or optimised from the model file just now."""


class Session(Protocol):
    """One loaded model of one runtime. Implementations trust their caller: `Engine` has checked every array."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the model file declares of its inputs."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model file declares of its outputs."""

    @property
    def obtained(self) -> Obtained:
        """What the backend really gave."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return one array per declared output, in order; the caller owns them. Safe from several threads at once."""

    def close(self) -> None:
        """Free the model's memory. Called once, when no `run` is in flight."""


class Engine:
    """A loaded model that answers named arrays with named arrays.

    `infer` may be called from several threads at once. `close` waits for calls in flight; afterwards `infer` is
    refused.
    """

    def __init__(self, session: Session, request: EngineRequest) -> None:
        self._session = session
        self.request: Final = request
        self.obtained: Final = session.obtained
        self.inputs: Final = session.inputs
        self.outputs: Final = session.outputs
        self._in_flight = 0
        self._closed = False
        self._idle = threading.Condition()

    def infer(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model once. The arrays given are read, never changed and never kept.

        Args:
            feeds: One array per declared input, by name, with the declared dtype and a shape that fits the
                declared one. Arrays that are not C-contiguous or not in native byte order are copied.

        Returns:
            One array per declared output, by name. The arrays belong to the caller: a later call never changes them.

        Raises:
            Refused: A name is missing or unknown, a dtype or shape differs, a dimension is 0, or the engine is closed.
            EngineFailed: The runtime failed on arrays that fit the declaration.
        """
        checked = check_feeds(self.inputs, feeds)
        with self._idle:
            if self._closed:
                raise Refused("this engine is closed; load the model again")
            self._in_flight += 1
        try:
            arrays = self._session.run(checked)
        finally:
            with self._idle:
                self._in_flight -= 1
                self._idle.notify_all()
        return {spec.name: array for spec, array in zip(self.outputs, arrays, strict=True)}

    def close(self) -> None:
        """Wait for calls in flight and free the model; a second call does nothing."""
        with self._idle:
            if self._closed:
                return
            self._closed = True
            self._idle.wait_for(lambda: self._in_flight == 0)
        self._session.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_feeds(specs: tuple[TensorSpec, ...], feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the feeds in declared order, contiguous and in native byte order.

    Raises:
        Refused: A name is missing or unknown, or a dtype or a shape does not fit; the text names both sides.
    """
    declared = [spec.name for spec in specs]
    missing = [name for name in declared if name not in feeds]
    unknown = [name for name in feeds if name not in declared]
    if missing or unknown:
        raise Refused(
            f"inputs must be exactly {declared}, got {list(feeds)}"
            + (f"; missing: {missing}" if missing else "")
            + (f"; unknown: {unknown}" if unknown else "")
        )
    return {spec.name: check_array(spec, feeds[spec.name]) for spec in specs}


def check_array(spec: TensorSpec, array: NDArray[Any]) -> NDArray[Any]:
    """Return one array, contiguous and in native byte order, if it fits its declaration.

    Raises:
        Refused: The dtype or the shape differs from the declaration, a dimension is 0, or the array is too large.
    """
    if not isinstance(array, np.ndarray):
        raise Refused(f"input {spec.name!r} must be a numpy array, got {type(array).__name__}")
    if array.dtype.name != spec.dtype:
        raise Refused(f"input {spec.name!r} must have dtype {spec.dtype}, got {array.dtype.name}; convert it first")
    fits = len(array.shape) == len(spec.shape) and all(
        size > 0 and wanted in (None, size) for size, wanted in zip(array.shape, spec.shape, strict=False)
    )
    if not fits:
        raise Refused(
            f"input {spec.name!r} must have shape {format_shape(spec.shape)} with every dimension at least 1, "
            f"got {format_shape(array.shape)}"
        )
    if array.nbytes > MAX_TENSOR_BYTES:
        raise Refused(f"input {spec.name!r} has {array.nbytes} bytes; at most {MAX_TENSOR_BYTES} are allowed")
    # Not ascontiguousarray: that one turns a scalar into a vector.
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def format_shape(shape: tuple[int | None, ...]) -> str:
    """Return a shape for people: `(?, 3, 48, ?)`, where `?` is free."""
    return (
        "(" + ", ".join("?" if size is None else str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"
    )


MAX_REASON_CHARACTERS: Final = 300


def line_of(error: BaseException, position: int) -> str:
    """Return one line of a runtime's message, at most 300 characters, or the error's type when it says nothing.

    Args:
        error: What the runtime raised.
        position: 0 for the first line, -1 for the last: each runtime has its own place for what happened.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = lines[position]
    return line if len(line) <= MAX_REASON_CHARACTERS else line[: MAX_REASON_CHARACTERS - 1] + "…"
