"""What the child that holds a model in Paddle is asked for, by device, and the environment it gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.engines.base import Device, EngineRequest
from hpi_agent.engines.paddle_request import ON_NPU, environment_of, read_wanted
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Precision

GPU, NPU = Device("gpu", 0), Device("npu", 1)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    for name in ("inference.json", "inference.pdiparams"):
        (tmp_path / name).write_bytes(b"anything")
    return tmp_path / "inference.json"


@pytest.mark.parametrize(
    ("device", "options", "precision", "text"),
    [
        (
            GPU,
            {"run_mode": "mkldnn"},
            "float32",
            "one of paddle, trt on the device gpu:0, got 'mkldnn'",
        ),
        (GPU, {"mkldnn_cache_capacity": 64}, "float32", r"no option \['mkldnn_cache_capacity'\] on the device gpu:0"),
        (GPU, {}, "tf32", "computes in float32, float16 with run_mode 'paddle' on the device gpu:0, got tf32"),
        (
            GPU,
            {"run_mode": "trt"},
            "int8",
            "in float32, float16 with run_mode 'trt' on the device gpu:0, got int8",
        ),
        (NPU, {"run_mode": "trt"}, "float32", "run_mode must be one of paddle on the device npu:1, got 'trt'"),
        (NPU, {}, "float16", "computes in float32 with run_mode 'paddle' on the device npu:1, got float16"),
        (Device(), {}, "float16", "computes in float32 with run_mode 'paddle' on the device cpu, got float16"),
        (Device(), {"run_mode": "trt"}, "float32", "run_mode must be one of paddle, mkldnn, got 'trt'"),
    ],
)
def test_what_a_device_cannot_do_is_refused_with_what_it_can(
    device: Device, options: dict[str, Any], precision: Precision, text: str, program: Path
) -> None:
    with pytest.raises(Refused, match=text):
        read_wanted(EngineRequest(program, "paddle", 1, precision, tuple(options.items()), device=device))


@pytest.mark.parametrize(("device", "index"), [(GPU, 0), (Device("gpu", 3), 0), (NPU, 1), (Device(), 0)])
def test_the_child_counts_the_one_gpu_it_sees_from_0_and_npus_as_this_process_does(
    device: Device, index: int, program: Path
) -> None:
    assert read_wanted(EngineRequest(program, "paddle", 1, device=device))["device_index"] == index


# The environment of the child.


def a_request(device: Device, **changes: Any) -> EngineRequest:
    return replace(EngineRequest(Path("inference.json"), "paddle", 2, device=device), **changes)


@pytest.mark.parametrize(
    ("seen", "index", "one"),
    [(None, 0, "0"), (None, 3, "3"), ("5,6", 1, "6"), ("GPU-aa, GPU-bb", 0, "GPU-aa"), ("MIG-1", 0, "MIG-1")],
)
def test_the_child_sees_the_one_gpu_that_is_asked_for(
    seen: str | None, index: int, one: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if seen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)

    environment = environment_of(a_request(Device("gpu", index)))

    assert environment["CUDA_VISIBLE_DEVICES"] == one
    assert environment["NVIDIA_TF32_OVERRIDE"] == "0"


@pytest.mark.parametrize("seen", ["", "4,5"])
def test_a_gpu_beyond_those_of_this_process_fails_with_both(seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen)

    with pytest.raises(EngineFailed, match=rf"gpu:2 was asked for and CUDA_VISIBLE_DEVICES='{seen}' shows \d GPU"):
        environment_of(a_request(Device("gpu", 2)))


@pytest.mark.parametrize(("limit", "written"), [(None, None), (3 * 2**30, "3072"), (1, "1")])
def test_a_limit_of_memory_reaches_paddle_in_mebibytes(limit: int | None, written: str | None) -> None:
    environment = environment_of(a_request(GPU, device_memory_bytes=limit))

    assert environment.get("FLAGS_gpu_memory_limit_mb") == written


def test_an_npu_has_the_flags_that_paddlex_sets() -> None:
    environment = environment_of(a_request(NPU))

    assert environment.items() >= ON_NPU.items()
    assert "CUDA_VISIBLE_DEVICES" not in environment


def test_the_processors_have_what_they_had() -> None:
    assert set(environment_of(a_request(Device()))) == {"OMP_NUM_THREADS", "GLOG_minloglevel", "KMP_BLOCKTIME"}
