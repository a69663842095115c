"""OpenVINO on the CPU, in float32.

Measured on a 2-core AMD EPYC (Zen 5), openvino 2026.4.1, 2 threads, 2026-11-21, medians of 16 interleaved runs of the
PP-OCRv6 small detector at 1x3x736x1472 and recogniser at 6x3x48x480 (output 27 MB):

    arrays copied in and out (as below)         105 ms / 58 ms
    inputs shared, outputs copied               107 ms / 59 ms
    inputs shared, a fresh output tensor a call 106 ms / 58 ms
    threads not pinned, denormals as zero       107 ms / 57 ms
    input shapes fixed when compiling            97 ms / 59 ms    for callers that have one shape; ours vary

Copying costs nothing that can be measured, and leaves no memory shared with the caller.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, Obtained, line_of
from hpi_agent.engines.onnx_file import Declared
from hpi_agent.engines.sealed_files import remove_unsealed_files, seal_files
from hpi_core.errors import EngineFailed, Refused

DEVICE: Final = "CPU"
BLOBS: Final = "*.blob"
NARROWED: Final = ("int64", "uint64", "uint32")
"""Integer types that the CPU plugin computes in int32, wrapping or clamping in silence (openvino 2026.4.1)."""
_INT32: Final = np.iinfo(np.int32)
_LAST: Final = -1
"""OpenVINO names places in its own sources first and what happened last."""


class OpenVinoSession:
    """One model in OpenVINO, with one infer request per call in flight."""

    def __init__(self, request: EngineRequest, declared: Declared) -> None:
        """Load a model.

        Raises:
            Refused: The model takes or gives float64, which OpenVINO computes in float32.
            EngineFailed: OpenVINO cannot load the model, or gives another precision or signature than asked for.
        """
        openvino = import_openvino()
        self._path = request.model_path
        self.inputs = declared.inputs
        self.outputs = declared.outputs
        _refuse_float64(request.model_path, declared)
        self._compiled: Any = _compile(request)
        self._check_precision()
        self._fed = self._positions_of_inputs()
        self._answers = self._positions_of_outputs()
        self._idle: deque[Any] = deque()
        self.obtained = Obtained(
            backend="openvino",
            version=openvino.get_version(),
            precision="float32",
            threads=int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
            device=",".join(self._compiled.get_property("EXECUTION_DEVICES")),
            from_cache=bool(self._compiled.get_property("LOADED_FROM_CACHE")),
        )

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in declared order.

        Raises:
            Refused: An integer does not fit the 32 bits that OpenVINO computes with.
            EngineFailed: An operator failed on these arrays.
        """
        for name, array in feeds.items():
            _check_range(name, array)
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        try:
            fed = {self._fed[name]: array for name, array in feeds.items() if name in self._fed}
            # Never `infer`: with one thread it swallows an operator's failure and leaves the answer of the call before,
            # perhaps another user's, in the outputs (openvino 2026.4.1). Waiting for an asynchronous call raises, and
            # costs 10 to 28 microseconds.
            request.start_async(fed, share_inputs=False)
            request.wait()
            # The request writes to the same memory at its next call, so this copy is what the caller owns.
            arrays = [np.array(request.get_output_tensor(position).data) for position in self._answers]
        except RuntimeError as error:
            # The request is dropped: nothing promises that it is fit for another call.
            raise EngineFailed(f"openvino failed inside {self._path}: {line_of(error, _LAST)}") from error
        # As many requests as calls were ever in flight at once: the one stream answers them in turn.
        self._idle.append(request)
        return arrays

    def close(self) -> None:
        """Free the model."""
        self._idle.clear()
        self._compiled = None

    def _check_precision(self) -> None:
        # The default on CPUs with bfloat16 is bfloat16, and the hint is only a hint.
        obtained = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if obtained != "f32":
            raise EngineFailed(
                f"openvino was asked for f32 and compiled {self._path} for {obtained}; choose the backend onnxruntime"
            )

    def _positions_of_inputs(self) -> dict[str, int]:
        ports = {name: position for position, port in enumerate(self._compiled.inputs) for name in port.get_names()}
        undeclared = [
            sorted(port.get_names())
            for port in self._compiled.inputs
            if port.get_names().isdisjoint(spec.name for spec in self.inputs)
        ]
        if undeclared:
            raise EngineFailed(f"openvino wants inputs that {self._path} does not declare: {undeclared}")
        # OpenVINO takes inputs out that no operator reads: they are declared, checked and not fed.
        return {spec.name: ports[spec.name] for spec in self.inputs if spec.name in ports}

    def _positions_of_outputs(self) -> list[int]:
        ports = list(self._compiled.outputs)
        names = {name: position for position, port in enumerate(ports) for name in port.get_names()}
        for spec in self.outputs:
            if spec.name not in names or ports[names[spec.name]].get_element_type().to_dtype() != np.dtype(spec.dtype):
                loaded = [(sorted(port.get_names()), port.get_element_type().to_string()) for port in ports]
                raise EngineFailed(
                    f"{self._path} declares output {spec.name!r} of {spec.dtype}, openvino loaded {loaded}; "
                    "convert the model again"
                )
        return [names[spec.name] for spec in self.outputs]


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry.

    `import openvino` alone forks a child that posts an event to Google Analytics and writes to ~/intel, unless the
    package openvino_telemetry cannot be imported (openvino 2026.4.1; it asks for no consent and has no other switch).
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = cast(Any, None)
    import openvino

    return openvino


@cache
def _core() -> Any:
    # One for the process: a new one costs 15 ms a load and frees nothing more (400 loads, same memory).
    return import_openvino().Core()


def _compile(request: EngineRequest) -> Any:
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": request.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    directory = request.cache_directory
    if directory is not None:
        settings["CACHE_DIR"] = str(directory)
        _in_cache(directory, remove_unsealed_files)
    try:
        # By path: with a filled cache OpenVINO then skips reading the ONNX file (75 ms instead of 155).
        compiled = _core().compile_model(str(request.model_path), DEVICE, settings)
    except RuntimeError as error:
        raise EngineFailed(
            f"openvino {import_openvino().get_version()} cannot load {request.model_path}: {line_of(error, _LAST)}; "
            "convert the model again with operators of this version, or choose another backend"
        ) from error
    if directory is not None:
        _in_cache(directory, seal_files)
        if not any(directory.glob(BLOBS)):
            # OpenVINO says nothing when it cannot write there.
            raise EngineFailed(f"openvino kept nothing in the compile cache {directory}; give a writable directory")
    return compiled


def _in_cache(directory: Path, act: Callable[[Path, str], object]) -> None:
    try:
        act(directory, BLOBS)
    except OSError as error:
        raise EngineFailed(
            f"the compile cache {directory} cannot be used: {error}; give a writable directory"
        ) from error


def _refuse_float64(path: Path, declared: Declared) -> None:
    names = [spec.name for spec in (*declared.inputs, *declared.outputs) if spec.dtype == "float64"]
    if names:
        raise Refused(
            f"{path}: {names} are float64, which openvino computes in float32; choose the backend onnxruntime"
        )


def _check_range(name: str, array: NDArray[Any]) -> None:
    if array.dtype.name not in NARROWED:
        return
    smallest, largest = int(array.min()), int(array.max())
    if smallest < _INT32.min or largest > _INT32.max:
        raise Refused(
            f"input {name!r} holds values from {smallest} to {largest}; openvino computes {array.dtype.name} in int32, "
            f"from {_INT32.min} to {_INT32.max}; choose the backend onnxruntime"
        )
