"""The GPU that a number means, told by the driver; and what is said when it cannot tell."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from doubles.cuda_driver import DoubleOfCudaDriver, PlayedGpu
from hpi_agent.engines import nvidia_driver
from hpi_agent.engines.nvidia_driver import Gpu, describe_gpu, load_driver
from hpi_core.errors import EngineFailed

HOPPER = PlayedGpu("NVIDIA H100 80GB HBM3", (9, 0), 85_000_000_000)
TURING = PlayedGpu("Tesla T4", (7, 5), 15_800_000_000)


def play(monkeypatch: pytest.MonkeyPatch, *gpus: PlayedGpu, broken: int = 0) -> None:
    monkeypatch.setattr(nvidia_driver, "load_driver", lambda: DoubleOfCudaDriver(gpus, broken))


@pytest.mark.parametrize(("index", "played"), [(0, HOPPER), (1, TURING)])
def test_a_number_names_a_gpu(index: int, played: PlayedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, HOPPER, TURING)

    assert describe_gpu(index) == Gpu(played.name, played.compute_capability, played.memory_bytes)


@pytest.mark.parametrize(
    ("capability", "has_tf32"), [((7, 5), False), ((7, 9), False), ((8, 0), True), ((8, 6), True), ((12, 0), True)]
)
def test_tf32_begins_with_compute_capability_8(capability: tuple[int, int], has_tf32: bool) -> None:
    assert Gpu("any", capability, 1).has_tf32 == has_tf32


@pytest.mark.parametrize(("index", "gpus"), [(0, ()), (1, (HOPPER,)), (5, (HOPPER, TURING))])
def test_a_number_beyond_the_last_fails_with_their_count(
    index: int, gpus: tuple[PlayedGpu, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, *gpus)

    with pytest.raises(EngineFailed, match=rf"gpu:{index} was asked for, this process sees {len(gpus)} NVIDIA GPU"):
        describe_gpu(index)


@pytest.mark.parametrize(("code", "text"), [(999, "unknown error"), (77, "an unknown error")])
def test_a_driver_that_fails_is_quoted_with_its_call(code: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, HOPPER, broken=code)

    with pytest.raises(EngineFailed, match=rf"fails in cuInit with {code}: {text}; see `hpi-agent detect`"):
        describe_gpu(0)


def test_a_machine_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia_driver, "LIBRARY", "libcuda-that-nobody-has.so.1")
    load_driver.cache_clear()

    with pytest.raises(EngineFailed, match=r"no driver of NVIDIA is here: libcuda-that-nobody-has\.so\.1: cannot open"):
        describe_gpu(0)


def test_the_functions_that_are_called_are_those_of_the_real_library_where_it_is() -> None:
    """Without a driver the names are compared with the double alone."""
    names = [name for name in vars(DoubleOfCudaDriver) if name.startswith("cu")]
    library = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "libcuda.so.1"
    target = ctypes.CDLL(str(library)) if library.exists() else DoubleOfCudaDriver(())

    assert [name for name in names if not hasattr(target, name)] == []
