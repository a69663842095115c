"""ONNX Runtime on an NVIDIA GPU, by its CUDA or its TensorRT provider; never on the processors in silence.

**What is checked, because ONNX Runtime does not.** Without a library, a driver or a device it takes the CPU provider
and says so in a log line (1.31.1, seen): the session's providers and their settings are compared with what was asked,
the nodes with where they may lie (`onnxruntime_providers`), and the device is named by the driver itself.

**The built form.** The CUDA provider compiles nothing that could be kept. TensorRT's engine is kept inside an ONNX file
of one node (`EPContext`, `trt_ep_context_embed_mode` 1), which can be deserialised and nothing else: the provider's
other cache builds anew for minutes, in silence, whenever its names do not match. That file holds one subgraph, so a
model that TensorRT does not take whole is refused. With explicit profiles for every free dimension the provider never
builds inside a request, and shapes beyond them are refused at the door.

**TF32.** The TensorRT provider leaves TensorRT's default on and has no setting for it: its float32 is TF32 unless
`NVIDIA_TF32_OVERRIDE=0` holds for the whole process, or the GPU has none.

Arrays go in and out as numpy arrays: bound to memory of the device and copied at the end, the answers of PP-OCRv6 take
as long or longer. What has run on a GPU, and what has not: `README.md`.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, Obtained, ShapeProfile
from hpi_agent.engines.built_by import with_builder
from hpi_agent.engines.nvidia_driver import Gpu, NoSuchGpu, describe_gpu
from hpi_agent.engines.onnx_file import Declared
from hpi_agent.engines.onnxruntime import (
    check_builder,
    import_onnxruntime,
    session_options,
    signature_of,
    version_text,
)
from hpi_agent.engines.onnxruntime_libraries import (
    advice_on_memory,
    loaded_tensorrt,
    preload_libraries,
    reason_of,
    why_missing,
)
from hpi_agent.engines.onnxruntime_providers import (
    TENSORRT,
    Placed,
    Provider,
    ProviderWord,
    check_obtained,
    cuda_provider,
    describe_placement,
    read_provider,
    tensorrt_provider,
)
from hpi_agent.engines.onnxruntime_timing import ProviderTiming
from hpi_agent.engines.shape_profiles import check_within, profiles_for
from hpi_agent.engines.signature import check_signature
from hpi_core.errors import EngineFailed, Refused

TF32_OVERRIDE: Final = "NVIDIA_TF32_OVERRIDE"
"""With the value 0 no library of NVIDIA uses TF32, whatever a program asks; they read it once."""
TYPED_SINCE: Final = 11
"""First TensorRT that takes a network's precisions from its tensors alone: ONNX Runtime then leaves out
`trt_fp16_enable` without a word (`NV_TENSORRT_MAJOR < 11` in `tensorrt_execution_provider.cc`)."""
_CONTEXT_FILE: Final = "context.onnx"


class OnnxRuntimeGpuSession:
    """One model in ONNX Runtime on a GPU; its `run` needs no lock and gives new arrays at every call."""

    def __init__(self, request: EngineRequest, declared: Declared) -> None:
        """Load a model.

        Args:
            request: What is asked; options: `execution_provider` (`cuda` or `tensorrt`), and with the former
                `graph_optimization` (`all` or `off`).
            declared: What the model file declares.

        Raises:
            Refused: An option, the precision or the shapes are not allowed.
            EngineFailed: The GPU, the provider, the settings, the placement or the precision obtained is not what was
                asked for, or ONNX Runtime cannot load the model or the built form.
        """
        word, optimized = read_provider(request)
        self._path = request.model_path
        self._memory_bytes = request.device_memory_bytes
        self.inputs = declared.inputs
        self.outputs = declared.outputs
        self._names = [spec.name for spec in declared.outputs]
        self._profiles: tuple[ShapeProfile, ...] = ()
        if word == "tensorrt":
            self._profiles = profiles_for(request, declared.inputs)
            asked = tensorrt_provider(request, declared.inputs, self._profiles)
        else:
            asked = cuda_provider(request, declared.inputs)
        gpu = check_precision(request, word)
        if request.built is not None:
            _check_built(request, word)
        options = session_options(request.threads, optimized and request.built is None)
        self._session: Any = open_session(request, request.built or str(request.model_path), asked, options)
        placement = check_session(request, asked, self._session)
        check_signature(request, declared, signature_of(self._session), every_input=True)
        if request.precision == "float16":
            _check_half(request)
        gpu = describe_gpu(request.device.index) if gpu is None else gpu
        self.obtained = Obtained(
            backend="onnxruntime",
            version=_version(),
            precision=request.precision,
            threads=self._session.get_session_options().intra_op_num_threads,
            device=", ".join(part for part in (gpu.name, asked.name, placement) if part),
            from_store=request.built is not None,
        )

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in declared order.

        Raises:
            Refused: A shape lies beyond those that were compiled for.
            EngineFailed: An operator failed on these arrays.
        """
        check_within(self._profiles, feeds)
        try:
            arrays: list[NDArray[Any]] = self._session.run(self._names, dict(feeds))
        except Exception as error:
            reason = reason_of(error)
            advice = advice_on_memory(self._memory_bytes, reason)
            raise EngineFailed(
                f"onnxruntime failed inside {self._path}: {reason}{f'; {advice}' if advice else ''}"
            ) from error
        return arrays

    def close(self) -> None:
        """Free the model."""
        self._session = None


