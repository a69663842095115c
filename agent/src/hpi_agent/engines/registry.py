"""Load a model on a backend by the backend's name; a runtime is imported when its first model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from hpi_agent.engines.base import MAX_THREADS, Engine, EngineRequest, Session
from hpi_agent.engines.onnx_file import read_onnx
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import BACKENDS, PADDLEX_BACKENDS, Backend
from hpi_core.spelling import did_you_mean

Loader = Callable[[EngineRequest], Session]
Build = Callable[[EngineRequest], "bytes | None"]

DISTRIBUTIONS: Final[dict[Backend, str]] = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "paddle": "paddlepaddle",
}
"""The package that has each backend."""


def load_engine(request: EngineRequest) -> Engine:
    """Load a model, from its built form when the request has one.

    Raises:
        Refused: The backend, the thread count, the precision or an option is not allowed, or the model is stored in
            several files or needs what the backend cannot compute.
        TooLarge: The model file is larger than ONNX allows.
        EngineFailed: The backend is not installed, or cannot load the model, or the built form is damaged, or another
            release or another model has made it.
    """
    load, _ = _loader(request.backend)
    _check_request(request)
    with _importing(request.backend):
        return Engine(load(request), request)


def build_engine(request: EngineRequest) -> bytes | None:
    """Return the built form of a request, to be given back in `EngineRequest.built`; None: there is nothing to build.

    It is for this model, precision and options, this release of the runtime and this kind of processor alone; only the
    number of threads may be another when it is loaded. Nothing in it notices damage: whoever keeps it has to keep its
    digest and compare it first.

    Raises:
        Refused: As by `load_engine`; or the request has a built form already.
        TooLarge: The model file is larger than ONNX allows.
        EngineFailed: The backend is not installed, or cannot compile the model.
    """
    _, build = _loader(request.backend)
    _check_request(request)
    if request.built is not None:
        raise Refused("a built form is made from the model file; the request already has one")
    with _importing(request.backend):
        return build(request)


def runtime_version(backend: Backend, interpreter: Path | None = None) -> str | None:
    """Return the version of a backend's package without importing it, None when it is not installed.

    It is the release (`2026.4.1`); `Obtained.version` begins with it and may say more (`2026.4.1-22982-e213a147257…`).

    Args:
        backend: A backend of this release.
        interpreter: The Python that has the backend `paddle`; None: the one that runs this program.

    Raises:
        EngineFailed: That interpreter cannot be started.
    """
    if backend == "paddle" and interpreter is not None:
        from hpi_agent.engines.paddle_inference import paddle_version

        return paddle_version(interpreter)
    try:
        return version(DISTRIBUTIONS[backend])
    except PackageNotFoundError:
        return None


@contextmanager
def _importing(backend: Backend) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise EngineFailed(
            f"the backend {backend} cannot be imported: {error}; install the plugin variant that has it"
        ) from error


def _loader(backend: str) -> tuple[Loader, Build]:
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


def _load_with_onnxruntime(request: EngineRequest) -> Session:
    from hpi_agent.engines.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(request, read_onnx(request.model_path, weights=request.built is None))


def _build_with_onnxruntime(request: EngineRequest) -> bytes | None:
    from hpi_agent.engines.onnxruntime import build_with_onnxruntime

    return build_with_onnxruntime(request, read_onnx(request.model_path))


def _load_with_openvino(request: EngineRequest) -> Session:
    from hpi_agent.engines.openvino import OpenVinoSession

    return OpenVinoSession(request, read_onnx(request.model_path, weights=request.built is None))


def _build_with_openvino(request: EngineRequest) -> bytes:
    from hpi_agent.engines.openvino import build_with_openvino

    return build_with_openvino(request, read_onnx(request.model_path))


def _load_with_paddle(request: EngineRequest) -> Session:
    from hpi_agent.engines.paddle_inference import PaddleInferenceSession

    if request.built is not None:
        raise Refused("the backend paddle has no built form; give the model files alone")
    return PaddleInferenceSession(request)


def _build_nothing(_: EngineRequest) -> None:
    return None


LOADERS: Final[dict[str, tuple[Loader, Build]]] = {
    "onnxruntime": (_load_with_onnxruntime, _build_with_onnxruntime),
    "openvino": (_load_with_openvino, _build_with_openvino),
    "paddle": (_load_with_paddle, _build_nothing),
}
