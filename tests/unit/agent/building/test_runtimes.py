"""Which runtimes are installed for which device: by the builds that are there, not by the names alone."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from hpi_agent.building import runtimes
from hpi_agent.building.runtimes import BUILDS, device_runtimes, processor_runtimes
from hpi_agent.engines import registry
from hpi_agent.plugins.environment import PluginEnvironment
from hpi_agent.select.backend_config import BACKEND_DEVICES
from hpi_core.formats import DEVICE_KINDS


def installed(monkeypatch: pytest.MonkeyPatch, **packages: str) -> None:
    """Let these packages be installed and no others; a hyphen is written as two underscores."""
    there = {name.replace("__", "-"): version for name, version in packages.items()}

    def version(name: str) -> str:
        if name not in there:
            raise PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(runtimes, "version", version)
    monkeypatch.setattr(registry, "version", version)


def test_a_build_for_processors_computes_on_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, onnxruntime="1.31.1", paddlepaddle="3.2.2")

    assert processor_runtimes(None) == {"onnxruntime": "1.31.1", "openvino": None, "paddle": "3.2.2"}
    assert device_runtimes("gpu") == {"onnxruntime": None, "paddle": None, "tensorrt": None}


def test_a_build_for_gpus_serves_both(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, onnxruntime__gpu="1.22.0", paddlepaddle__gpu="3.2.2", tensorrt="10.9.0")

    assert processor_runtimes(None) == {"onnxruntime": "1.22.0", "openvino": None, "paddle": "3.2.2"}
    assert device_runtimes("gpu") == {"onnxruntime": "1.22.0", "paddle": "3.2.2", "tensorrt": "10.9.0"}


def test_paddle_of_the_locked_environment_is_that_of_the_processors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, paddlepaddle__gpu="3.2.0")
    environment = PluginEnvironment("paddle2onnx", Path("python"), "sha256:1", {"paddlepaddle": "3.2.2"})

    assert processor_runtimes(environment)["paddle"] == "3.2.2"
    assert device_runtimes("gpu")["paddle"] == "3.2.0"


def test_paddle_computes_on_an_npu_with_its_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, paddlepaddle="3.2.0")
    without = device_runtimes("npu")
    installed(monkeypatch, paddlepaddle="3.2.0", paddle__custom__npu="3.2.0")

    assert (without["paddle"], device_runtimes("npu")["paddle"]) == (None, "3.2.0")
    assert set(without) == {"paddle", "om"}


def test_the_processors_have_no_runtimes_of_a_device_and_their_own_three_always() -> None:
    assert device_runtimes("cpu") == {}
    # A decision is remembered under these: one more, even if it is not installed, would be another name.
    assert list(processor_runtimes(None)) == ["onnxruntime", "openvino", "paddle"]


def test_every_backend_of_several_devices_says_which_package_a_device_needs() -> None:
    several = {backend for backend, devices in BACKEND_DEVICES.items() if len(devices) > 1}

    needed = {(backend, kind) for backend in several for kind in BACKEND_DEVICES[backend] if kind != "cpu"}
    assert set(BUILDS) == needed
    assert {kind for devices in BACKEND_DEVICES.values() for kind in devices} == set(DEVICE_KINDS)


def test_what_is_chosen_and_what_loads_agree_on_the_devices_of_every_backend() -> None:
    assert BACKEND_DEVICES == registry.DEVICES
