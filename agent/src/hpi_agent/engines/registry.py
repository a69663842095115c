"""Load a model on a backend by the backend's name; a runtime is imported when its first model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hpi_agent.engines.base import MAX_THREADS, Engine, EngineRequest, Session
from hpi_agent.engines.onnx_file import Declared, read_onnx
from hpi_core.api.manifest import did_you_mean
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import BACKENDS, PADDLEX_BACKENDS

Loader = Callable[[EngineRequest, Declared], Session]


def load_engine(request: EngineRequest) -> Engine:
    """Load a model.

    Raises:
        Refused: The backend, the thread count or the cache directory is not allowed, or the model is stored in several
            files or needs what the backend cannot compute.
        TooLarge: The model file is larger than ONNX allows.
        EngineFailed: The backend is not installed, or cannot load the model.
    """
    loader = _loader(request.backend)
    _check_request(request)
    declared = read_onnx(request.model_path)
    try:
        session = loader(request, declared)
    except ImportError as error:
        raise EngineFailed(
            f"the backend {request.backend} cannot be imported: {error}; install the plugin variant that has it"
        ) from error
    return Engine(session, request)


def _loader(backend: str) -> Loader:
    if backend in LOADERS:
        return LOADERS[backend]
    allowed = f"allowed: {', '.join(BACKENDS)}"
    if backend in PADDLEX_BACKENDS:
        raise Refused(f"backend {backend!r} of PaddleX is not in this release; {allowed}")
    hint = did_you_mean(backend, list(BACKENDS))
    raise Refused(f"backend {backend!r} is not known{hint if 'did you mean' in hint else ''}; {allowed}")


def _check_request(request: EngineRequest) -> None:
    if not 1 <= request.threads <= MAX_THREADS:
        raise Refused(f"threads must be from 1 to {MAX_THREADS}, got {request.threads}")
    directory = request.cache_directory
    if directory is not None and directory.resolve() == request.model_path.resolve().parent:
        raise Refused(f"the compile cache must not be the model's own directory {directory}: that one is never written")


def _onnxruntime(request: EngineRequest, declared: Declared) -> Session:
    from hpi_agent.engines.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(request, declared)


def _openvino(request: EngineRequest, declared: Declared) -> Session:
    from hpi_agent.engines.openvino import OpenVinoSession

    return OpenVinoSession(request, declared)


LOADERS: Final[dict[str, Loader]] = {"onnxruntime": _onnxruntime, "openvino": _openvino}
