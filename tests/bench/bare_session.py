"""A runtime on its own, as somebody would use it who writes a program around it: no checks, no counting, no store.

Settings are those of our engines (`hpi_agent.engines`), so that only what surrounds the runtime differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from numpy.typing import NDArray

from hpi_agent.engines.onnxruntime import import_onnxruntime
from hpi_agent.engines.openvino import HINTS, import_openvino
from hpi_agent.select.candidate import Candidate
from hpi_core.formats import Backend

Feeds = Mapping[str, NDArray[Any]]
Run = Callable[[Feeds], list[NDArray[Any]]]
"""Takes arrays by name and returns the outputs."""

BARE: Final[tuple[Backend, ...]] = ("onnxruntime", "openvino")
"""The runtimes that have a built form, which a bare session can be made of."""


def deserialise(candidate: Candidate, built: bytes) -> Any:
    """Return what the runtime itself makes of a built form: a session, or a compiled model.

    Raises:
        SystemExit: The backend has no built form.
    """
    if candidate.backend == "onnxruntime":
        return _onnxruntime_session(candidate, built)
    if candidate.backend == "openvino":
        return _openvino_model(candidate, built)
    raise SystemExit(f"a bare session is made of a built form, which {candidate.backend} has not; known: {BARE}")


def open_session(candidate: Candidate, built: bytes) -> Run:
    """Return what runs a model on the bare runtime; raises what `deserialise` raises."""
    loaded = deserialise(candidate, built)
    if candidate.backend == "onnxruntime":
        return lambda feeds: cast(list[NDArray[Any]], loaded.run(None, feeds))
    request = loaded.create_infer_request()
    return lambda feeds: list(request.infer(feeds).values())


def warm_up(candidate: Candidate) -> None:
    """Import the runtime, and make what it makes once in a process."""
    if candidate.backend == "onnxruntime":
        import_onnxruntime()
    else:
        _core()


def _onnxruntime_session(candidate: Candidate, built: bytes) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = candidate.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(built, options, providers=["CPUExecutionProvider"])


def _openvino_model(candidate: Candidate, built: bytes) -> Any:
    settings = {
        "INFERENCE_PRECISION_HINT": HINTS[candidate.precision],
        "INFERENCE_NUM_THREADS": candidate.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": candidate.option("streams") or 1,
    }
    return _core().import_model(built, "CPU", settings)


_CORES: Final[list[Any]] = []


def _core() -> Any:
    if not _CORES:
        _CORES.append(import_openvino().Core())
    return _CORES[0]
