"""What the child that holds a model in Paddle Inference is asked for, and the environment it runs in; pure.

**float32 is float32.** Paddle lets cuBLAS and cuDNN multiply in TF32 (`allow_tf32_cublas` and `allow_tf32_cudnn` are
true in its sources, and Python cannot change them). The child has `NVIDIA_TF32_OVERRIDE=0`, which forbids it for the
whole process, TensorRT included; TF32 itself cannot be asked for here.

**One GPU a child.** Its conversion for TensorRT computes on the first GPU that it sees, whatever it is told
(`paddle.CUDAPlace(0)` in `paddle/tensorrt/export.py`), so it sees one alone, as number 0.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.base import EngineRequest
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import DeviceKind, Precision

RUN_MODES: Final[Mapping[DeviceKind, tuple[str, ...]]] = {
    "cpu": ("paddle", "mkldnn"),
    "gpu": ("paddle", "trt"),
    "npu": ("paddle",),
}
PRECISIONS: Final[Mapping[tuple[DeviceKind, str], tuple[Precision, ...]]] = {
    ("cpu", "paddle"): ("float32",),
    ("cpu", "mkldnn"): ("float32", "bfloat16"),
    ("gpu", "paddle"): ("float32", "float16"),
    ("gpu", "trt"): ("float32", "float16"),
    ("npu", "paddle"): ("float32",),
}
WEIGHTS_SUFFIX: Final = ".pdiparams"
PROGRAM_SUFFIXES: Final = (".json", ".pdmodel")
MIN_CACHE_CAPACITY: Final = 64
"""Fewest shapes whose primitives oneDNN keeps; 0 would mean all of them."""
VISIBLE_GPUS: Final = "CUDA_VISIBLE_DEVICES"

ON_NPU: Final[Mapping[str, str]] = {
    "FLAGS_npu_jit_compile": "0",
    "FLAGS_use_stride_kernel": "0",
    "FLAGS_allocator_strategy": "auto_growth",
    # Operators whose kernels on the NPU fail or answer wrongly; Paddle computes them on the processors.
    "CUSTOM_DEVICE_BLACK_LIST": "pad3d,pad3d_grad,set_value,set_value_with_tensor",
    "FLAGS_npu_scale_aclnn": "True",
    "FLAGS_npu_split_aclnn": "True",
}
"""What PaddleX sets before it computes on an NPU (paddlex 3.7.2, `utils/device.py`)."""


def read_wanted(request: EngineRequest) -> dict[str, Any]:
    """Return what the child is asked to load.

    Raises:
        Refused: An option is unknown or out of bounds, the run mode is none of the device, or the precision needs
            another run mode.
        EngineFailed: The model is not whole.
    """
    device, options = request.device, dict(request.options)
    allowed = ("run_mode", "mkldnn_cache_capacity") if device.kind == "cpu" else ("run_mode",)
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        where = "" if device.kind == "cpu" else f" on the device {device}"
        raise Refused(f"the backend paddle has no option {unknown}{where}; allowed: {', '.join(allowed)}")
    mode, modes = options.get("run_mode", "paddle"), RUN_MODES[device.kind]
    if mode not in modes:
        where = "" if device.kind == "cpu" else f" on the device {device}"
        raise Refused(f"run_mode must be one of {', '.join(modes)}{where}, got {mode!r}")
    _check_precision(request, str(mode))
    capacity = options.get("mkldnn_cache_capacity", MIN_CACHE_CAPACITY)
    if not isinstance(capacity, int) or capacity < MIN_CACHE_CAPACITY:
        raise Refused(f"mkldnn_cache_capacity must be a number from {MIN_CACHE_CAPACITY} on, got {capacity!r}")
    return {
        **_files(request.model_path),
        "threads": request.threads,
        "precision": request.precision,
        "run_mode": mode,
        "mkldnn_cache_capacity": capacity,
        "device": device.kind,
        # The child of a GPU sees one.
        "device_index": device.index if device.kind == "npu" else 0,
        "device_memory_bytes": request.device_memory_bytes,
    }


def environment_of(request: EngineRequest) -> dict[str, str]:
    """Return the variables that the child has beside those of this process.

    Raises:
        EngineFailed: This process does not see the GPU that is asked for.
    """
    environment = {
        # Paddle's own setting reaches its matrix library; its other loops run on OpenMP.
        "OMP_NUM_THREADS": str(request.threads),
        "GLOG_minloglevel": "2",
        # Milliseconds that OpenMP's threads spin after their part: 200 by default, 0.19 s of processor time after
        # every run, on a core that the next model needs (libiomp5 of paddlepaddle 3.2.2). One is enough within one.
        "KMP_BLOCKTIME": "1",
    }
    if request.device.kind == "npu":
        return {**environment, **ON_NPU}
    if request.device.kind == "gpu":
        environment |= {"NVIDIA_TF32_OVERRIDE": "0", VISIBLE_GPUS: _visible_gpu(request)}
        if request.device_memory_bytes is not None:
            environment["FLAGS_gpu_memory_limit_mb"] = str(max(1, request.device_memory_bytes // 2**20))
    return environment


def _check_precision(request: EngineRequest, mode: str) -> None:
    allowed = PRECISIONS[request.device.kind, mode]
    if request.precision in allowed:
        return
    if request.device.kind == "cpu" and request.precision == "bfloat16":
        raise Refused(f"the backend paddle computes bfloat16 with run_mode 'mkldnn' alone, got {mode!r}")
    raise Refused(
        f"the backend paddle computes in {', '.join(allowed)} with run_mode {mode!r} on the device {request.device}, "
        f"got {request.precision}"
    )


def _visible_gpu(request: EngineRequest) -> str:
    """Return what names the one GPU, of those that this process sees."""
    seen = os.environ.get(VISIBLE_GPUS)
    if seen is None:
        return str(request.device.index)
    names = [name.strip() for name in seen.split(",") if name.strip()]
    if request.device.index >= len(names):
        raise EngineFailed(
            f"{request.device} was asked for and {VISIBLE_GPUS}={seen!r} shows {len(names)} GPU(s) to this process, "
            "counted from 0; ask for one of them, or give it another device"
        )
    return names[request.device.index]


def _files(program: Path) -> dict[str, str]:
    if program.suffix not in PROGRAM_SUFFIXES:
        raise Refused(f"{program} is no program of paddle; its name must end in {' or '.join(PROGRAM_SUFFIXES)}")
    weights = program.with_suffix(WEIGHTS_SUFFIX)
    missing = [str(path) for path in (program, weights) if not path.is_file()]
    if missing:
        raise EngineFailed(f"the model of paddle is not whole; missing: {', '.join(missing)}; deliver it again")
    return {"program": str(program.absolute()), "weights": str(weights.absolute())}
