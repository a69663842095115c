"""Load a model on a backend by the backend's name; a runtime is imported when its first model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from hpi_agent.engines.base import MAX_DEVICE_INDEX, MAX_THREADS, Engine, EngineRequest, Session
from hpi_agent.engines.onnx_file import read_onnx
from hpi_agent.engines.shape_profiles import check_profiles
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import BACKENDS, Backend, DeviceKind
from hpi_core.spelling import did_you_mean

Loader = Callable[[EngineRequest], Session]
Build = Callable[[EngineRequest], "bytes | None"]

DISTRIBUTIONS: Final[dict[Backend, tuple[str, ...]]] = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "openvino": ("openvino",),
    "paddle": ("paddlepaddle", "paddlepaddle-gpu"),
    "tensorrt": ("tensorrt", "tensorrt-cu12", "tensorrt-cu11"),
    "om": (),
}
"""The packages that have each backend, one of which is installed: those of one backend overwrite each other's files."""

DEVICES: Final[dict[Backend, tuple[DeviceKind, ...]]] = {
    "onnxruntime": ("cpu", "gpu"),
    "openvino": ("cpu",),
    "paddle": ("cpu", "gpu", "npu"),
    "tensorrt": ("gpu",),
    "om": ("npu",),
}
"""What each backend computes on."""


def load_engine(request: EngineRequest) -> Engine:
    """Load a model, from its built form when the request has one.

    Raises:
        Refused: The backend, the device, the thread count, the precision, the shapes or an option is not allowed, or
            the model is stored in several files or needs what the backend cannot compute.
        TooLarge: The model file is larger than ONNX allows.
        EngineFailed: The backend is not installed, or cannot load the model, or computes elsewhere or in another
            precision than asked for, or the built form is damaged, or another release or another model has made it.
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
        EngineFailed: That interpreter cannot be started, or two packages of the backend are installed in two releases.
    """
    if backend == "paddle" and interpreter is not None:
        from hpi_agent.engines.paddle_inference import paddle_version

        return paddle_version(interpreter)
    if backend == "om":
        from hpi_agent.engines.cann import installed_cann

        return installed_cann()
    found: dict[str, str] = {}
    for name in DISTRIBUTIONS[backend]:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    if len(set(found.values())) > 1:
        raise EngineFailed(
            f"the backend {backend} is installed twice, and either may be loaded: "
            f"{', '.join(f'{name} {release}' for name, release in found.items())}; uninstall both, then install one"
        )
    return next(iter(found.values()), None)


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
    hint = did_you_mean(backend, list(BACKENDS))
    raise Refused(f"backend {backend!r} is not known{hint if 'did you mean' in hint else ''}; {allowed}")


def _check_request(request: EngineRequest) -> None:
    if not 1 <= request.threads <= MAX_THREADS:
        raise Refused(f"threads must be from 1 to {MAX_THREADS}, got {request.threads}")
    _check_device(request)
    check_profiles(request.profiles)


def _check_device(request: EngineRequest) -> None:
    device, allowed = request.device, DEVICES[request.backend]
    if device.kind not in allowed:
        able = ", ".join(backend for backend, kinds in DEVICES.items() if device.kind in kinds)
        raise Refused(
            f"the backend {request.backend} computes on {', '.join(allowed)}, {device} was asked for; "
            f"backends for {device.kind}: {able or 'none in this release'}"
        )
    if device.kind == "cpu" and device.index != 0:
        raise Refused(f"the number of a cpu must be 0, got {device.index}")
    if not 0 <= device.index <= MAX_DEVICE_INDEX:
        raise Refused(f"the number of a {device.kind} must be from 0 to {MAX_DEVICE_INDEX}, got {device.index}")
    if request.device_memory_bytes is not None and request.device_memory_bytes < 1:
        raise Refused(f"device_memory_bytes must be at least 1, got {request.device_memory_bytes}")


def _load_with_onnxruntime(request: EngineRequest) -> Session:
    declared = read_onnx(request.model_path, weights=request.built is None)
    if request.device.kind == "gpu":
        from hpi_agent.engines.onnxruntime_gpu import OnnxRuntimeGpuSession

        return OnnxRuntimeGpuSession(request, declared)
    from hpi_agent.engines.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(request, declared)


def _build_with_onnxruntime(request: EngineRequest) -> bytes | None:
    declared = read_onnx(request.model_path)
    if request.device.kind == "gpu":
        from hpi_agent.engines.onnxruntime_gpu import build_for_gpu

        return build_for_gpu(request, declared)
    from hpi_agent.engines.onnxruntime import build_with_onnxruntime

    return build_with_onnxruntime(request, declared)


def _load_with_openvino(request: EngineRequest) -> Session:
    from hpi_agent.engines.openvino import OpenVinoSession

    return OpenVinoSession(request, read_onnx(request.model_path, weights=request.built is None))


def _build_with_openvino(request: EngineRequest) -> bytes:
    from hpi_agent.engines.openvino import build_with_openvino

    return build_with_openvino(request, read_onnx(request.model_path))


def _load_with_paddle(request: EngineRequest) -> Session:
    from hpi_agent.engines.paddle_inference import PaddleInferenceSession

    return PaddleInferenceSession(request)


def _build_with_paddle(request: EngineRequest) -> bytes | None:
    from hpi_agent.engines.paddle_inference import build_with_paddle

    return build_with_paddle(request)


def _load_with_tensorrt(request: EngineRequest) -> Session:
    from hpi_agent.engines.tensorrt import TensorRtSession

    return TensorRtSession(request, read_onnx(request.model_path, weights=request.built is None))


def _build_with_tensorrt(request: EngineRequest) -> bytes:
    from hpi_agent.engines.tensorrt import build_with_tensorrt

    return build_with_tensorrt(request, read_onnx(request.model_path))


def _load_with_om(request: EngineRequest) -> Session:
    from hpi_agent.engines.om import OmSession

    return OmSession(request)


def _build_with_om(request: EngineRequest) -> None:
    from hpi_agent.engines.om import build_with_om

    build_with_om(request)


LOADERS: Final[dict[str, tuple[Loader, Build]]] = {
    "onnxruntime": (_load_with_onnxruntime, _build_with_onnxruntime),
    "openvino": (_load_with_openvino, _build_with_openvino),
    "paddle": (_load_with_paddle, _build_with_paddle),
    "tensorrt": (_load_with_tensorrt, _build_with_tensorrt),
    "om": (_load_with_om, _build_with_om),
}
