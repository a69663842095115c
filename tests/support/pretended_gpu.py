"""A machine that pretends to have a GPU, and the program that computes one candidate on it.

There is no GPU here. What the builder makes of one is tried on a runtime that computes the model file on the processors
and behaves as those of a GPU do where it matters: it computes with the mantissa of the precision that was asked for, it
compiles for the shapes that it was told and refuses others, its built form is for what it was built for, and it sees
the device that its environment shows. As a program it takes the place of `hpi_agent.building.trial_process`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from hpi_agent.building import trial, trial_process
from hpi_agent.building.device_access import CUDA_VISIBLE, DeviceAccess
from hpi_agent.building.site import Site
from hpi_agent.engines.base import CPU, Device, Engine, EngineRequest, Obtained, ShapeProfile, TensorSpec
from hpi_agent.engines.registry import build_engine, load_engine
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Precision
from support.building import a_site
from support.key_documents import A_GPU, DEVICE_RUNTIMES

UUID: Final = "GPU-7a1b"
NAME: Final = "a pretended A100"
MANTISSA_BITS: Final[Mapping[Precision, int]] = {"tf32": 10, "float16": 10, "bfloat16": 7}
SECONDS: Final = {"tensorrt": 0.0, "onnxruntime": 0.004, "paddle": 0.008}
"""How much longer an inference takes than on the processors, by backend: the order of the candidates is no accident."""

COARSE: Final = "HPI_TEST_MANTISSA_BITS"
"""The environment variable that gives every precision but float32 fewer bits than it has."""
DRIVER: Final = "HPI_TEST_DRIVER"
"""The environment variable with the driver of the moment."""
STRICT: Final = "HPI_TEST_STRICT"
"""The environment variable that, where it is set, lets a built form be loaded under its own driver alone."""


def a_gpu_site(store: Path, driver: str = "550.54.15", **runtimes: str | None) -> Site:
    """Return what this machine brings, with a GPU that is not there and runtimes that compute on it."""
    site = a_site(store)
    accelerator = replace(A_GPU, driver=driver)
    there: Any = {**DEVICE_RUNTIMES["gpu"], "paddle": None, **runtimes}
    return replace(
        site,
        hardware=replace(site.hardware, accelerator=accelerator),
        device=Device("gpu", 1),
        device_runtimes=there,
        access=DeviceAccess(Device("gpu", 0), {CUDA_VISIBLE: UUID}),
    )


def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every candidate that is built from now on live in this program."""
    monkeypatch.setattr(trial, "MODULE", "support.pretended_gpu")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


class PretendedSession:
    """One model, computed on the processors as a GPU would answer."""

    def __init__(self, request: EngineRequest) -> None:
        if os.environ.get(CUDA_VISIBLE) != UUID or request.device != Device("gpu", 0):
            seen = os.environ.get(CUDA_VISIBLE)
            raise EngineFailed(f"{request.device} was asked for, {CUDA_VISIBLE} is {seen!r}")
        plain = replace(request, backend="onnxruntime", precision="float32", options=(), built=None, device=CPU)
        self._engine = load_engine(plain)
        self._request = request
        if request.built is not None:
            _check_built(request, request.built)
        self.inputs: tuple[TensorSpec, ...] = self._engine.inputs
        self.outputs: tuple[TensorSpec, ...] = self._engine.outputs
        self.obtained = Obtained(
            request.backend, "1.0 of tests", request.precision, request.threads, NAME, request.built is not None
        )

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs, as coarse as the precision is."""
        for profile in self._request.profiles:
            _check_shape(profile, feeds[profile.name].shape)
        time.sleep(SECONDS[self._request.backend])
        bits = MANTISSA_BITS.get(self._request.precision)
        answers = self._engine.infer(dict(feeds)).values()
        return [answer if bits is None else _rounded(answer, int(os.environ.get(COARSE, bits))) for answer in answers]

    def close(self) -> None:
        """Free the model."""
        self._engine.close()


def _rounded(array: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return an array with so many bits of mantissa."""
    fraction, exponent = np.frexp(array)
    rounded: NDArray[Any] = np.ldexp(np.round(np.ldexp(fraction, bits + 1)), exponent - bits - 1).astype(array.dtype)
    return rounded


def _check_shape(profile: ShapeProfile, shape: tuple[int, ...]) -> None:
    if not all(low <= size <= high for low, size, high in zip(profile.smallest, shape, profile.largest, strict=True)):
        raise Refused(f"{profile.name} has shape {shape}; compiled from {profile.smallest} to {profile.largest}")


def _facts(request: EngineRequest) -> dict[str, Any]:
    return {
        "backend": request.backend,
        "precision": request.precision,
        "profiles": {one.name: [one.smallest, one.usual, one.largest] for one in request.profiles},
        "deviceMemoryBytes": request.device_memory_bytes,
        "driver": os.environ.get(DRIVER),
    }


def _check_built(request: EngineRequest, built: bytes) -> None:
    wanted, there = json.loads(json.dumps(_facts(request))), json.loads(built)
    differing = sorted(key for key in wanted if wanted[key] != there[key] and key != "driver")
    if differing:
        raise EngineFailed(f"the built form differs in {differing}")
    if STRICT in os.environ and wanted["driver"] != there["driver"]:
        raise EngineFailed(f"built under the driver {there['driver']}, this is {wanted['driver']}")


def load(request: EngineRequest) -> Engine:
    """Load on the pretended GPU what is for one, and everything else as always."""
    return load_engine(request) if request.device.kind == "cpu" else Engine(PretendedSession(request), request)


def build(request: EngineRequest) -> bytes | None:
    """Return the built form: what it is for. The provider of CUDA has none."""
    if request.device.kind == "cpu":
        return build_engine(request)
    PretendedSession(request).close()
    if not request.profiles:
        return None
    if request.timing_cache is not None:
        request.timing_cache.write_bytes(b"measurements")
    return json.dumps(_facts(request)).encode()


if __name__ == "__main__":
    vars(trial_process).update(load_engine=load, build_engine=build)
    sys.exit(trial_process.main(sys.argv[1:]))
