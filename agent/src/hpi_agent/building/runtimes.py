"""Which runtimes are installed for each kind of device, and in which versions; none of them is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from hpi_agent.engines.registry import runtime_version
from hpi_agent.plugins.environment import PluginEnvironment
from hpi_agent.select.backend_config import BACKEND_DEVICES
from hpi_core.formats import BACKENDS, Backend, DeviceKind

BUILDS: Final[Mapping[tuple[Backend, DeviceKind], str]] = {
    ("onnxruntime", "gpu"): "onnxruntime-gpu",
    ("paddle", "gpu"): "paddlepaddle-gpu",
    ("paddle", "npu"): "paddle-custom-npu",
}
"""The package without which a backend of several devices computes on the processors alone."""

PADDLE: Final = "paddlepaddle"


def processor_runtimes(environment: PluginEnvironment | None) -> dict[Backend, str | None]:
    """Return the version of every backend that computes on the processors, None where it is not installed.

    Args:
        environment: The locked environment with Paddle, or None: Paddle is looked for beside this program.

    Raises:
        EngineFailed: Two packages of one backend are installed in two releases.
    """
    return {
        backend: environment.versions.get(PADDLE)
        if backend == "paddle" and environment is not None
        else runtime_version(backend)
        for backend in _backends_of("cpu")
    }


def device_runtimes(device: DeviceKind) -> dict[Backend, str | None]:
    """Return the version of every backend that computes on an accelerator, None where no such build is installed.

    They are those of this program's own environment: the locked one that converts models has Paddle for processors.

    Args:
        device: Its kind; the processors have none of these.

    Raises:
        EngineFailed: Two packages of one backend are installed in two releases.
    """
    if device == "cpu":
        return {}
    return {backend: _installed(backend, device) for backend in _backends_of(device)}


def _backends_of(device: DeviceKind) -> tuple[Backend, ...]:
    return tuple(backend for backend in BACKENDS if device in BACKEND_DEVICES[backend])


def _installed(backend: Backend, device: DeviceKind) -> str | None:
    package = BUILDS.get((backend, device))
    if package is None:
        return runtime_version(backend)
    try:
        return version(package)
    except PackageNotFoundError:
        return None