def build_for_gpu(request: EngineRequest, declared: Declared) -> bytes | None:
    """Compile a model by TensorRT and return its built form; None for the CUDA provider, which has none.

    Raises:
        Refused: An option, the precision or the shapes are not allowed.
        EngineFailed: As by `OnnxRuntimeGpuSession`; or what was built cannot be loaded.
    """
    word, _ = read_provider(request)
    if word == "cuda":
        return None
    profiles = profiles_for(request, declared.inputs)
    gpu = check_precision(request, word)
    gpu = describe_gpu(request.device.index) if gpu is None else gpu
    with tempfile.TemporaryDirectory(prefix="hpi-tensorrt-") as name:
        directory = Path(name)
        asked = tensorrt_provider(request, declared.inputs, profiles)
        timing = None if request.timing_cache is None else ProviderTiming(request.timing_cache, _version(), gpu)
        writing = {
            "trt_dump_ep_context_model": "True",
            "trt_ep_context_embed_mode": "1",
            "trt_ep_context_file_path": str(directory / _CONTEXT_FILE),
            **({} if timing is None else timing.lay_out(directory)),
        }
        asked = Provider(asked.name, {**asked.options, **writing})
        session = open_session(request, str(request.model_path), asked, session_options(request.threads))
        check_session(request, asked, session)
        check_signature(request, declared, signature_of(session), every_input=True)
        del session
        written = directory / _CONTEXT_FILE
        if not written.is_file():
            raise EngineFailed(
                f"{version_text()} compiled {request.model_path} and wrote no engine; install another release of it"
            )
        built = with_builder(written.read_bytes(), _builder(request))
        if timing is not None:
            timing.keep(directory)
    OnnxRuntimeGpuSession(replace(request, built=built), declared).close()
    return built


