"""OpenVINO on the CPU, in float32 or bfloat16, from the model file or from the form that it compiled before.

Measured on a 2-core AMD EPYC (Zen 5), openvino 2026.4.1, 2 threads, 2026-11-21, medians of 16 interleaved runs of the
PP-OCRv6 small detector at 1x3x736x1472 and recogniser at 6x3x48x480 (output 27 MB):

    arrays copied in and out (as below)         105 ms / 58 ms
    inputs shared, outputs copied               107 ms / 59 ms
    inputs shared, a fresh output tensor a call 106 ms / 58 ms
    threads not pinned, denormals as zero       107 ms / 57 ms
    input shapes fixed when compiling            97 ms / 59 ms    for callers that have one shape; ours vary

Copying costs nothing that can be measured, and leaves no memory shared with the caller.

The built form gives bit-equal answers at the same speed, loaded in 65 and 58 ms where the model file takes 269 and 181
(2026-11-21). In bfloat16 both run in 0.53 and 0.60 of the time and differ by up to 0.3 of the largest answer.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, Obtained, line_of
from hpi_agent.engines.onnx_file import Declared
from hpi_agent.engines.options import read_options
from hpi_agent.engines.signature import LoadedTensor, Signature, check_signature
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Precision

DEVICE: Final = "CPU"
HINTS: Final[dict[Precision, str]] = {"float32": "f32", "bfloat16": "bf16"}
"""How OpenVINO writes the precisions."""
NARROWED: Final = ("int64", "uint64", "uint32")
"""Integer types that the CPU plugin computes in int32, wrapping or clamping in silence (openvino 2026.4.1)."""
_INT32: Final = np.iinfo(np.int32)
_LAST: Final = -1
"""OpenVINO names places in its own sources first and what happened last."""


class OpenVinoSession:
    """One model in OpenVINO, with one infer request per call in flight."""

    def __init__(self, request: EngineRequest, declared: Declared) -> None:
        """Load a model.

        Args:
            request: What is asked; option: `streams`, calls that are computed at the same time, from 1 (the default)
                to the number of threads, which they share.
            declared: What the model file declares.

        Raises:
            Refused: The model takes or gives float64, which OpenVINO computes in float32; or an option is not allowed.
            EngineFailed: OpenVINO cannot load the model or the built form, or gives another precision, number of
                streams or signature than asked for.
        """
        openvino = import_openvino()
        self._path = request.model_path
        self.inputs = declared.inputs
        self.outputs = declared.outputs
        _refuse_float64(request, declared)
        settings = _settings(request)
        self._compiled: Any = _compile(request, settings) if request.built is None else _import(request, settings)
        check_settings(request, settings, self._compiled)
        check_signature(request, declared, _signature(self._compiled), every_input=False)
        self._fed = self._positions_of_inputs()
        self._answers = self._positions_of_outputs()
        self._idle: deque[Any] = deque()
        self.obtained = Obtained(
            backend="openvino",
            version=openvino.get_version(),
            precision=request.precision,
            threads=int(self._compiled.get_property("INFERENCE_NUM_THREADS")),
            device=",".join(self._compiled.get_property("EXECUTION_DEVICES")),
            from_store=request.built is not None,
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
        # As many requests as calls were ever in flight at once: the streams answer them in turn.
        self._idle.append(request)
        return arrays

    def export(self) -> bytes:
        """Return the built form: what OpenVINO compiled, for `EngineRequest.built`.

        It begins with the release of OpenVINO and the instruction set that it was made for, and is refused by others.
        Damage is not noticed: 50 bytes overwritten gave answers that were off by 4e-2 on probabilities, without a
        message (2026.4.1). Whoever keeps the bytes has to keep their digest.
        """
        return bytes(self._compiled.export_model().getbuffer())

    def close(self) -> None:
        """Free the model."""
        self._idle.clear()
        self._compiled = None

    def _positions_of_inputs(self) -> dict[str, int]:
        ports = {name: position for position, port in enumerate(self._compiled.inputs) for name in port.get_names()}
        # OpenVINO takes inputs out that no operator reads: they are declared, checked and not fed.
        return {spec.name: ports[spec.name] for spec in self.inputs if spec.name in ports}

    def _positions_of_outputs(self) -> list[int]:
        names = {name: position for position, port in enumerate(self._compiled.outputs) for name in port.get_names()}
        return [names[spec.name] for spec in self.outputs]


def build_with_openvino(request: EngineRequest, declared: Declared) -> bytes:
    """Compile a model and return its built form; raises what `OpenVinoSession` raises."""
    session = OpenVinoSession(request, declared)
    try:
        return session.export()
    finally:
        session.close()


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


def _settings(request: EngineRequest) -> dict[str, Any]:
    streams = read_options(request, {"streams": 1})["streams"]
    if not isinstance(streams, int) or isinstance(streams, bool) or not 1 <= streams <= request.threads:
        raise Refused(f"streams must be from 1 to the number of threads, {request.threads}, got {streams!r}")
    return {
        # The default on CPUs with bfloat16 is bfloat16.
        "INFERENCE_PRECISION_HINT": HINTS[request.precision],
        "INFERENCE_NUM_THREADS": request.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": streams,
    }


def _compile(request: EngineRequest, settings: Mapping[str, Any]) -> Any:
    try:
        return _core().compile_model(str(request.model_path), DEVICE, settings)
    except RuntimeError as error:
        raise EngineFailed(
            f"openvino {import_openvino().get_version()} cannot load {request.model_path}: {line_of(error, _LAST)}; "
            "convert the model again with operators of this version, or choose another backend"
        ) from error


def _import(request: EngineRequest, settings: Mapping[str, Any]) -> Any:
    try:
        # The settings again: precision, threads and streams are those given here, not those of the build.
        return _core().import_model(request.built, DEVICE, settings)
    except RuntimeError as error:
        raise EngineFailed(
            f"openvino {import_openvino().get_version()} cannot load the built form of {request.model_path}: "
            f"{_reason_of_import(error)}; build it again"
        ) from error


def _reason_of_import(error: RuntimeError) -> str:
    """Return what OpenVINO says, with both sides when the form was built for another release or instruction set."""
    sides = [line.strip() for line in str(error).splitlines() if line.strip().startswith(("blob:", "current:"))]
    return f"it was built for another one: {', '.join(sides)}" if sides else line_of(error, _LAST)


def check_settings(request: EngineRequest, settings: Mapping[str, Any], compiled: Any) -> None:
    """Fail unless a compiled model has the precision and the streams asked for: to OpenVINO both are hints.

    Raises:
        EngineFailed: It has others, as float32 on a CPU without bfloat16; the text names both.
    """
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    streams = compiled.get_property("NUM_STREAMS")
    if (precision, streams) != (settings["INFERENCE_PRECISION_HINT"], settings["NUM_STREAMS"]):
        raise EngineFailed(
            f"openvino was asked for {settings['INFERENCE_PRECISION_HINT']} in {settings['NUM_STREAMS']} stream(s) and "
            f"gives {precision} in {streams} for {request.model_path}; ask for what this CPU has, or choose another "
            "backend"
        )


def _signature(compiled: Any) -> Signature:
    return Signature(
        [_described(port) for port in compiled.inputs],
        [_described(port) for port in compiled.outputs],
    )


def _described(port: Any) -> LoadedTensor:
    shape, element_type = port.get_partial_shape(), port.get_element_type()
    try:
        dtype = element_type.to_dtype().name
    except RuntimeError:
        dtype = element_type.to_string()
    sizes = None if shape.rank.is_dynamic else tuple(None if size.is_dynamic else size.get_length() for size in shape)
    return LoadedTensor(frozenset(port.get_names()), dtype, sizes)


def _refuse_float64(request: EngineRequest, declared: Declared) -> None:
    names = [spec.name for spec in (*declared.inputs, *declared.outputs) if spec.dtype == "float64"]
    if names:
        raise Refused(
            f"{request.model_path}: {names} are float64, which openvino computes in {request.precision}; "
            "choose the backend onnxruntime"
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
