"""The `paddle` of a machine with a GPU or NPUs that nobody has here, played inside the environment of the real one.

The real build for processors computes. Played are: which devices there are, the settings for them, what TF32 and
float16 round, and the files of TensorRT. Signatures of `Config` are those that the real build prints for its own
methods (`signatures`, and a test that compares them); `paddle.tensorrt.export` is missing from that build, and follows
its source:

    `python/paddle/tensorrt/export.py`          Input, TensorRTConfig, PrecisionMode, convert
    `python/paddle/tensorrt/converter.py`       engine files in the folder `save_model_dir`, beside the program's files
    `paddle/fluid/inference/analysis/helper.h`  `trt_serialized_<key>` in the folder of `set_optim_cache_dir`

This file needs nothing but the standard library, numpy and paddle. `python paddle_on_devices.py MACHINE ARGUMENTS` is
the interpreter that an engine is given.
"""

from __future__ import annotations

import inspect
import os
import re
import runpy
import shutil
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import numpy as np

GPU_NAME: Final = "NVIDIA A100-SXM4-40GB"
ENGINE_OPERATOR: Final = "pd_op.tensorrt_engine"


def install(machine: str) -> None:
    """Change paddle into that of another machine.

    Args:
        machine: `gpu`, `gpu-without-tensorrt`, `npu` (two of them), or `cpu`.
    """
    import paddle
    import paddle.inference

    gpu = machine.startswith("gpu")
    _make_classes(paddle)
    paddle.is_compiled_with_cuda = lambda: gpu
    paddle.device.cuda.device_count = _visible_gpus if gpu else lambda: 0
    paddle.device.cuda.get_device_name = _device_name
    paddle.device.get_all_custom_device_type = lambda: ["npu"] if machine == "npu" else []
    paddle.base.core.get_custom_device_count = lambda name: 2 if (machine, name) == ("npu", "npu") else 0
    if machine == "gpu":
        package, export = ModuleType("paddle.tensorrt"), ModuleType("paddle.tensorrt.export")
        for one in (Input, TensorRTConfig, PrecisionMode, convert):
            setattr(export, one.__name__, one)
        package.export = export  # type: ignore[attr-defined]
        sys.modules |= {"paddle.tensorrt": package, "paddle.tensorrt.export": export}


def _visible_gpus() -> int:
    return len([name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",") if name in ("0", "1")])


def _device_name(device: int = 0) -> str:
    assert 0 <= device < _visible_gpus()
    return GPU_NAME


def _make_classes(paddle: Any) -> None:
    real_config, real_predictor = paddle.inference.Config, paddle.inference.create_predictor
    precisions = paddle.inference.PrecisionType

    class Config:
        """The settings of a predictor; what is not played is the real one's."""

        def __init__(self, prog_file: str, params_file: str) -> None:
            self.program = prog_file
            self.real = real_config(prog_file, params_file)
            self.gpu: int | None = None
            self.precision = "float32"
            self.npu: int | None = None
            self.tensorrt: str | None = None
            self.optim_cache_dir = ""
            self.collected = ""
            self.ranges = ""
            self.builds_in_requests = True

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def enable_use_gpu(
            self, memory_pool_init_size_mb: int, device_id: int = 0, precision_mode: Any = precisions.Float32
        ) -> None:
            # A build for processors alone says so in its log and goes on.
            if paddle.is_compiled_with_cuda():
                self.gpu = device_id
                self.precision = "float16" if precision_mode == precisions.Half else "float32"

        def use_gpu(self) -> bool:
            return self.gpu is not None

        def gpu_device_id(self) -> int:
            return self.gpu or 0

        def enable_custom_device(
            self, device_type: str, device_id: int = 0, precision: Any = precisions.Float32
        ) -> None:
            if device_id >= paddle.base.core.get_custom_device_count(device_type):
                os.abort()
            self.npu = device_id

        def collect_shape_range_info(self, arg0: str) -> None:
            self.collected = arg0

        def set_optim_cache_dir(self, arg0: str) -> None:
            self.optim_cache_dir = arg0

        def enable_tensorrt_engine(
            self,
            workspace_size: int = 1 << 30,
            max_batch_size: int = 1,
            min_subgraph_size: int = 3,
            precision_mode: Any = precisions.Float32,
            use_static: bool = False,
            use_calib_mode: bool = True,
            use_cuda_graph: bool = False,
        ) -> None:
            assert use_static
            assert not use_calib_mode
            self.tensorrt = "float16" if precision_mode == precisions.Half else "float32"

        def tensorrt_engine_enabled(self) -> bool:
            return self.tensorrt is not None

        def enable_tuned_tensorrt_dynamic_shape(
            self, shape_range_info_path: str = "", allow_build_at_runtime: bool = True
        ) -> None:
            self.ranges, self.builds_in_requests = shape_range_info_path, allow_build_at_runtime

    def create_predictor(config: Any) -> Any:
        return _Predictor(real_predictor(config.real), config)

    paddle.inference.Config, paddle.inference.create_predictor = Config, create_predictor


