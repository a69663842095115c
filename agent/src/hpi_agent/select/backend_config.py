"""PaddleX's `backend_config`: which keys there are, whose they are and what they may say; pure."""

from __future__ import annotations

from typing import Any, Final

from hpi_agent.select.shapes import Shapes, read_profile
from hpi_core.errors import Refused
from hpi_core.formats import BACKENDS, Backend, DeviceKind, Precision
from hpi_core.spelling import did_you_mean

MAX_THREADS: Final = 1024
"""More threads than any machine here has cores: beyond it a number is a mistake."""
MAX_CACHE_CAPACITY: Final = 1_000_000
MAX_WORKSPACE_MEBIBYTES: Final = 2**20
MAX_OPTIMIZATION_LEVEL: Final = 5

CONFIG_KEYS: Final[dict[str, tuple[Backend, ...]]] = {
    "cpu_num_threads": BACKENDS,
    "cpu_threads": ("paddle",),
    "run_mode": ("paddle",),
    "mkldnn_cache_capacity": ("paddle",),
    "trt_dynamic_shapes": ("paddle",),
    "trt_use_dynamic_shapes": ("paddle",),
    "precision": ("openvino", "onnxruntime", "tensorrt", "om"),
    "dynamic_shapes": ("tensorrt",),
    "use_dynamic_shapes": ("tensorrt",),
    "execution_provider": ("onnxruntime",),
    "workspace_mebibytes": ("tensorrt",),
    "optimization_level": ("tensorrt",),
}
"""Keys of `backend_config`, and the backends that have them. PaddleX has no `execution_provider`,
`workspace_mebibytes` and `optimization_level`, and `precision` for `tensorrt` alone."""

_RANGES: Final = (
    "the ranges of shapes follow from trt_dynamic_shapes and are kept in the store with the engine: there is no file "
    "to name, to reuse or to discard"
)
REFUSED_KEYS: Final[dict[str, str]] = {
    "device_type": "the device of a pipeline stands in spec.inference.device",
    "device_id": "the device of a pipeline stands in spec.inference.device",
    "delete_pass": "Paddle's optimisation is taken as a whole, so that its answers are those that were judged",
    "enable_new_ir": "the format of the model file decides it",
    "enable_cinn": "its compiler works inside requests, and an engine is never built there",
    "trt_cfg_setting": "PaddleX itself overwrites it by its own table of models",
    "trt_collect_shape_range_info": _RANGES,
    "trt_discard_cached_shape_range_info": _RANGES,
    "trt_shape_range_info_path": _RANGES,
    "shape_info_filename": _RANGES,
    "trt_dynamic_shape_input_data": "values of inputs are those of inference.yml, Hpi.backend_configs.paddle_infer",
    "trt_allow_rebuild_at_runtime": "an engine is never built again inside a request",
}
"""Keys of PaddleX's backend `paddle` that are refused, and why."""

RUN_MODES: Final[dict[str, tuple[str, Precision]]] = {
    "paddle": ("paddle", "float32"),
    "paddle_fp32": ("paddle", "float32"),
    "paddle_fp16": ("paddle", "float16"),
    "mkldnn": ("mkldnn", "float32"),
    "mkldnn_bf16": ("mkldnn", "bfloat16"),
    "trt_fp32": ("trt", "float32"),
    "trt_fp16": ("trt", "float16"),
}
"""Paddle's run modes, as our run mode and precision."""

_WORDS: Final[dict[str, Precision]] = {
    "fp32": "float32",
    "tf32": "tf32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "int8": "int8",
}
PRECISIONS: Final[dict[Backend, tuple[str, ...]]] = {
    "openvino": ("fp32", "bf16"),
    "onnxruntime": ("fp32", "tf32", "fp16"),
    "tensorrt": ("fp32", "tf32", "bf16", "fp16", "int8"),
    "om": ("fp32", "fp16"),
}
"""What each backend can be asked for. `om` computes as its file was made: the setting says how that was."""

PROVIDERS: Final = ("cuda", "tensorrt")
"""Execution providers of ONNX Runtime that can be chosen; that of the processors goes by the device."""

BACKEND_DEVICES: Final[dict[Backend, tuple[DeviceKind, ...]]] = {
    "onnxruntime": ("cpu", "gpu"),
    "openvino": ("cpu",),
    "paddle": ("cpu", "gpu", "npu"),
    "tensorrt": ("gpu",),
    "om": ("npu",),
}
"""The devices that each backend computes on."""

RUN_MODE_DEVICES: Final[dict[str, tuple[DeviceKind, ...]]] = {
    "paddle": ("cpu", "gpu", "npu"),
    "mkldnn": ("cpu",),
    "trt": ("gpu",),
}

PRECISION_DEVICES: Final[dict[tuple[Backend, Precision], tuple[DeviceKind, ...]]] = {
    ("onnxruntime", "tf32"): ("gpu",),
    ("onnxruntime", "float16"): ("gpu",),
    ("paddle", "float16"): ("gpu",),
}
"""Where a backend of several devices computes in a precision; others on all of its devices."""


