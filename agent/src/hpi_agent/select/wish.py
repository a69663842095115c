"""What a user asks of the engine of one model: PaddleX's `hpi_config`, read and checked; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hpi_agent.select.backend_config import (
    BACKEND_DEVICES,
    CONFIG_KEYS,
    MAX_CACHE_CAPACITY,
    MAX_OPTIMIZATION_LEVEL,
    MAX_THREADS,
    MAX_WORKSPACE_MEBIBYTES,
    PRECISION_DEVICES,
    RUN_MODE_DEVICES,
    RUN_MODES,
    checked_config,
    read_precision,
    read_provider,
    read_run_mode,
    read_shapes,
    read_threads,
    read_whole,
)
from hpi_agent.select.shapes import Shapes
from hpi_core.errors import Refused
from hpi_core.formats import BACKENDS, Backend, DeviceKind, Precision
from hpi_core.spelling import did_you_mean

__all__ = ["CONFIG_KEYS", "MAX_CACHE_CAPACITY", "MAX_THREADS", "RUN_MODES", "Wish", "check_device", "read_wish"]

WISH_KEYS: Final = {"auto_config", "backend", "backend_config", "auto_paddle2onnx"}


@dataclass(frozen=True)
class Wish:
    """What a user asks of the engine of one model."""

    backend: Backend | None = None
    """None: the best that is known or measured."""
    exactly: bool = False
    """Whether nothing but `backend` may serve: PaddleX's manual mode (`auto_config: false`)."""
    threads: int | None = None
    """None: on the processors the whole cores left to this process, elsewhere one."""
    precision: Precision | None = None
    """None: float32, TF32 where there is, and whatever the table names or the accuracy level lets in."""
    run_mode: str | None = None
    """Of the backend paddle: `paddle`, `mkldnn` or `trt`; None: all that the device has are candidates."""
    cache_capacity: int | None = None
    """Of the backend paddle with oneDNN: shapes that are kept; None: as many as serve OCR well."""
    conversion_allowed: bool = True
    """PaddleX's `auto_paddle2onnx`."""
    execution_provider: str | None = None
    """Of the backend onnxruntime on a GPU: `cuda` or `tensorrt`; None: both are candidates."""
    shapes: tuple[tuple[str, Shapes], ...] | None = None
    """Shapes to compile for, by input; None: those of the model."""
    workspace_mebibytes: int | None = None
    """Of the backend tensorrt: most memory for one layer's intermediate results; None: what the device allows."""
    optimization_level: int | None = None
    """Of the backend tensorrt: how much of the building time is spent on faster kernels, 0 to 5; None: its default."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, a part of the key under which a decision is remembered.

        What came later is there only where it is set: decisions without it keep their names.
        """
        later = {
            "executionProvider": self.execution_provider,
            "shapes": None if self.shapes is None else {name: [*map(list, shapes)] for name, shapes in self.shapes},
            "workspaceMebibytes": self.workspace_mebibytes,
            "optimizationLevel": self.optimization_level,
        }
        return {
            "backend": self.backend,
            "exactly": self.exactly,
            "threads": self.threads,
            "precision": self.precision,
            "runMode": self.run_mode,
            "cacheCapacity": self.cache_capacity,
            "conversionAllowed": self.conversion_allowed,
            **{name: value for name, value in later.items() if value is not None},
        }


def read_wish(where: str, settings: dict[str, Any]) -> Wish:
    """Return the wish that PaddleX's `hpi_config` dictionary expresses; `check_device` says where it can be honoured.

    Args:
        where: What to call the settings in messages.
        settings: Keys of `WISH_KEYS`; absent and null mean the same.

    Raises:
        Refused: A key or a value is not known; PaddleX itself would drop it in silence.
    """
    for key in settings:
        if key not in WISH_KEYS:
            raise Refused(f"{where}: {key!r} is not a known setting{did_you_mean(key, sorted(WISH_KEYS))}")
    backend = settings.get("backend")
    if backend is not None and backend not in BACKENDS:
        near = did_you_mean(str(backend), list(BACKENDS), [])
        raise Refused(f"{where}: backend must be one of {list(BACKENDS)}, got {backend!r}{near}")
    for key in ("auto_config", "auto_paddle2onnx"):
        if not isinstance(settings.get(key), bool | None):
            raise Refused(f"{where}: {key} must be true or false, got {settings[key]!r}")
    config = settings.get("backend_config")
    if not isinstance(config, dict | None):
        raise Refused(f"{where}: backend_config must be a mapping, got {config!r}")
    automatic = settings.get("auto_config")
    if automatic is False and backend is None:
        raise Refused(f"{where}: backend must be set when auto_config is false")
    place = f"{where}: backend_config"
    config = checked_config(place, config or {}, backend)
    run_mode, precision = read_run_mode(place, config.get("run_mode"))
    precision = read_precision(place, backend, config.get("precision")) or precision
    return Wish(
        backend,
        exactly=automatic is False,
        threads=read_threads(place, config),
        precision=precision,
        run_mode=run_mode,
        cache_capacity=read_whole(place, "mkldnn_cache_capacity", config, MAX_CACHE_CAPACITY),
        conversion_allowed=settings.get("auto_paddle2onnx") is not False,
        execution_provider=read_provider(place, config.get("execution_provider"), precision),
        shapes=read_shapes(place, config, run_mode),
        workspace_mebibytes=read_whole(place, "workspace_mebibytes", config, MAX_WORKSPACE_MEBIBYTES),
        optimization_level=read_whole(place, "optimization_level", config, MAX_OPTIMIZATION_LEVEL, smallest=0),
    )


def check_device(where: str, wish: Wish, device: DeviceKind, *, fallback_allowed: bool) -> None:
    """Refuse a wish that a device cannot honour, before anything is read or built.

    One such wish can be honoured: ONNX Runtime with an NPU. It computes on the processors then, and says so; PaddleX's
    own guide names it as the way out where an NPU hangs. It takes that falling back is allowed.

    Args:
        where: What to call the settings in messages.
        wish: What the user asks.
        device: What has to compute.
        fallback_allowed: Whether the processors may stand in.

    Raises:
        Refused: The text names the device that the wish needs.
    """
    if wish.backend is None:
        return
    devices = BACKEND_DEVICES[wish.backend]
    stands_in = wish.backend == "onnxruntime" and fallback_allowed and wish.execution_provider is None
    if device == "npu" and stands_in and wish.precision in (None, "float32"):
        return
    asked = [(f"backend {wish.backend}", devices)]
    if wish.run_mode is not None:
        asked.append((f"run mode {wish.run_mode}", RUN_MODE_DEVICES[wish.run_mode]))
    if wish.precision is not None:
        place = (wish.backend, wish.precision)
        asked.append((f"precision {wish.precision} of {wish.backend}", PRECISION_DEVICES.get(place, devices)))
    if wish.execution_provider is not None:
        asked.append((f"execution provider {wish.execution_provider}", ("gpu",)))
    if wish.shapes is not None:
        asked.append(("compilation for dynamic shapes", ("gpu",)))
    if wish.cache_capacity is not None:
        asked.append(("mkldnn_cache_capacity", ("cpu",)))
    for what, needed in asked:
        if device not in needed:
            raise Refused(
                f"{where}: the {what} needs the device {' or '.join(needed)}, and the device is {device}; set "
                f"spec.inference.device to {needed[-1] if needed[-1] == 'cpu' else f'{needed[-1]}:0'}, or take it out"
            )