class _Predictor:
    """The real predictor, whose arrays are rounded as the device would."""

    def __init__(self, real: Any, config: Any) -> None:
        self._real = real
        self._config = config
        self._shapes: list[str] = []
        self._precision = config.precision
        engines = list(Path(config.program).with_suffix("").glob("engine_*.trt"))
        if _is_compiled(config.program):
            if not engines:
                raise RuntimeError("(InvalidArgument) cannot open the file of an engine (at engine.cc:1)")
            self._precision = engines[0].read_text()
        if config.tensorrt is not None:
            self._use_engine()

    def _use_engine(self) -> None:
        if not Path(self._config.ranges).is_file():
            raise RuntimeError("(NotFound) no ranges of shapes (at predictor.cc:1)")
        file = Path(self._config.optim_cache_dir) / f"trt_serialized_{Path(self._config.program).stem}"
        if not file.is_file():
            file.write_text(self._config.tensorrt)
        self._precision = file.read_text()

    def get_input_names(self) -> Any:
        return self._real.get_input_names()

    def get_output_names(self) -> Any:
        return self._real.get_output_names()

    def get_input_handle(self, name: str) -> Any:
        handle = self._real.get_input_handle(name)
        return SimpleNamespace(
            reshape=handle.reshape, copy_from_cpu=lambda array: handle.copy_from_cpu(self._rounded_input(array))
        )

    def get_output_handle(self, name: str) -> Any:
        handle = self._real.get_output_handle(name)
        return SimpleNamespace(copy_to_cpu=lambda: self._rounded_output(handle.copy_to_cpu()))

    def run(self) -> None:
        self._real.run()
        if self._config.collected:
            self._shapes.append("shape_range_info { }")
            Path(self._config.collected).write_text("\n".join(self._shapes))

    def _rounded_input(self, array: Any) -> Any:
        """Multiply in TF32 unless the process forbids it, as Paddle on a GPU does."""
        if self._config.gpu is None or array.dtype != np.float32 or os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
            return array
        return np.asarray(array.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    def _rounded_output(self, array: Any) -> Any:
        if self._precision != "float16" or array.dtype != np.float32:
            return array
        return array.astype(np.float16).astype(np.float32)


def _is_compiled(program: str) -> bool:
    return Path(program).with_suffix("").is_dir()


class PrecisionMode(Enum):
    """As `paddle.tensorrt.export` has it."""

    FP32 = "FP32"
    FP16 = "FP16"
    BF16 = "BF16"
    INT8 = "INT8"


class Input:
    """As `paddle.tensorrt.export` has it."""

    def __init__(
        self,
        warmup_data: tuple[Any, ...] | None = None,
        min_input_shape: tuple[int, ...] | None = None,
        max_input_shape: tuple[int, ...] | None = None,
        optim_input_shape: tuple[int, ...] | None = None,
        input_data_type: str | None = "float32",
        input_range: tuple[float, float] | None = None,
        name: str | None = None,
    ) -> None:
        if warmup_data is None and None in (min_input_shape, max_input_shape, optim_input_shape):
            raise ValueError("When warm_data is None, min/max/optim shapes must be specified.")
        self.warmup_data = warmup_data


class TensorRTConfig:
    """As `paddle.tensorrt.export` has it."""

    def __init__(
        self,
        inputs: list[Input],
        min_subgraph_size: int | None = 3,
        save_model_dir: str | None = None,
        disable_ops: Any = None,
        precision_mode: PrecisionMode = PrecisionMode.FP32,
        ops_run_float: Any = None,
        optimization_level: int | None = 3,
        disable_passes: Any = (),
        workspace_size: int | None = 1 << 30,
        refit_params_path: str | None = None,
    ) -> None:
        self.inputs = inputs
        self.save_model_dir = save_model_dir
        self.precision_mode = precision_mode
        self.workspace_size = workspace_size


def convert(model_path: str, config: TensorRTConfig) -> Any:
    """Lay down what the real one lays down, of a program that TensorRT takes but for one operator."""
    assert all(one.warmup_data is not None and len(one.warmup_data) == 3 for one in config.inputs)
    assert isinstance(config.precision_mode, PrecisionMode)
    assert config.save_model_dir is not None
    target = Path(config.save_model_dir)
    for suffix in (".json", ".pdiparams"):
        shutil.copyfile(f"{model_path}{suffix}", f"{target}{suffix}")
    target.mkdir()
    half = config.precision_mode is PrecisionMode.FP16
    (target / "engine_12345678.trt").write_text("float16" if half else "float32")
    names = ["builtin.parameter", "pd_op.data", ENGINE_OPERATOR, "pd_op.scale", "pd_op.fetch"]
    if "nothing" in model_path:
        names.remove(ENGINE_OPERATOR)
    operations = [SimpleNamespace(name=lambda name=name: name) for name in names]
    return SimpleNamespace(global_block=lambda: SimpleNamespace(ops=operations))


def signatures() -> dict[str, tuple[list[str], list[str]]]:
    """Return the arguments of each played method of `Config`: those of the real build, and those here."""
    import paddle.inference

    real = paddle.inference.Config
    install("gpu")
    played = paddle.inference.Config
    names = [name for name in vars(played) if not name.startswith("_")]
    return {name: (_real_arguments(getattr(real, name)), _arguments(getattr(played, name))) for name in names}


def _real_arguments(method: Any) -> list[str]:
    # pybind11 writes `name(self: …, first: int, second: int = 0) -> None`.
    return re.findall(r"[(,] ?(\w+):", (method.__doc__ or "").partition("->")[0])[1:]


def _arguments(method: Any) -> list[str]:
    return list(inspect.signature(method).parameters)[1:]


def main(arguments: list[str]) -> None:
    """Run a program in this interpreter, as `python -I -B PROGRAM ARGUMENTS` would."""
    machine, *rest = arguments
    install(machine)
    while rest[0].startswith("-"):
        rest = rest[2 if rest[0] == "-W" else 1 :]
    program, *others = rest
    sys.argv = [program, *others]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
