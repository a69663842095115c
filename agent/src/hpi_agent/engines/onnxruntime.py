"""ONNX Runtime on the CPU, in float32, from the model file or from the form that it optimised before.

Measured on a 2-core AMD EPYC (Zen 5), onnxruntime 1.31.1, 2 threads, 2026-11-21, medians of 16 interleaved runs of the
PP-OCRv6 small detector at 1x3x736x1472 and recogniser at 6x3x48x480:

    as below                 130 ms / 63 ms
    without the memory arena 187 ms / 91 ms    the one setting that matters: it stays on
    without spinning         132 ms / 65 ms
    memory patterns off, no prepacking, denormals as zero, other block sizes, OrtValue outputs: within 2 ms

The built form is the graph after every optimisation, as an ONNX file: bit-equal answers at the same speed, loaded in 14
and 20 ms where the model file takes 31 and 45 (2026-11-21). Its convolutions are laid out in blocks of this processor's
vector length, and nothing in the file says so: it is for the processors that the caller's key names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, Obtained, line_of
from hpi_agent.engines.built_by import builder_of, with_builder
from hpi_agent.engines.onnx_file import Declared, read_onnx
from hpi_agent.engines.onnxruntime_providers import read_provider
from hpi_agent.engines.protobuf_wire import Malformed
from hpi_agent.engines.signature import LoadedTensor, Signature, check_signature
from hpi_core.errors import EngineFailed, Refused
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

        Args:
            request: What is asked; option: `graph_optimization`, `all` (the default) or `off`, which computes the graph
                as the file has it.
            declared: What the model file declares.

        Raises:
            Refused: The precision or an option is not allowed.
            EngineFailed: ONNX Runtime cannot load the model or the built form, or gives another provider or signature
                than asked for.
        """
        onnxruntime = import_onnxruntime()
        self._path = request.model_path
        self.inputs = declared.inputs
        self.outputs = declared.outputs
        self._names = [spec.name for spec in declared.outputs]
        optimized = is_optimized(request)
        if request.built is None:
            self._session: Any = _session(request, str(request.model_path), session_options(request.threads, optimized))
        else:
            check_builder(request, request.built, version_text())
            # Optimised again, it would be no better, and slower to load.
            self._session = _session(request, request.built, session_options(request.threads, optimized=False))
        self._check_providers()
        check_signature(request, declared, signature_of(self._session), every_input=True)
        self.obtained = Obtained(
            backend="onnxruntime",
            version=onnxruntime.__version__,
            precision="float32",
            threads=self._session.get_session_options().intra_op_num_threads,
            device=self._session.get_providers()[0],
            from_store=request.built is not None,
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


def build_with_onnxruntime(request: EngineRequest, declared: Declared) -> bytes | None:
    """Optimise a model and return its built form, or None when the graph is wanted as the file has it.

    Raises:
        Refused: The precision or an option is not allowed.
        EngineFailed: ONNX Runtime cannot load the model or write it.
    """
    if not is_optimized(request):
        return None
    # A file without a name: nothing of it is left behind, however this process ends.
    with open(os.memfd_create("hpi-built-form"), "r+b") as file:
        options = session_options(request.threads)
        options.optimized_model_filepath = f"/proc/self/fd/{file.fileno()}"
        session = _session(request, str(request.model_path), options)
        check_signature(request, declared, signature_of(session), every_input=True)
        return with_builder(file.read(), version_text())


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
    # Else it warns at every load that there is no plugin for CUDA beside its own provider (1.31.1, on an H100).
    onnxruntime.set_default_logger_severity(_ERROR)
    return onnxruntime


def is_optimized(request: EngineRequest) -> bool:
    """Return whether the graph is optimised.

    Raises:
        Refused: The precision or an option is not allowed, or a built form is given for the graph as it is.
    """
    _, optimized = read_provider(request)
    if not optimized and request.built is not None:
        raise Refused(
            "graph_optimization 'off' reads the model file as it is, a built form was given; give one of both"
        )
    return optimized


def _session(request: EngineRequest, model: str | bytes, options: Any) -> Any:
    what, advice = (
        ("", "convert the model again with operators of this version, or choose another backend")
        if request.built is None
        else ("the built form of ", "build it again")
    )
    try:
        session = import_onnxruntime().InferenceSession(model, options, providers=list(PROVIDERS))
    except Exception as error:
        # ONNX Runtime derives its errors from Exception, each on its own.
        raise EngineFailed(
            f"{version_text()} cannot load {what}{request.model_path}: {line_of(error, 0)}; {advice}"
        ) from error
    session.disable_fallback()
    return session


def session_options(threads: int, optimized: bool = True) -> Any:
    """Return the options that every session has."""
    onnxruntime = import_onnxruntime()
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Less than ALL leaves out the blocked memory layout, which is worth 1.7 to 3.4 times on convolutions.
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.log_severity_level = _ERROR
    # Threads go on spinning for 35 ms after a run unless they are told not to (1.31.1, seen as processor time after the
    # end of `run`): on cores that the next model of the pipeline, or whatever follows, needs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def signature_of(session: Any) -> Signature:
    """Return what a session says of its inputs and outputs."""
    return Signature(
        [_described(value) for value in session.get_inputs()],
        [_described(value) for value in session.get_outputs()],
    )


def _described(value: Any) -> LoadedTensor:
    # An unknown number of dimensions and none look alike here.
    shape = tuple(size if isinstance(size, int) else None for size in value.shape) or None
    return LoadedTensor(frozenset([value.name]), _TYPES.get(value.type, value.type), shape)


def version_text() -> str:
    """Return the runtime and its release as loaded: `onnxruntime 1.31.1`."""
    return f"onnxruntime {import_onnxruntime().__version__}"


def check_builder(request: EngineRequest, built: bytes, wanted: str) -> None:
    """Fail unless a built form says that it was made by whom it has to be made.

    ONNX Runtime takes any ONNX file of any release, and answers as that one says.

    Raises:
        EngineFailed: It was made by another, or is cut short; the text names both sides.
    """
    try:
        builder = builder_of(built)
    except Malformed as error:
        raise EngineFailed(
            f"the built form of {request.model_path} is cut short or not one of onnxruntime: {error}; build it again"
        ) from error
    if builder != wanted:
        raise EngineFailed(
            f"the built form of {request.model_path} was written by {builder or 'another program'}, "
            f"{wanted} is loaded; build it again"
        )
