"""How a predictor of Paddle is configured for its device, and what it says it has; for the child process.

Two things Paddle does not tell, so they are not claimed: which single operators it computes on the processors because
its device has no kernel for them, and the precision that its own passes chose; the accuracy gate judges the answer.
Nothing here has run on a GPU or an NPU: see `README.md`.

Source:
    paddlex 3.7.2, `inference/models/runners/paddle_static/runner.py`; the signatures of `paddle.inference.Config` in
    paddlepaddle 3.2.2, which its builds for processors and for GPUs share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hpi_core.errors import EngineFailed

OPTIMIZATION_LEVEL: Final = 3
"""What PaddleX sets (paddlex 3.7.2, `paddle_static/runner.py`)."""
FIRST_POOL_MEBIBYTES: Final = 100
"""Memory of a GPU that Paddle takes at once; more is taken as it is needed."""
NPU: Final = "npu"


def configure(paddle: Any, wanted: Mapping[str, Any], program: str, weights: str) -> Any:
    """Return the configuration of a predictor, as PaddleX makes it but for threads and cache.

    Args:
        paddle: The module.
        wanted: What is asked; see `paddle_request.read_wanted`.
        program: The program file to load.
        weights: The file of its weights.
    """
    config = paddle.inference.Config(program, weights)
    config.disable_glog_info()
    if wanted["device"] == "cpu":
        _configure_cpu(config, wanted)
        config.set_optimization_level(OPTIMIZATION_LEVEL)
    elif wanted["device"] == "gpu":
        _configure_gpu(paddle, config, wanted)
        config.set_optimization_level(OPTIMIZATION_LEVEL)
    else:
        config.enable_custom_device(NPU, wanted["device_index"])
        config.enable_new_ir(True)
        config.enable_new_executor()
    config.enable_memory_optim()
    return config


def _configure_cpu(config: Any, wanted: Mapping[str, Any]) -> None:
    config.disable_gpu()
    if wanted["run_mode"] == "mkldnn":
        config.enable_mkldnn()
        if wanted["precision"] == "bfloat16":
            config.enable_mkldnn_bfloat16()
        config.set_mkldnn_cache_capacity(wanted["mkldnn_cache_capacity"])
    else:
        config.disable_mkldnn()
    config.set_cpu_math_library_num_threads(wanted["threads"])
    config.enable_new_ir(True)
    config.enable_new_executor()


def _configure_gpu(paddle: Any, config: Any, wanted: Mapping[str, Any]) -> None:
    precisions = paddle.inference.PrecisionType
    # What was compiled for TensorRT has its precision inside.
    half = wanted["precision"] == "float16" and wanted["run_mode"] == "paddle"
    config.exp_disable_mixed_precision_ops({"feed", "fetch"})
    config.disable_mkldnn()
    config.set_cpu_math_library_num_threads(wanted["threads"])
    config.enable_use_gpu(FIRST_POOL_MEBIBYTES, wanted["device_index"], precisions.Half if half else precisions.Float32)
    config.enable_new_ir(True)
    config.enable_new_executor()


def check_device(paddle: Any, wanted: Mapping[str, Any]) -> None:
    """Check that paddle sees the device, before it is asked: without one it computes on the processors, or aborts.

    Raises:
        EngineFailed: This build has no such device, or sees fewer of them.
    """
    kind, index = wanted["device"], wanted["device_index"]
    if kind == "gpu":
        if not paddle.is_compiled_with_cuda():
            raise EngineFailed(
                f"paddle {paddle.__version__} was asked for a GPU and is built for processors alone; install "
                "paddlepaddle-gpu in place of paddlepaddle, as the plugin variants for GPUs do"
            )
        if paddle.device.cuda.device_count() < 1:
            raise EngineFailed(
                f"paddle {paddle.__version__} was asked for a GPU and sees none that it can use; see `hpi-agent detect`"
            )
    if kind == "npu":
        types = list(paddle.device.get_all_custom_device_type())
        if NPU not in types:
            raise EngineFailed(
                f"paddle {paddle.__version__} was asked for an NPU and has the devices {types or 'cpu'}; install "
                "paddle-custom-npu of the same release, and CANN"
            )
        count = paddle.base.core.get_custom_device_count(NPU)
        if index >= count:
            raise EngineFailed(
                f"npu:{index} was asked for, paddle sees {count} NPU(s), counted from 0; ask for another"
            )


def obtained(paddle: Any, config: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the predictor really uses.

    Raises:
        EngineFailed: The GPU or oneDNN was asked for and is not there, or this processor has no fast bfloat16.
    """
    if wanted["device"] == "cpu":
        device = _obtained_of_cpu(paddle, config, wanted)
    elif wanted["device"] == "gpu":
        if not config.use_gpu() or config.gpu_device_id() != wanted["device_index"]:
            raise EngineFailed(
                f"paddle {paddle.__version__} was asked for a GPU and gives "
                f"{f'gpu:{config.gpu_device_id()}' if config.use_gpu() else 'the processors'}; install another build"
            )
        device = f"{paddle.device.cuda.get_device_name(wanted['device_index'])}, Paddle"
    else:
        device = f"npu:{wanted['device_index']}, Paddle"
    return {"version": paddle.__version__, "threads": int(config.cpu_math_library_num_threads()), "device": device}


def _obtained_of_cpu(paddle: Any, config: Any, wanted: Mapping[str, Any]) -> str:
    onednn = bool(config.mkldnn_enabled())
    if onednn != (wanted["run_mode"] == "mkldnn"):
        raise EngineFailed(
            f"paddle {paddle.__version__} was asked for run_mode {wanted['run_mode']!r} and has oneDNN "
            f"{'on' if onednn else 'off'}; choose run_mode 'paddle', or a build with oneDNN"
        )
    if wanted["precision"] == "bfloat16" and not paddle.base.core.supports_bfloat16():
        raise EngineFailed("this processor has no instructions that paddle computes bfloat16 with; choose float32")
    return "CPU, oneDNN" if onednn else "CPU"
