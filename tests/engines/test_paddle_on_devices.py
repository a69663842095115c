"""Paddle on a GPU, by TensorRT and on an NPU, on the double of its library: what is asked, obtained and kept."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device import paddle_claims
from device.paddle_claims import PaddleBench, PaddleWay
from hpi_agent.engines.base import Device, Engine, EngineRequest, ShapeProfile
from hpi_agent.engines.registry import build_engine, load_engine
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Precision
from support.arrays import relative_difference
from support.engines import with_built_form
from support.paddle_environment import paddle_python
from support.paddle_machines import DOUBLE, paddle_python_on

PROGRAM = Path(__file__).parents[1] / "models" / "paddle_graphs_program.py"
GPU, NPU = Device("gpu", 0), Device("npu", 1)
PICTURES = (ShapeProfile("x", (1, 3, 8, 8), (1, 3, 16, 16), (4, 3, 32, 32)),)
BY_TENSORRT = (("run_mode", "trt"),)
PICTURED = "pir/convolution/inference.json"


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of tiny graphs in Paddle's format, and of some in the format before."""
    folder = tmp_path_factory.mktemp("paddle-graphs")
    for words in ([str(folder / "pir")], [str(folder / "legacy"), "legacy"]):
        Path(words[0]).mkdir()
        subprocess.run([paddle_python(), "-W", "ignore", PROGRAM, *words], check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("interpreters")
    return {machine: paddle_python_on(machine, folder) for machine in ("gpu", "gpu-without-tensorrt", "npu", "cpu")}


def on_gpu(program: Path, machines: dict[str, Path], precision: Precision = "float32", **changes: Any) -> EngineRequest:
    request = EngineRequest(program, "paddle", 1, precision, device=GPU, interpreter=machines["gpu"])
    return replace(request, **changes)


def by_tensorrt(program: Path, machines: dict[str, Path], **changes: Any) -> EngineRequest:
    return on_gpu(program, machines, **{"options": BY_TENSORRT, "profiles": PICTURES, **changes})


@pytest.fixture(scope="session")
def compiled(graphs: Path, machines: dict[str, Path]) -> EngineRequest:
    """Return a request with its built form, made once for the tests that spoil it."""
    return with_built_form(by_tensorrt(graphs / PICTURED, machines))


def picture(side: int = 16) -> np.ndarray:
    return np.random.default_rng(3).random((1, 3, side, side), dtype=np.float32)


def answer_of(engine: Engine, x: np.ndarray) -> np.ndarray:
    return next(iter(engine.infer({"x": x}).values()))


# A GPU.


def test_a_gpu_is_named_and_float32_is_not_rounded(graphs: Path, machines: dict[str, Path]) -> None:
    program = graphs / "pir" / "convolution" / "inference.json"
    with load_engine(EngineRequest(program, "paddle", 1, interpreter=paddle_python())) as reference:
        want = answer_of(reference, picture())

    with load_engine(on_gpu(program, machines)) as engine:
        got, obtained = answer_of(engine, picture()), engine.obtained

    assert (obtained.device, obtained.precision) == ("NVIDIA A100-SXM4-40GB, Paddle", "float32")
    assert relative_difference(got, want) <= 1e-6


def test_float16_is_computed_where_it_is_asked_for(graphs: Path, machines: dict[str, Path]) -> None:
    program = graphs / "pir" / "convolution" / "inference.json"
    answers = []
    for precision in ("float32", "float16"):
        with load_engine(on_gpu(program, machines, precision)) as engine:
            answers.append(answer_of(engine, picture()))

    assert 1e-6 < relative_difference(answers[1], answers[0]) < 1e-2


def test_a_build_for_processors_fails_with_what_to_install(graphs: Path, machines: dict[str, Path]) -> None:
    program = graphs / "pir" / "add" / "inference.json"

    with pytest.raises(EngineFailed, match="is built for processors alone; install paddlepaddle-gpu in"):
        load_engine(on_gpu(program, machines, interpreter=paddle_python()))


def test_a_gpu_that_paddle_does_not_see_fails(
    graphs: Path, machines: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")

    with pytest.raises(EngineFailed, match="was asked for a GPU and sees none that it can use"):
        load_engine(on_gpu(graphs / "pir" / "add" / "inference.json", machines))


# An NPU.


def test_an_npu_computes_through_its_custom_device(graphs: Path, machines: dict[str, Path]) -> None:
    program = graphs / "pir" / "add" / "inference.json"
    request = EngineRequest(program, "paddle", 1, device=NPU, interpreter=machines["npu"])

    with load_engine(request) as engine:
        y, device = answer_of(engine, np.ones((2, 3), dtype=np.float32)), engine.obtained.device

    assert device == "npu:1, Paddle"
    assert np.array_equal(y[0], [2, -1, 1.5])


def test_a_paddle_without_the_plugin_of_npus_fails_before_it_would_abort(graphs: Path) -> None:
    """The real one, without a double: it ends its process when such a predictor is made."""
    request = EngineRequest(
        graphs / "pir" / "add" / "inference.json", "paddle", 1, device=NPU, interpreter=paddle_python()
    )

    with pytest.raises(EngineFailed, match=r"asked for an NPU and has the devices cpu; install paddle-custom-npu"):
        load_engine(request)


def test_an_npu_beyond_the_last_fails_with_their_number(graphs: Path, machines: dict[str, Path]) -> None:
    program = graphs / "pir" / "add" / "inference.json"
    request = EngineRequest(program, "paddle", 1, device=Device("npu", 2), interpreter=machines["npu"])

    with pytest.raises(EngineFailed, match=r"npu:2 was asked for, paddle sees 2 NPU\(s\), counted from 0"):
        load_engine(request)


# TensorRT inside Paddle.


@pytest.mark.parametrize(
    ("program", "precision", "device"),
    [
        (PICTURED, "float16", "NVIDIA A100-SXM4-40GB, Paddle, TensorRT in 1 part(s), 1 operators by Paddle"),
        ("legacy/convolution/inference.pdmodel", "float32", "NVIDIA A100-SXM4-40GB, Paddle, TensorRT in 1 part(s)"),
    ],
)
def test_what_tensorrt_compiled_is_kept_and_answers_without_compiling_again(
    program: str, precision: Precision, device: str, graphs: Path, machines: dict[str, Path]
) -> None:
    request = by_tensorrt(graphs / program, machines, precision=precision)
    with load_engine(EngineRequest(graphs / program, "paddle", 1, interpreter=paddle_python())) as reference:
        want = answer_of(reference, picture())

    with load_engine(with_built_form(request)) as engine:
        got, obtained = answer_of(engine, picture()), engine.obtained

    assert (obtained.device, obtained.precision, obtained.from_store) == (device, precision, True)
    assert relative_difference(got, want) <= (1e-6 if precision == "float32" else 1e-2)


def test_the_directory_of_a_model_is_never_written_and_a_cache_there_is_said(
    graphs: Path, machines: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Path(shutil.copytree(graphs / "pir" / "convolution", tmp_path / "model"))
    (model / ".cache" / "paddle" / "trt").mkdir(parents=True)
    before = sorted(model.rglob("*"))

    build_engine(by_tensorrt(model / "inference.json", machines))

    assert sorted(model.rglob("*")) == before
    assert any("files beside the model are ignored" in message for message in caplog.messages)


def test_shapes_beyond_those_compiled_for_are_refused(compiled: EngineRequest) -> None:
    with load_engine(compiled) as engine:
        with pytest.raises(Refused, match=r"shape from \(1, 3, 8, 8\) to \(4, 3, 32, 32\), .* got \(1, 3, 33, 33\)"):
            engine.infer({"x": picture(33)})

        assert answer_of(engine, picture(32)).shape[0] == 1


def test_a_free_dimension_without_a_profile_is_refused(graphs: Path, machines: dict[str, Path]) -> None:
    with pytest.raises(Refused, match="compiles for shapes that are known; give a shape profile for it"):
        build_engine(by_tensorrt(graphs / PICTURED, machines, profiles=()))


def test_a_paddle_without_tensorrt_fails_with_what_to_install(graphs: Path, machines: dict[str, Path]) -> None:
    request = by_tensorrt(graphs / PICTURED, machines, interpreter=machines["gpu-without-tensorrt"])

    with pytest.raises(EngineFailed, match=r"cannot compile for TensorRT here: .*tensorrt.*; install the TensorRT"):
        build_engine(request)


def test_a_model_of_which_tensorrt_takes_nothing_fails(graphs: Path, machines: dict[str, Path], tmp_path: Path) -> None:
    model = Path(shutil.copytree(graphs / "pir" / "convolution", tmp_path / "nothing"))

    with pytest.raises(EngineFailed, match=r"TensorRT takes none of the 1 operators of .*; choose run_mode 'paddle'"):
        build_engine(by_tensorrt(model / "inference.json", machines))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda built: built[:-1], id="cut"),
        pytest.param(lambda built: built[:-1] + b"\x00", id="another byte"),
    ],
)
def test_a_damaged_built_form_fails_with_the_name_of_the_model(
    damage: Callable[[bytes], bytes], compiled: EngineRequest
) -> None:
    spoiled = damage(compiled.built or b"")

    with pytest.raises(EngineFailed, match=r"the built form of .*inference\.json cannot be used: .*; build it again"):
        load_engine(replace(compiled, built=spoiled))


