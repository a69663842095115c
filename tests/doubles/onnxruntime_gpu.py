"""An `onnxruntime` as its build for GPUs presents itself, with a GPU that nobody has here: a module to be imported.

The real build for CPUs computes; what is played is what the providers add: their settings, which nodes they take, what
they round, and the file with TensorRT's engine. Names, defaults and refusals are those of the sources:

    settings              `onnxruntime_settings`
    kernels, engines      `onnxruntime_graph`
    falling back          `onnxruntime/python/onnxruntime_inference_collection.py` (1.31.1), and what onnxruntime-gpu
                          1.31.1 did on a machine without a GPU

It keeps no record of calls: a test sees what an engine answers or raises.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from numpy.typing import NDArray

from doubles.cuda_driver import DoubleOfCudaDriver, PlayedGpu
from doubles.onnxruntime_graph import CPU, CUDA, TENSORRT, Graph, OrtEpAssignedSubgraph
from doubles.onnxruntime_settings import read_cuda, read_tensorrt
from hpi_agent.engines import nvidia_driver, onnxruntime_libraries
from hpi_agent.engines.onnxruntime import import_onnxruntime

# Not by an import of its own, which would report home.
real = import_onnxruntime()
Fail = real.capi.onnxruntime_pybind11_state.Fail
ExecutionMode, GraphOptimizationLevel = real.ExecutionMode, real.GraphOptimizationLevel
SessionOptions = real.SessionOptions
disable_telemetry_events = real.disable_telemetry_events

__version__: str = real.__version__
cuda_version = "13.0"

RECORD: Final = "session.record_ep_graph_assignment_info"
NO_FALLBACK: Final = "session.disable_cpu_ep_fallback"


@dataclass(frozen=True)
class Machine:
    """Where the module believes to be."""

    built_with: tuple[str, ...] = (TENSORRT, CUDA, CPU)
    loads: frozenset[str] = frozenset({TENSORRT, CUDA})
    """Providers whose libraries are all there."""
    gpus: tuple[PlayedGpu, ...] = (PlayedGpu("NVIDIA H100 80GB HBM3", (9, 0), 80 * 2**30),)
    obeys: bool = True
    """Whether the providers keep the settings that they are given; a real one is trusted in that by nobody."""


_machine = Machine()
_severity = 2
"""What the default logger writes from: warnings, until it is told otherwise."""


def set_default_logger_severity(severity: int) -> None:
    """Have the default logger keep quiet below a severity."""
    global _severity
    _severity = severity


@contextlib.contextmanager
def presented(machine: Machine | None = None) -> Iterator[None]:
    """Be the `onnxruntime` that is imported, on a machine with a GPU, as long as the context lasts."""
    global _machine, _severity
    before, _machine, _severity = _machine, machine or Machine(), 2
    onnxruntime_libraries.preload_libraries.cache_clear()
    try:
        with (
            patch.dict(sys.modules, {"onnxruntime": sys.modules[__name__]}),
            patch.object(nvidia_driver, "load_driver", lambda: DoubleOfCudaDriver(_machine.gpus)),
        ):
            yield
    finally:
        _machine = before
        onnxruntime_libraries.preload_libraries.cache_clear()


def get_available_providers() -> list[str]:
    """Return what this build was made with, whether it loads or not."""
    return list(_machine.built_with)


def preload_dlls(cuda: bool = True, cudnn: bool = True, msvc: bool = True, directory: str | None = None) -> None:
    """Load nothing: there is nothing."""


class OlderInferenceSession:
    """One model in a release before 1.24, which cannot say which nodes lie where."""

    def __init__(
        self,
        path_or_bytes: str | bytes,
        sess_options: Any = None,
        providers: Sequence[str | tuple[str, dict[Any, Any]]] | None = None,
        provider_options: Sequence[dict[Any, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        assert provider_options is None, "the engines give settings with the names of providers"
        self._options = SessionOptions() if sess_options is None else sess_options
        asked = [
            (one, {}) if isinstance(one, str) else (one[0], {str(name): str(value) for name, value in one[1].items()})
            for one in (get_available_providers() if providers is None else providers)
        ]
        try:
            self._create(path_or_bytes, asked)
        except (ValueError, RuntimeError):
            if int(kwargs.get("enable_fallback", 1)) != 1:
                raise
            self._create(path_or_bytes, [(CPU, {})])

    def _create(self, path_or_bytes: str | bytes, asked: Sequence[tuple[str, dict[str, str]]]) -> None:
        content = path_or_bytes if isinstance(path_or_bytes, bytes) else Path(path_or_bytes).read_bytes()
        if asked[0][0] == CUDA and _severity <= 2:
            print(f"[W:onnxruntime:Default] No registered plugin EP device found for '{CUDA}'", file=sys.stderr)
        self._settings = {name: _read_settings(name, given) for name, given in asked if _is_there(name)}
        self._settings[CPU] = {}
        self._first = next(iter(self._settings))
        # The weights alone do not fit; the text is that of an H100, with its place in the sources.
        if self._first == CUDA and (limit := int(self._settings[CUDA]["gpu_mem_limit"])) < len(content):
            raise Fail(
                "[ONNXRuntimeError] : 1 : FAIL : Exception during initialization: "
                "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* "
                "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "
                f"Available memory of {limit} is smaller than requested bytes of {len(content)}\n"
            )
        self._graph = Graph(content, self._first, self._settings[self._first])
        self._placed = self._graph.place()
        if _entry(self._options, NO_FALLBACK) == "1" and any(one.ep_name == CPU for one in self._placed):
            raise Fail(
                "[ONNXRuntimeError] : 1 : FAIL : This session contains graph nodes that are assigned to the default "
                "CPU EP, but fallback to CPU EP has been explicitly disabled by the user."
            )
        self._real = real.InferenceSession(self._graph.content, _cpu_options(self._options), providers=[CPU])
        if self._first == TENSORRT and self._graph.engine is None:
            self._graph.compile()

    def disable_fallback(self) -> None:
        """Do nothing: `run` never falls back here."""

    def get_providers(self) -> list[str]:
        return list(self._settings)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {name: dict(settings) for name, settings in self._settings.items()}

    def get_session_options(self) -> Any:
        return self._options

    def get_inputs(self) -> Any:
        return self._real.get_inputs()

    def get_outputs(self) -> Any:
        return self._real.get_outputs()

    def run(
        self, output_names: Sequence[str], input_feed: Mapping[str, NDArray[Any]], run_options: Any = None
    ) -> list[NDArray[Any]]:
        self._graph.check_shapes(input_feed)
        fed = {name: self._graph.round_input(array) for name, array in input_feed.items()}
        return [self._graph.round_output(array) for array in self._real.run(list(output_names), fed)]


class InferenceSession(OlderInferenceSession):
    """One model."""

    def get_provider_graph_assignment_info(self) -> list[OrtEpAssignedSubgraph]:
        if _entry(self._options, RECORD) != "1":
            raise Fail(f"[ONNXRuntimeError] : 1 : FAIL : entry '{RECORD}' must be set to \"1\"")
        return list(self._placed)


def _is_there(provider: str) -> bool:
    if provider not in _machine.built_with:
        raise ValueError(f"Unknown Provider Type: {provider}")
    if provider == TENSORRT and provider not in _machine.loads:
        raise RuntimeError("Please install TensorRT libraries as mentioned in the GPU requirements page")
    # The CUDA provider is left out without an error: the defect that the engines guard against.
    return provider == CPU or provider in _machine.loads


def _read_settings(provider: str, given: Mapping[str, str]) -> dict[str, str]:
    if provider == CPU:
        return {}
    read = read_cuda(given) if provider == CUDA else read_tensorrt(given)
    index, count = int(read["device_id"]), len(_machine.gpus)
    if not 0 <= index < count:
        raise RuntimeError(f"Invalid device ID: {index}, must be between 0 (inclusive) and {count} (exclusive).")
    if not _machine.obeys:
        return {**read, **({"use_tf32": "1"} if provider == CUDA else {"trt_fp16_enable": "0"})}
    return read


def _entry(options: Any, name: str) -> str:
    try:
        value: str = options.get_session_config_entry(name)
    except RuntimeError:
        return "0"
    return value


def _cpu_options(options: Any) -> Any:
    """Return options for the session that computes, which is asked for no provider but its own."""
    made = SessionOptions()
    for name in ("intra_op_num_threads", "inter_op_num_threads", "execution_mode", "log_severity_level"):
        setattr(made, name, getattr(options, name))
    made.graph_optimization_level = options.graph_optimization_level
    made.add_session_config_entry("session.force_spinning_stop", "1")
    return made


def machine_without(*providers: str, **changes: Any) -> Machine:
    """Return a machine on which the libraries of some providers are missing."""
    return replace(Machine(**changes), loads=Machine().loads - set(providers))
