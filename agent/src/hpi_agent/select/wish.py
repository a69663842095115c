"""What a user asks of the engine of one model: PaddleX's `hpi_config`, read and checked; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hpi_core.errors import Refused
from hpi_core.formats import BACKENDS, Backend, Precision
from hpi_core.spelling import did_you_mean

MAX_THREADS: Final = 1024
"""More threads than any machine here has cores: beyond it a number is a mistake."""
MAX_CACHE_CAPACITY: Final = 1_000_000

WISH_KEYS: Final = {"auto_config", "backend", "backend_config", "auto_paddle2onnx"}

CONFIG_KEYS: Final[dict[str, tuple[Backend, ...]]] = {
    "cpu_num_threads": BACKENDS,
    "cpu_threads": ("paddle",),
    "run_mode": ("paddle",),
    "mkldnn_cache_capacity": ("paddle",),
    "precision": ("openvino",),
}
"""Keys of `backend_config`, and the backends that have them."""

RUN_MODES: Final[dict[str, tuple[str, Precision]]] = {
    "paddle": ("paddle", "float32"),
    "paddle_fp32": ("paddle", "float32"),
    "mkldnn": ("mkldnn", "float32"),
    "mkldnn_bf16": ("mkldnn", "bfloat16"),
}
"""Paddle's run modes of a CPU, as our run mode and precision; the others (`trt_*`, `paddle_fp16`) need a GPU."""

PRECISIONS: Final[dict[str, Precision]] = {"fp32": "float32", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Wish:
    """What a user asks of the engine of one model."""

    backend: Backend | None = None
    """None: the best that is known or measured."""
    exactly: bool = False
    """Whether nothing but `backend` may serve: PaddleX's manual mode (`auto_config: false`)."""
    threads: int | None = None
    """None: the whole cores left to this process."""
    precision: Precision | None = None
    """None: float32, and whatever the accuracy level lets in."""
    run_mode: str | None = None
    """Of the backend paddle: `paddle` or `mkldnn`; None: both are candidates."""
    cache_capacity: int | None = None
    """Of the backend paddle with oneDNN: shapes that are kept; None: as many as serve OCR well."""
    conversion_allowed: bool = True
    """PaddleX's `auto_paddle2onnx`."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, a part of the key under which a decision is remembered."""
        return {
            "backend": self.backend,
            "exactly": self.exactly,
            "threads": self.threads,
            "precision": self.precision,
            "runMode": self.run_mode,
            "cacheCapacity": self.cache_capacity,
            "conversionAllowed": self.conversion_allowed,
        }


def read_wish(where: str, settings: dict[str, Any]) -> Wish:
    """Return the wish that PaddleX's `hpi_config` dictionary expresses.

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
    config = {key: value for key, value in _checked_keys(place, config or {}, backend).items() if value is not None}
    run_mode, precision = _run_mode(place, config.get("run_mode"))
    return Wish(
        backend,
        exactly=automatic is False,
        threads=_threads(place, config),
        precision=_precision(place, config.get("precision")) or precision,
        run_mode=run_mode,
        cache_capacity=_whole(place, "mkldnn_cache_capacity", config, MAX_CACHE_CAPACITY),
        conversion_allowed=settings.get("auto_paddle2onnx") is not False,
    )


def _checked_keys(place: str, config: dict[str, Any], backend: Backend | None) -> dict[str, Any]:
    for key in config:
        if key not in CONFIG_KEYS:
            raise Refused(f"{place}.{key} is not known{did_you_mean(key, sorted(CONFIG_KEYS))}")
        owners = CONFIG_KEYS[key]
        if backend not in owners and owners != BACKENDS:
            raise Refused(
                f"{place}.{key} belongs to the backend {' or '.join(owners)}, and backend is {backend or 'not set'}; "
                f"set backend to {owners[0]}, or take the key out"
            )
    return config


def _threads(place: str, config: dict[str, Any]) -> int | None:
    ours, paddles = (_whole(place, key, config, MAX_THREADS) for key in ("cpu_num_threads", "cpu_threads"))
    if None not in (ours, paddles) and ours != paddles:
        raise Refused(f"{place}: cpu_num_threads is {ours} and cpu_threads is {paddles}; they mean the same, set one")
    return ours if ours is not None else paddles


def _whole(place: str, key: str, config: dict[str, Any], largest: int) -> int | None:
    value = config.get(key)
    if value is not None and (type(value) is not int or not 1 <= value <= largest):
        raise Refused(f"{place}.{key} must be a whole number from 1 to {largest}, got {value!r}")
    return value


def _run_mode(place: str, value: Any) -> tuple[str | None, Precision | None]:
    if value is None:
        return None, None
    if not isinstance(value, str) or value not in RUN_MODES:
        needs = "; that one needs a GPU" if isinstance(value, str) and value.startswith(("trt_", "paddle_fp16")) else ""
        raise Refused(f"{place}.run_mode must be one of {list(RUN_MODES)} on a CPU, got {value!r}{needs}")
    return RUN_MODES[value]


def _precision(place: str, value: Any) -> Precision | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in PRECISIONS:
        raise Refused(f"{place}.precision must be one of {list(PRECISIONS)}, got {value!r}")
    return PRECISIONS[value]
