"""ONNX Runtime on the CPU, in float32.

Measured on a 2-core AMD EPYC (Zen 5), onnxruntime 1.31.1, 2 threads, 2026-11-21, medians of 16 interleaved runs of the
PP-OCRv6 small detector at 1x3x736x1472 and recogniser at 6x3x48x480:

    as below                 130 ms / 63 ms
    without the memory arena 187 ms / 91 ms    the one setting that matters: it stays on
    without spinning         132 ms / 65 ms
    memory patterns off, no prepacking, denormals as zero, other block sizes, OrtValue outputs: within 2 ms
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, Obtained, line_of
from hpi_agent.engines.onnx_file import Declared, read_onnx
from hpi_core.errors import EngineFailed
from hpi_core.formats import DType

PROVIDERS: Final = ("CPUExecutionProvider",)
_ERROR: Final = 3
_TYPES: Final[dict[str, DType]] = {
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
    "tensor(uint16)": "uint16",
    "tensor(uint32)": "uint32",
    "tensor(uint64)": "uint64",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}


class OnnxRuntimeSession:
    """One model in ONNX Runtime; its `run` needs no lock and gives new arrays at every call."""

    def __init__(self, request: EngineRequest, declared: Declared) -> None:
        """Load a model.

        Raises:
            EngineFailed: ONNX Runtime cannot load the model, or gives another provider or signature than asked for.
        """
        onnxruntime = import_onnxruntime()
        self._path = request.model_path
        self.inputs = declared.inputs
        self.outputs = declared.outputs
        self._names = [spec.name for spec in declared.outputs]
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(request.model_path), _options(request.threads), providers=list(PROVIDERS)
            )
        except Exception as error:
            # ONNX Runtime derives its errors from Exception, each on its own.
            raise EngineFailed(
                f"onnxruntime {onnxruntime.__version__} cannot load {request.model_path}: {line_of(error, 0)}; "
                "convert the model again with operators of this version, or choose another backend"
            ) from error
        self._session.disable_fallback()
        self._check_providers()
        self._check_signature()
        self.obtained = Obtained(
            backend="onnxruntime",
            version=onnxruntime.__version__,
            precision="float32",
            threads=self._session.get_session_options().intra_op_num_threads,
            device=self._session.get_providers()[0],
        )

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in declared order.

        Raises:
            EngineFailed: An operator failed on these arrays.
        """
        try:
            arrays: list[NDArray[Any]] = self._session.run(self._names, dict(feeds))
        except Exception as error:
            raise EngineFailed(f"onnxruntime failed inside {self._path}: {line_of(error, 0)}") from error
        return arrays

    def close(self) -> None:
        """Free the model."""
        self._session = None

    def _check_providers(self) -> None:
        # The GPU build falls back to the CPU in silence when a library is missing; the same check serves every build.
        obtained = tuple(self._session.get_providers())
        if obtained != PROVIDERS:
            raise EngineFailed(
                f"onnxruntime was asked for {list(PROVIDERS)} and gives {list(obtained)}; "
                "install the onnxruntime build of this plugin variant"
            )

    def _check_signature(self) -> None:
        loaded = [
            {value.name: _TYPES.get(value.type, value.type) for value in values}
            for values in (self._session.get_inputs(), self._session.get_outputs())
        ]
        wanted: list[dict[str, str]] = [
            {spec.name: spec.dtype for spec in specs} for specs in (self.inputs, self.outputs)
        ]
        if loaded != wanted:
            raise EngineFailed(f"{self._path} declares {wanted}, onnxruntime loaded {loaded}; convert the model again")


def read_metadata(path: Path) -> dict[str, str]:
    """Return the custom metadata of an ONNX file.

    Raises:
        EngineFailed: The file is not an ONNX model.
        Refused: A tensor of the file is stored in another file.
    """
    return read_onnx(path).metadata


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without its telemetry.

    Since 1.29 the official Linux builds send the name and hashes of every model to mobile.events.data.microsoft.com and
    keep a device identifier under ~/.cache, unless this variable is set before the first import
    (https://github.com/microsoft/onnxruntime/pull/27379). The call in Python comes too late for the first event.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _options(threads: int) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Less than ALL leaves out the blocked memory layout, which is worth 1.7 to 3.4 times on convolutions.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = _ERROR
    # Threads go on spinning for 35 ms after a run unless they are told not to (1.31.1, seen as processor time after the
    # end of `run`): on cores that the next model of the pipeline, or whatever follows, needs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options