def open_session(request: EngineRequest, model: str | bytes, asked: Provider, options: Any) -> Any:
    """Return a session that may use one provider, and no other but the one for shapes.

    Raises:
        EngineFailed: This build does not have the provider, or it cannot load the model.
    """
    onnxruntime = import_onnxruntime()
    available = list(onnxruntime.get_available_providers())
    if asked.name not in available:
        raise EngineFailed(
            f"{version_text()} was asked for {asked.name} on {request.device} and has {available}; install "
            "onnxruntime-gpu in place of onnxruntime, as the plugin variants for GPUs do"
        )
    preload_libraries()
    if hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    else:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    what, advice = (
        ("", "choose another execution_provider or backend")
        if request.built is None
        else ("the built form of ", "build it again")
    )
    try:
        session = onnxruntime.InferenceSession(
            model, options, providers=[(asked.name, dict(asked.options))], enable_fallback=0
        )
    except (TypeError, AttributeError):
        # Of ours: ONNX Runtime was called wrongly.
        raise
    except Exception as error:
        missing, reason = why_missing(asked.name), reason_of(error)
        raise EngineFailed(
            f"{version_text()} was asked for {asked.name} on {request.device} and cannot load {what}"
            f"{request.model_path}: {reason}{f' ({missing})' if missing else ''}; "
            f"{advice_on_memory(request.device_memory_bytes, reason) or advice}"
        ) from error
    session.disable_fallback()
    return session


def check_session(request: EngineRequest, asked: Provider, session: Any) -> str:
    """Return which share of the model lies on the processors, for people; empty: none of it.

    Raises:
        EngineFailed: The session has another provider, other settings or another placement than asked for.
    """
    names = list(session.get_providers())
    reason = "" if asked.name in names else why_missing(asked.name)
    check_obtained(asked, str(request.device), names, session.get_provider_options(), reason or "its log says why")
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return ""
    placed = [
        Placed(part.ep_name, tuple(node.op_type for node in part.get_nodes()))
        for part in session.get_provider_graph_assignment_info()
    ]
    return describe_placement(request, asked, placed)


def check_precision(request: EngineRequest, word: ProviderWord) -> Gpu | None:
    """Return the GPU, or None where the driver cannot name it yet: then ONNX Runtime says better what is missing.

    Raises:
        Refused: The environment of this process and the precision asked for exclude one another.
        EngineFailed: There is no such GPU, or it does not have the precision asked for.
    """
    try:
        gpu = describe_gpu(request.device.index)
    except NoSuchGpu:
        raise
    except EngineFailed:
        gpu = None
    overridden = os.environ.get(TF32_OVERRIDE) == "0"
    if request.precision == "tf32" and overridden:
        raise Refused(f"tf32 was asked for and {TF32_OVERRIDE}=0 holds for this process; ask for float32")
    if request.precision == "tf32" and gpu is not None and not gpu.has_tf32:
        raise EngineFailed(f"tf32 was asked for and {gpu.name} computes in float32 alone; ask for float32")
    has_tf32 = gpu is None or gpu.has_tf32
    if request.precision == "float32" and word == "tensorrt" and has_tf32 and not overridden:
        raise Refused(
            "float32 was asked for, and the TensorRT provider of onnxruntime computes in TF32 without a setting for "
            f"it; ask for tf32, choose the backend tensorrt, or set {TF32_OVERRIDE}=0 for this process"
        )
    return gpu


def _check_half(request: EngineRequest) -> None:
    major = loaded_tensorrt()
    if major is not None and major >= TYPED_SINCE:
        raise EngineFailed(
            f"float16 was asked for and onnxruntime with TensorRT {major} computes {request.model_path} in the types "
            "that the file has; choose the backend tensorrt, or convert the model to float16"
        )


def _check_built(request: EngineRequest, word: ProviderWord) -> None:
    assert request.built is not None  # noqa: S101 - the caller looked
    if word == "cuda":
        raise Refused("execution_provider 'cuda' has no built form; give the model file alone")
    check_builder(request, request.built, _builder(request))


def _builder(request: EngineRequest) -> str:
    """Return who made a built form and for what: release, precision, and a digest of the shapes compiled for."""
    shapes = hashlib.sha256(repr(sorted(request.profiles, key=lambda profile: profile.name)).encode()).hexdigest()[:16]
    return f"{version_text()} {TENSORRT} {request.precision} {shapes}"


def _version() -> str:
    cuda = getattr(import_onnxruntime(), "cuda_version", "")
    release: str = import_onnxruntime().__version__
    return f"{release}-cuda{cuda}" if cuda else release
