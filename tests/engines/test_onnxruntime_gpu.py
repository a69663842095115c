"""ONNX Runtime's providers for GPUs, on their double: what is asked, what is obtained, and what is never silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles import onnxruntime_gpu
from doubles.cuda_driver import PlayedGpu
from doubles.onnxruntime_gpu import Machine, OlderInferenceSession, machine_without, presented
from doubles.onnxruntime_graph import CPU, CUDA, TENSORRT
from hpi_agent.engines import onnxruntime_gpu as engine_module
from hpi_agent.engines.base import Device, TensorSpec
from hpi_agent.engines.onnxruntime_gpu import TF32_OVERRIDE
from hpi_agent.engines.onnxruntime_libraries import reason_of
from hpi_agent.engines.onnxruntime_providers import cuda_provider
from hpi_agent.engines.registry import load_engine
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Precision
from models import graphs
from models.graphs import TinyModel
from support.arrays import relative_difference
from support.onnxruntime_requests import GPU, by_cuda, by_tensorrt

TURING = PlayedGpu("Tesla T4", (7, 5), 16 * 2**30)


@pytest.fixture(autouse=True)
def on_the_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(TF32_OVERRIDE, raising=False)
    with presented():
        yield


def partly_on_cpu(operator: str) -> TinyModel:
    """An operator of its own after a convolution, so that the GPU has work too."""
    x, y = graphs.spec("x", "float32", None, 3, None, None), graphs.spec("y", "float32", None, 8, None, None)
    weights = {"weight": np.ones((8, 3, 3, 3), dtype=np.float32)}
    nodes = [graphs.node("Conv", ["x", "weight"], ["c"], pads=[1, 1, 1, 1]), graphs.node(operator, ["c"], ["y"])]
    return TinyModel("partly", graphs.proto(nodes, [x], [y], weights), (x,), (y,), lambda _: {}, lambda _: {})


def flattened() -> TinyModel:
    """A reshape to sizes that are computed from the shape of the input."""
    x, y = graphs.spec("x", "float32", None, 4), graphs.spec("y", "float32", None)
    nodes = [
        graphs.node("Neg", ["x"], ["n"]),
        graphs.node("Shape", ["x"], ["sizes"]),
        graphs.node("ReduceProd", ["sizes"], ["total"], keepdims=1),
        graphs.node("Reshape", ["n", "total"], ["y"]),
    ]
    return TinyModel("flattened", graphs.proto(nodes, [x], [y]), (x,), (y,), lambda _: {}, lambda _: {})


# Where it computes.


@pytest.mark.parametrize(
    ("way", "provider", "text"),
    [
        (by_cuda, CUDA, rf"asked for {CUDA} on gpu:0 and gives \['{CPU}'\]: .*install the plugin variant"),
        (by_tensorrt, TENSORRT, rf"asked for {TENSORRT} on gpu:0 and cannot load .*Please install TensorRT libraries"),
    ],
)
def test_a_provider_whose_libraries_are_missing_fails_with_both_sides(
    way: Any, provider: str, text: str, tmp_path: Path
) -> None:
    with presented(machine_without(provider)), pytest.raises(EngineFailed, match=text):
        load_engine(way(graphs.add(), tmp_path))


@pytest.mark.parametrize("way", [by_cuda, by_tensorrt])
def test_the_build_for_processors_fails_with_what_to_install(way: Any, tmp_path: Path) -> None:
    with (
        presented(Machine(built_with=(CPU,))),
        pytest.raises(EngineFailed, match=rf"on gpu:0 and has \['{CPU}'\]; install onnxruntime-gpu in place of"),
    ):
        load_engine(way(graphs.add(), tmp_path))


def test_a_number_beyond_the_last_gpu_fails_with_the_range(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"gpu:1 was asked for, this process sees 1 NVIDIA GPU\(s\), counted fr"):
        load_engine(by_cuda(graphs.add(), tmp_path, device=Device("gpu", 1)))


def test_settings_that_were_not_taken_fail_with_both_sides(tmp_path: Path) -> None:
    with (
        presented(Machine(obeys=False)),
        pytest.raises(EngineFailed, match=rf"{CUDA} was asked for other settings than it has: use_tf32 '0', has '1'"),
    ):
        load_engine(by_cuda(graphs.add(), tmp_path))


def test_the_gpu_is_named_as_its_driver_names_it(tmp_path: Path) -> None:
    with load_engine(by_cuda(graphs.add(), tmp_path)) as engine:
        obtained = engine.obtained

    assert obtained.device == f"NVIDIA H100 80GB HBM3, {CUDA}"
    assert obtained.version.endswith("-cuda13.0")


def test_an_operator_that_would_run_on_the_processors_fails_the_load(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=rf"{CUDA} takes 1 of 2 nodes, .*on the processors: Atan; choose another"):
        load_engine(by_cuda(partly_on_cpu("Atan"), tmp_path))


def test_a_model_of_which_nothing_runs_on_the_gpu_fails_even_where_its_operators_may_compute_shapes(
    tmp_path: Path,
) -> None:
    x, y = graphs.spec("x", "float32", None), graphs.spec("y", "int64", 1)
    model = TinyModel(
        "rank", graphs.proto([graphs.node("Shape", ["x"], ["y"])], [x], [y]), (x,), (y,), *[lambda _: {}] * 2
    )

    with pytest.raises(EngineFailed, match=rf"{CUDA} takes 0 of 1 nodes, .*: Shape"):
        load_engine(by_cuda(model, tmp_path))


def test_shapes_may_be_computed_on_the_processors_and_their_share_is_said(tmp_path: Path) -> None:
    with load_engine(by_cuda(flattened(), tmp_path)) as engine:
        [y] = engine.infer({"x": np.ones((3, 4), dtype=np.float32)}).values()

    assert y.shape == (12,)
    assert engine.obtained.device.endswith(f"{CUDA}, 2 of 4 nodes on the CPU: ReduceProd, Shape")


@pytest.mark.parametrize("way", [by_cuda, by_tensorrt])
def test_a_release_that_cannot_say_where_nodes_lie_takes_a_model_that_lies_on_the_gpu_whole(
    way: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_gpu, "InferenceSession", OlderInferenceSession)

    with load_engine(way(graphs.convolution(), tmp_path)) as engine:
        assert engine.obtained.device.startswith("NVIDIA H100")


def test_such_a_release_takes_no_model_that_lies_on_the_processors_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_gpu, "InferenceSession", OlderInferenceSession)

    with pytest.raises(EngineFailed, match="fallback to CPU EP has been explicitly disabled"):
        load_engine(by_cuda(flattened(), tmp_path))


def test_tensorrt_takes_a_model_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(
        EngineFailed, match=r"TensorRT takes 1 of 2 nodes in 1 part\(s\).*the others: Atan; choose exec"
    ):
        load_engine(by_tensorrt(partly_on_cpu("Atan"), tmp_path))


# Precision.


def test_tf32_is_computed_where_it_is_asked_for_alone(tmp_path: Path) -> None:
    model = graphs.convolution()
    feeds = {"x": np.random.default_rng(5).standard_normal((1, 3, 30, 30)).astype(np.float32)}
    answers = []
    for precision in ("float32", "tf32"):
        with load_engine(by_cuda(model, tmp_path, precision)) as engine:
            answers.append((engine.obtained.precision, engine.infer(feeds)["y"]))

    differences = [relative_difference(answer, model.answer(feeds)["y"]) for _, answer in answers]
    assert [precision for precision, _ in answers] == ["float32", "tf32"]
    assert differences[0] <= 1e-6 < differences[1]


@pytest.mark.parametrize(
    ("way", "precision", "text"),
    [
        (by_cuda, "float16", "computes in float32, tf32 with execution_provider 'cuda', got float16"),
        (by_cuda, "bfloat16", "computes in float32, tf32 with execution_provider 'cuda', got bfloat16"),
        (by_tensorrt, "int8", "computes in float32, tf32, float16 with execution_provider 'tensorrt', got int8"),
        (by_tensorrt, "float32", f"computes in TF32 without a setting for it; ask for tf32.* or set {TF32_OVERRIDE}=0"),
    ],
)
def test_a_precision_that_cannot_be_had_is_refused_with_those_that_can(
    way: Any, precision: Precision, text: str, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=text):
        load_engine(way(graphs.add(), tmp_path, precision))


def test_tensorrt_computes_in_float32_where_the_process_forbids_tf32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TF32_OVERRIDE, "0")

    with load_engine(by_tensorrt(graphs.add(), tmp_path, "float32")) as engine:
        assert engine.obtained.precision == "float32"


@pytest.mark.parametrize("way", [by_cuda, by_tensorrt])
def test_tf32_is_refused_where_the_process_forbids_it(
    way: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TF32_OVERRIDE, "0")

    with pytest.raises(Refused, match=f"tf32 was asked for and {TF32_OVERRIDE}=0 holds"):
        load_engine(way(graphs.add(), tmp_path, "tf32"))


def test_a_gpu_without_tf32_has_float32_alone(tmp_path: Path) -> None:
    with presented(Machine(gpus=(TURING,))):
        with pytest.raises(EngineFailed, match="tf32 was asked for and Tesla T4 computes in float32 alone"):
            load_engine(by_tensorrt(graphs.add(), tmp_path, "tf32"))

        with load_engine(by_tensorrt(graphs.add(), tmp_path, "float32")) as engine:
            assert engine.obtained.precision == "float32"


@pytest.mark.parametrize(("major", "loads"), [(10, True), (11, False)])
def test_float16_is_not_believed_of_a_tensorrt_that_ignores_it(
    major: int, loads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "loaded_tensorrt", lambda: major)
    request = by_tensorrt(graphs.add(), tmp_path, "float16")

    if loads:
        with load_engine(request) as engine:
            assert engine.obtained.precision == "float16"
    else:
        with pytest.raises(
            EngineFailed, match=r"float16 was asked for and onnxruntime with TensorRT 11 computes .*types"
        ):
            load_engine(request)


# Options.


@pytest.mark.parametrize(
    ("device", "value", "text"),
    [
        (GPU, "cpu", "execution_provider must be one of cuda, tensorrt on the device gpu:0, got 'cpu'"),
        (GPU, "rocm", "execution_provider must be one of cuda, tensorrt on the device gpu:0, got 'rocm'"),
        (Device(), "cuda", "execution_provider must be one of cpu on the device cpu, got 'cuda'"),
    ],
)
def test_a_provider_of_another_device_is_refused(device: Device, value: str, text: str, tmp_path: Path) -> None:
    request = by_cuda(graphs.add(), tmp_path, device=device, options=(("execution_provider", value),))

    with pytest.raises(Refused, match=text):
        load_engine(request)


def test_a_gpu_without_a_word_of_its_provider_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="must be one of cuda, tensorrt on the device gpu:0, got 'cpu'"):
        load_engine(by_cuda(graphs.add(), tmp_path, options=()))


def test_the_graph_as_it_is_written_has_no_meaning_for_tensorrt(tmp_path: Path) -> None:
    options = (("execution_provider", "tensorrt"), ("graph_optimization", "off"))

    with pytest.raises(Refused, match="'off' has no meaning where TensorRT compiles the graph"):
        load_engine(by_tensorrt(graphs.add(), tmp_path, options=options))


@pytest.mark.parametrize("way", [by_cuda, by_tensorrt])
def test_a_limit_of_memory_is_taken(way: Any, tmp_path: Path) -> None:
    with load_engine(way(graphs.add(), tmp_path, device_memory_bytes=2**30)) as engine:
        assert engine.infer({"x": np.ones((1, 3), dtype=np.float32)})["y"].shape == (1, 3)


@pytest.mark.parametrize(("size", "search"), [(None, "DEFAULT"), (736, "HEURISTIC")])
def test_cudnn_compiles_kernels_for_a_shape_where_no_other_can_come_alone(
    size: int | None, search: str, tmp_path: Path
) -> None:
    asked = cuda_provider(by_cuda(graphs.convolution(), tmp_path), [TensorSpec("x", "float32", (1, 3, size, 736))])

    assert asked.options["cudnn_conv_algo_search"] == search


@pytest.mark.parametrize("way", [by_cuda, by_tensorrt])
def test_no_gpu_that_is_visible_is_none_to_compute_on(way: Any, tmp_path: Path) -> None:
    with presented(Machine(gpus=())), pytest.raises(EngineFailed, match=r"this process sees 0 NVIDIA GPU\(s\)"):
        load_engine(way(graphs.add(), tmp_path))


def test_a_limit_that_does_not_suffice_is_named_with_the_setting_that_allows_more(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"smaller than requested .*; 64 bytes of the device are allowed: all"):
        load_engine(by_cuda(graphs.convolution(), tmp_path, device_memory_bytes=64))


def test_a_load_writes_no_line_of_the_runtime_beside_those_of_the_program(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    load_engine(by_cuda(graphs.add(), tmp_path)).close()

    assert capfd.readouterr().err == ""


# Reasons, as onnxruntime-gpu 1.31.1 writes them.

IN_CALL = "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, int) [with ERRTYPE = cudaError; bool THRW = true] "  # noqa: E501
IN_SETTINGS = "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:63 static onnxruntime::CUDAExecutionProviderInfo onnxruntime::CUDAExecutionProviderInfo::FromProviderOptions(const onnxruntime::ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:182 Parse "  # noqa: E501

IN_ARENA = "/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) "  # noqa: E501


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f"[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: {IN_ARENA}"
            "Available memory of 312320 is smaller than requested bytes of 1179648",
            "Exception during initialization: Available memory of 312320 is smaller than requested bytes of 1179648",
        ),
        (
            "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Add node. Name:'Add@32' "
            f"Status Message: {IN_ARENA}Available memory of 861184 is smaller than requested bytes of 921600",
            "Non-zero status code returned while running Add node. Name:'Add@32' Status Message: Available memory of "
            "861184 is smaller than requested bytes of 921600",
        ),
        (
            'Failed to parse provider option "device_id": cuda_execution_provider_info.cc:71 operator() Invalid device '
            "ID: 1, must be between 0 (inclusive) and 1 (exclusive).\n",
            'Failed to parse provider option "device_id": Invalid device ID: 1, must be between 0 (inclusive) and 1 '
            "(exclusive)",
        ),
        (
            f"{IN_CALL}{IN_CALL}CUDA failure 35: CUDA driver version is insufficient ; GPU=-1 ; hostname=vm ; line=355",
            "CUDA failure 35: CUDA driver version is insufficient",
        ),
        (f'{IN_SETTINGS}Unknown provider option: "bogus".\n', 'Unknown provider option: "bogus"'),
        ("[ONNXRuntimeError] : 1 : FAIL : TensorRT EP failed", "TensorRT EP failed"),
        ("", "RuntimeError"),
    ],
)
def test_the_reason_is_what_follows_the_places_in_the_sources(text: str, reason: str) -> None:
    assert reason_of(RuntimeError(text)) == reason
