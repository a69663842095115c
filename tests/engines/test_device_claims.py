"""The core of the suite as `make gpu` runs it, on the doubles; and that it notices a double or an engine gone wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from device.claims import CLAIMS, Bench
from doubles import onnxruntime_gpu, onnxruntime_settings
from doubles.cuda_driver import DoubleOfCudaDriver
from hpi_core.errors import EngineFailed
from models.graphs import FILES, MODELS, TinyModel
from support.engines import ON_DEVICES
from support.renaming import renamed_argument
from support.ways import Way

BY_NAME = {way.name: way for way in ON_DEVICES}
CUDA, TENSORRT = BY_NAME["onnxruntime-cuda"], BY_NAME["onnxruntime-tensorrt"]


@pytest.fixture(params=ON_DEVICES, ids=str)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    way: Way = request.param
    with way.presented():
        yield Bench(way, tmp_path)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.__name__)
def test_every_way_keeps_the_promises_of_the_core(claim: Callable[[Bench], None], bench: Bench) -> None:
    claim(bench)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_files_of_graphs_are_the_graphs(model: TinyModel) -> None:
    assert onnx.load(FILES / f"{model.name}.onnx") == model.proto


# A suite that accepts a wrong call proves nothing. Each of these renames one thing of a double and nothing else.


def run_core(way: Way, directory: Path) -> None:
    with way.presented():
        for claim in CLAIMS:
            claim(Bench(way, directory))


@pytest.mark.parametrize(
    ("way", "settings", "name"),
    [
        (CUDA, onnxruntime_settings.CUDA_DEFAULTS, "use_tf32"),
        (CUDA, onnxruntime_settings.CUDA_DEFAULTS, "device_id"),
        (CUDA, onnxruntime_settings.CUDA_DEFAULTS, "arena_extend_strategy"),
        (CUDA, onnxruntime_settings.CUDA_DEFAULTS, "cudnn_conv_algo_search"),
        (CUDA, onnxruntime_settings.CUDA_DEFAULTS, "do_copy_in_default_stream"),
    ],
)
def test_a_setting_of_cuda_that_is_renamed_fails_the_core(
    way: Way, settings: dict[str, str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings, f"{name}_renamed", settings[name])
    monkeypatch.delitem(settings, name)

    with pytest.raises(Exception, match=name):
        run_core(way, tmp_path)


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("TENSORRT_BOOLEANS", "trt_fp16_enable"),
        ("TENSORRT_BOOLEANS", "trt_dump_ep_context_model"),
        ("TENSORRT_BOOLEANS", "trt_engine_hw_compatible"),
        ("TENSORRT_BOOLEANS", "trt_force_sequential_engine_build"),
        ("TENSORRT_NUMBERS", "trt_ep_context_embed_mode"),
        ("TENSORRT_TEXTS", "trt_ep_context_file_path"),
        ("TENSORRT_TEXTS", "trt_profile_min_shapes"),
        ("TENSORRT_TEXTS", "trt_profile_opt_shapes"),
    ],
)
def test_a_setting_of_tensorrt_that_is_renamed_fails_the_core(
    table: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = getattr(onnxruntime_settings, table)
    monkeypatch.setattr(onnxruntime_settings, table, tuple(f"{one}_renamed" if one == name else one for one in names))

    with pytest.raises(Exception, match=name):
        run_core(TENSORRT, tmp_path)


def test_an_argument_that_is_renamed_fails_the_core(tmp_path: Path) -> None:
    with (
        renamed_argument(onnxruntime_gpu.OlderInferenceSession, "__init__", "providers"),
        pytest.raises(EngineFailed, match=r"asked for CUDAExecutionProvider on gpu:0 and gives \['Tensorrt"),
    ):
        run_core(CUDA, tmp_path)


@pytest.mark.parametrize(
    "method", ["cuInit", "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceTotalMem_v2"]
)
def test_a_function_of_the_driver_that_is_renamed_fails_the_core(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DoubleOfCudaDriver, f"{method}_renamed", getattr(DoubleOfCudaDriver, method), raising=False)
    monkeypatch.delattr(DoubleOfCudaDriver, method)

    with pytest.raises(AttributeError, match=method):
        run_core(CUDA, tmp_path)


def test_an_answer_that_is_off_fails_the_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = onnxruntime_gpu.InferenceSession.run

    def off(self: Any, *arguments: Any) -> list[np.ndarray[Any, Any]]:
        return [array + array.dtype.type(1) for array in run(self, *arguments)]

    monkeypatch.setattr(onnxruntime_gpu.InferenceSession, "run", off)

    with pytest.raises(AssertionError, match=r"> 1e-06"):
        run_core(CUDA, tmp_path)
