"""Versions of backends, read without importing them."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.engines.base import MAX_DEVICE_INDEX, Device, EngineRequest, ShapeProfile
from hpi_agent.engines.registry import DEVICES, DISTRIBUTIONS, LOADERS, load_engine, runtime_version
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import BACKENDS, Backend

ASK_AND_SAY = """
import sys
from hpi_agent.engines.registry import runtime_version
from hpi_core.formats import BACKENDS
versions = [runtime_version(backend) for backend in BACKENDS]
print(sorted({'onnxruntime', 'openvino', 'paddle'} & set(sys.modules)))
"""


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_the_version_of_a_backend_is_that_of_its_package(backend: Backend) -> None:
    assert runtime_version(backend) == version(DISTRIBUTIONS[backend][0])


def test_a_backend_that_is_not_installed_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DISTRIBUTIONS, "paddle", ("a-package-that-nobody-installs",))

    assert runtime_version("paddle") is None


def test_any_of_the_packages_of_a_backend_gives_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DISTRIBUTIONS, "openvino", ("a-package-that-nobody-installs", "onnxruntime"))

    assert runtime_version("openvino") == version("onnxruntime")


def test_two_releases_of_one_backend_side_by_side_fail_with_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DISTRIBUTIONS, "openvino", ("onnxruntime", "openvino"))

    with pytest.raises(
        EngineFailed, match=r"installed twice, .*: onnxruntime 1\..*, openvino 20\d\d\..*uninstall both"
    ):
        runtime_version("openvino")


def test_asking_for_versions_imports_no_backend() -> None:
    printed = subprocess.run([sys.executable, "-c", ASK_AND_SAY], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "[]"


def test_every_backend_can_be_asked_for() -> None:
    assert set(LOADERS) == set(DISTRIBUTIONS) == set(DEVICES) == set(BACKENDS)


# What a request has to be.

NOWHERE = Path("model.onnx")


@pytest.mark.parametrize(
    ("backend", "device", "text"),
    [
        ("openvino", Device("gpu"), r"openvino computes on cpu, gpu:0 was asked for; backends for gpu: onnxruntime"),
        ("openvino", Device("npu", 1), r"openvino computes on cpu, npu:1 was asked for; backends for npu: .*paddle"),
        ("onnxruntime", Device("npu"), r"onnxruntime computes on cpu, gpu, npu:0 was asked for"),
        ("onnxruntime", Device("gpu", -1), f"number of a gpu must be from 0 to {MAX_DEVICE_INDEX}, got -1"),
        (
            "onnxruntime",
            Device("gpu", MAX_DEVICE_INDEX + 1),
            f"from 0 to {MAX_DEVICE_INDEX}, got {MAX_DEVICE_INDEX + 1}",
        ),
        ("onnxruntime", Device("cpu", 1), "number of a cpu must be 0, got 1"),
    ],
)
def test_a_device_that_a_backend_does_not_compute_on_is_refused_with_those_that_do(
    backend: Backend, device: Device, text: str
) -> None:
    with pytest.raises(Refused, match=text):
        load_engine(EngineRequest(NOWHERE, backend, 1, device=device))


@pytest.mark.parametrize("size", [0, -1])
def test_memory_of_a_device_below_one_byte_is_refused(size: int) -> None:
    with pytest.raises(Refused, match=f"device_memory_bytes must be at least 1, got {size}"):
        load_engine(EngineRequest(NOWHERE, "onnxruntime", 1, device=Device("gpu"), device_memory_bytes=size))


@pytest.mark.parametrize(
    "profiles",
    [
        pytest.param((ShapeProfile("x", (1, 2), (1, 1), (1, 2)),), id="usual below smallest"),
        pytest.param((ShapeProfile("x", (1,), (1,), (1, 1)),), id="ranks"),
        pytest.param((ShapeProfile("x", (1,), (1,), (1,)), ShapeProfile("x", (1,), (1,), (1,))), id="twice"),
    ],
)
def test_shape_profiles_that_are_no_ranges_are_refused(profiles: Any) -> None:
    with pytest.raises(Refused, match="shape profile"):
        load_engine(EngineRequest(NOWHERE, "onnxruntime", 1, profiles=profiles))