def checked_config(place: str, written: dict[str, Any], backend: Backend | None) -> dict[str, Any]:
    """Return the settings that are set, every key of which belongs to the backend.

    Raises:
        Refused: A key is not known, is another backend's, or changes nothing here.
    """
    for key in written:
        if key in REFUSED_KEYS:
            raise Refused(f"{place}.{key} must not be set: {REFUSED_KEYS[key]}; take the key out")
        if key not in CONFIG_KEYS:
            raise Refused(f"{place}.{key} is not known{did_you_mean(key, sorted(CONFIG_KEYS))}")
        owners = CONFIG_KEYS[key]
        if backend not in owners and owners != BACKENDS:
            raise Refused(
                f"{place}.{key} belongs to the backend {' or '.join(owners)}, and backend is {backend or 'not set'}; "
                f"set backend to {owners[0]}, or take the key out"
            )
    return {key: value for key, value in written.items() if value is not None}


def read_threads(place: str, config: dict[str, Any]) -> int | None:
    """Return the threads of one inference, by either of their names, or None."""
    ours, paddles = (read_whole(place, key, config, MAX_THREADS) for key in ("cpu_num_threads", "cpu_threads"))
    if None not in (ours, paddles) and ours != paddles:
        raise Refused(f"{place}: cpu_num_threads is {ours} and cpu_threads is {paddles}; they mean the same, set one")
    return ours if ours is not None else paddles


def read_whole(place: str, key: str, config: dict[str, Any], largest: int, smallest: int = 1) -> int | None:
    """Return a whole number of the settings, or None."""
    value = config.get(key)
    if value is not None and (type(value) is not int or not smallest <= value <= largest):
        raise Refused(f"{place}.{key} must be a whole number from {smallest} to {largest}, got {value!r}")
    return value


def read_run_mode(place: str, value: Any) -> tuple[str | None, Precision | None]:
    """Return our run mode and precision of one of Paddle's run modes."""
    if value is None:
        return None, None
    if value == "trt_int8":
        raise Refused(
            f"{place}.run_mode must not be 'trt_int8': it needs a calibration that nobody can give here; a quantized "
            "ONNX model runs on the backend tensorrt with precision int8"
        )
    if not isinstance(value, str) or value not in RUN_MODES:
        near = did_you_mean(str(value), list(RUN_MODES), [])
        raise Refused(f"{place}.run_mode must be one of {list(RUN_MODES)}, got {value!r}{near}")
    return RUN_MODES[value]


def read_precision(place: str, backend: Backend | None, value: Any) -> Precision | None:
    """Return the precision that a backend is asked for, or None."""
    if value is None or backend is None:
        return None
    allowed = list(PRECISIONS[backend])
    if not isinstance(value, str) or value not in allowed:
        # Another spelling alone: the nearest word to one precision is another precision.
        meant = str(value).lower()
        near = f"; did you mean {meant!r}?" if meant in allowed else ""
        raise Refused(f"{place}.precision must be one of {allowed}, got {value!r}{near}")
    return _WORDS[value]


def read_provider(place: str, value: Any, precision: Precision | None) -> str | None:
    """Return the execution provider that ONNX Runtime is asked for, or None."""
    if value is None:
        return None
    if not isinstance(value, str) or value not in PROVIDERS:
        near = did_you_mean(str(value), list(PROVIDERS), [])
        raise Refused(f"{place}.execution_provider must be one of {list(PROVIDERS)}, got {value!r}{near}")
    if (value, precision) == ("cuda", "float16"):
        raise Refused(
            f"{place}.precision must not be 'fp16' with execution_provider 'cuda', which computes in the types of the "
            "model file; set execution_provider to 'tensorrt'"
        )
    return value


def read_shapes(place: str, config: dict[str, Any], run_mode: str | None) -> tuple[tuple[str, Shapes], ...] | None:
    """Return the shapes to compile for, sorted by input, or None."""
    for key in ("use_dynamic_shapes", "trt_use_dynamic_shapes"):
        if config.get(key) not in (None, True):
            raise Refused(
                f"{place}.{key} must be true, got {config[key]!r}: engines are compiled for ranges of shapes; one "
                "shape given three times is a fixed one"
            )
    for key in ("trt_dynamic_shapes", "trt_use_dynamic_shapes"):
        if key in config and run_mode not in (None, "trt"):
            raise Refused(f"{place}.{key} belongs to the run modes trt_fp32 and trt_fp16; take the key out")
    written = config.get("dynamic_shapes", config.get("trt_dynamic_shapes"))
    if written is None:
        return None
    key = "dynamic_shapes" if "dynamic_shapes" in config else "trt_dynamic_shapes"
    return tuple(sorted(read_profile(f"{place}.{key}", written).items()))