def test_a_built_form_for_other_shapes_fails_with_both(compiled: EngineRequest) -> None:
    others = (replace(PICTURES[0], largest=(4, 3, 64, 64)),)

    with pytest.raises(EngineFailed, match=r"was made for .*32, 32\].*64, 64\].* is asked for; build it again"):
        load_engine(replace(compiled, profiles=others))


def test_a_built_form_is_refused_where_nothing_is_compiled(graphs: Path, machines: dict[str, Path]) -> None:
    with pytest.raises(Refused, match="the backend paddle has no built form"):
        load_engine(on_gpu(graphs / "pir/add/inference.json", machines, built=b"anything"))


# As `make gpu` asks.


@pytest.mark.parametrize("way", [paddle_claims.ON_DEVICES[1], paddle_claims.ON_DEVICES[3]], ids=lambda way: way.name)
def test_paddle_keeps_the_promises_of_the_core(way: PaddleWay, graphs: Path, machines: dict[str, Path]) -> None:
    bench = PaddleBench(way, graphs / "pir", machines[way.device.kind])

    for claim in paddle_claims.CLAIMS:
        claim(bench)


# The double.


def test_the_played_settings_have_the_arguments_of_the_real_ones() -> None:
    script = "import json, runpy, sys; print(json.dumps(runpy.run_path(sys.argv[1])['signatures']()))"

    printed = subprocess.run(
        [paddle_python(), "-W", "ignore", "-c", script, DOUBLE], check=True, capture_output=True, text=True, timeout=300
    ).stdout

    compared = json.loads(printed.splitlines()[-1])
    assert {"enable_use_gpu", "enable_custom_device", "enable_tensorrt_engine"} <= set(compared)
    for name, (real, played) in compared.items():
        assert played == real, name
