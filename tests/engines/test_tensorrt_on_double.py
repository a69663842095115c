"""What TensorRT's engine does when a device is small, missing or broken, and what it leaves behind: on the double."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles import gpus
from doubles.gpus import Machine
from doubles.nvidia_runtimes import presented
from doubles.presenting import Leak, importable
from hpi_agent.engines.base import Device, EngineRequest
from hpi_agent.engines.registry import load_engine
from hpi_core.errors import EngineFailed, Refused, TooLarge
from models import graphs
from support.arrays import assert_arrays_equal
from support.engines import WAYS, with_built_form

[TENSORRT] = [way for way in WAYS if way.name == "tensorrt"]


@pytest.fixture
def machine() -> Iterator[Machine]:
    with presented() as found:
        yield found


def request_for_positions(directory: Path) -> EngineRequest:
    """A model whose output has a size that only the values decide."""
    return TENSORRT.request(graphs.positions(), directory)


# What is left behind.


@pytest.mark.parametrize("form", ["file", "built"])
def test_thirty_loads_leave_no_memory_and_no_stream(form: str, machine: Machine, tmp_path: Path) -> None:
    leave_nothing(30, form, machine, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["file", "built"])
def test_a_thousand_loads_leave_no_memory_and_no_stream(form: str, machine: Machine, tmp_path: Path) -> None:
    leave_nothing(1000, form, machine, tmp_path)


def leave_nothing(loads: int, form: str, machine: Machine, directory: Path) -> None:
    request = request_for_positions(directory)
    request = with_built_form(request) if form == "built" else request
    x = np.array([1, 0, 1], dtype=np.float32)

    for _ in range(loads):
        with load_engine(request) as engine:
            assert np.array_equal(engine.infer({"x": x})["y"], [[0, 2]])

    gc.collect()
    assert machine.held == {}


def test_an_engine_that_stays_open_is_seen_by_the_same_measure(tmp_path: Path) -> None:
    with pytest.raises(Leak, match=r"'context': 1, 'cudaMalloc': \d+, 'weights': 1, 'stream': 1"), presented():
        engine = load_engine(TENSORRT.request(graphs.add(), tmp_path))

    assert engine.obtained.backend == "tensorrt"


def test_closing_frees_everything_at_once_and_does_not_wait_for_a_collection(machine: Machine, tmp_path: Path) -> None:
    gc.disable()
    try:
        with load_engine(request_for_positions(tmp_path)) as engine:
            engine.infer({"x": np.ones(3, dtype=np.float32)})
        held = machine.held
    finally:
        gc.enable()

    assert held == {}


# A small, a missing, a broken device.


@pytest.mark.parametrize("memory_bytes", [1, 400, 5_000, 6_000, 7_000])
def test_a_device_that_is_too_small_fails_when_the_engine_loads_and_keeps_nothing(
    memory_bytes: int, machine: Machine, tmp_path: Path
) -> None:
    request = with_built_form(TENSORRT.request(graphs.convolution(), tmp_path))
    machine.gpus[0].memory_bytes = memory_bytes

    with pytest.raises(EngineFailed, match=r"out of memory|OutOfMemory"):
        load_engine(request)

    gc.collect()
    assert machine.held == {}


def test_a_device_that_has_no_room_for_the_buffers_says_how_much_is_wanted(machine: Machine, tmp_path: Path) -> None:
    request = with_built_form(TENSORRT.request(graphs.convolution(), tmp_path))
    machine.gpus[0].memory_bytes = 10_000

    with pytest.raises(EngineFailed, match=r"gpu:0 gives no 3145728 bytes, \d+ of 10000 are free: cudaMalloc failed"):
        load_engine(request)


def test_an_output_that_finds_no_memory_fails_and_leaves_the_engine_fit(machine: Machine, tmp_path: Path) -> None:
    with load_engine(request_for_positions(tmp_path)) as engine:
        enough, machine.gpus[0].memory_bytes = machine.gpus[0].memory_bytes, machine.memory.used_bytes(0)
        x = np.ones(64, dtype=np.float32)
        with pytest.raises(EngineFailed, match=r"failed inside .*positions\.onnx: gpu:0 gives no 512 bytes, 256 of"):
            engine.infer({"x": x})
        machine.gpus[0].memory_bytes = enough

        answer = engine.infer({"x": x})["y"]

    assert np.array_equal(answer, [np.arange(64)])


@pytest.mark.parametrize("form", ["file", "built"])
def test_an_engine_that_needs_more_than_is_allowed_is_refused_with_both_and_keeps_nothing(
    form: str, machine: Machine, tmp_path: Path
) -> None:
    request = TENSORRT.request(graphs.convolution(), tmp_path)
    request = with_built_form(request) if form == "built" else request

    for allowed in (1, 1_000_000):
        with pytest.raises(TooLarge, match=rf"needs \d+ bytes of gpu:0 for its largest shapes, {allowed} are allowed"):
            load_engine(replace(request, device_memory_bytes=allowed))

    gc.collect()
    assert machine.held == {}


def test_an_engine_that_needs_no_more_than_is_allowed_is_loaded(machine: Machine, tmp_path: Path) -> None:
    request = replace(TENSORRT.request(graphs.convolution(), tmp_path), device_memory_bytes=100_000_000)

    with load_engine(request):
        used_bytes = machine.memory.used_bytes(0)

    assert 1_000_000 < used_bytes <= 100_000_000


def test_a_device_that_is_not_there_is_refused_with_how_many_are(machine: Machine, tmp_path: Path) -> None:
    request = replace(TENSORRT.request(graphs.add(), tmp_path), device=Device("gpu", 2))

    with pytest.raises(Refused, match=r"gpu:2 is not there: this process sees 2 GPU\(s\), numbered from 0"):
        load_engine(request)


def test_without_any_device_the_error_is_the_one_of_cuda(machine: Machine, tmp_path: Path) -> None:
    machine.gpus.clear()

    with pytest.raises(EngineFailed, match="cudaGetDeviceCount failed: cudaErrorNoDevice"):
        load_engine(TENSORRT.request(graphs.add(), tmp_path))


def test_without_a_driver_the_error_says_what_to_install(machine: Machine, tmp_path: Path) -> None:
    machine.driver = False

    with pytest.raises(EngineFailed, match=r"libcuda\.so\.1; install the NVIDIA driver, or let this container see it"):
        load_engine(TENSORRT.request(graphs.add(), tmp_path))


def test_a_device_that_breaks_fails_every_call_with_its_error(machine: Machine, tmp_path: Path) -> None:
    engine = load_engine(TENSORRT.request(graphs.add(), tmp_path))
    x = np.ones((2, 3), dtype=np.float32)
    machine.gpus[0].broken = True

    for _ in range(2):
        with pytest.raises(EngineFailed, match=r"failed inside .*add\.onnx: .*cudaErrorIllegalAddress"):
            engine.infer({"x": x})

    machine.gpus[0].broken = False
    engine.close()


def test_a_run_that_tensorrt_refuses_fails_with_its_words_and_the_next_one_is_right(
    machine: Machine, tmp_path: Path
) -> None:
    x = np.ones((2, 3), dtype=np.float32)
    with load_engine(TENSORRT.request(graphs.add(), tmp_path)) as engine:
        before = engine.infer({"x": x})
        machine.gpus[0].busy = True
        with pytest.raises(EngineFailed, match=r"failed inside .*add\.onnx: .*too many resources requested for launch"):
            engine.infer({"x": 2 * x})
        machine.gpus[0].busy = False

        after = engine.infer({"x": x})

    assert_arrays_equal(after, before)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_device_that_is_too_old_for_a_precision_fails_with_both(
    precision: Any, machine: Machine, tmp_path: Path
) -> None:
    machine.gpus[0].capability = (7, 5)
    request = replace(TENSORRT.request(graphs.add(), tmp_path), precision=precision)

    with pytest.raises(EngineFailed, match=rf"has compute capability 7\.5, {precision} needs 8\.0; ask for float32"):
        load_engine(request)


# Releases and layouts.


@pytest.mark.parametrize("version", ["8.6.1", "9.3.0", "11.4.0.106", "1.0"])
def test_another_major_release_of_tensorrt_fails_with_what_to_install(
    version: str, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorrt

    monkeypatch.setattr(tensorrt, "__version__", version)

    with pytest.raises(EngineFailed, match=rf"tensorrt {version} is installed, .* TensorRT 10; install tensorrt-cu12"):
        load_engine(TENSORRT.request(graphs.add(), tmp_path))


def test_the_layout_of_cuda_python_before_12_8_serves_as_well(machine: Machine, tmp_path: Path) -> None:
    import sys

    model = graphs.add()
    folder = Path(gpus.__file__).with_name("before_cuda_12_8")
    [newer] = [one for one in sys.path if one.endswith("doubles/nvidia")]
    import tensorrt

    sys.path.remove(newer)
    try:
        with importable(folder, ("cuda",)):
            from cuda import cudart

            with load_engine(TENSORRT.request(model, tmp_path)) as engine:
                feeds = model.example(np.random.default_rng(5))
                got = engine.infer(feeds)
    finally:
        sys.path.insert(0, newer)

    assert (cudart.__name__, tensorrt.__name__) == ("cuda.cudart", "tensorrt")
    assert_arrays_equal(got, model.answer(feeds))


def test_without_tensorrt_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"the backend tensorrt cannot be imported: .*; install the plugin variant"):
        load_engine(TENSORRT.request(graphs.add(), tmp_path))


# Threads and devices.


def test_any_thread_computes_on_the_device_of_the_engine(machine: Machine, tmp_path: Path) -> None:
    model = graphs.convolution()
    request = replace(TENSORRT.request(model, tmp_path), device=Device("gpu", 1))
    feeds = model.example(np.random.default_rng(5))

    with load_engine(request) as engine, ThreadPoolExecutor(1) as pool:
        got = pool.submit(engine.infer, feeds).result()
        used = [machine.memory.used_bytes(index) > 0 for index in range(2)]

    assert_arrays_equal(got, model.answer(feeds))
    assert used == [False, True]


def test_an_engine_may_be_closed_by_another_thread(machine: Machine, tmp_path: Path) -> None:
    engine = load_engine(replace(TENSORRT.request(graphs.add(), tmp_path), device=Device("gpu", 1)))

    thread = threading.Thread(target=engine.close)
    thread.start()
    thread.join()

    gc.collect()
    assert machine.held == {}


# What is never done.


def test_no_request_builds_anything(machine: Machine, tmp_path: Path) -> None:
    with load_engine(with_built_form(TENSORRT.request(graphs.add(), tmp_path))) as engine:
        measured = machine.measured
        for rows in (1, 8, 64):
            engine.infer({"x": np.ones((rows, 3), dtype=np.float32)})
        with pytest.raises(Refused):
            engine.infer({"x": np.ones((65, 3), dtype=np.float32)})

    assert machine.measured == measured > 0


def test_a_request_within_the_largest_shapes_takes_no_more_memory(machine: Machine, tmp_path: Path) -> None:
    with load_engine(TENSORRT.request(graphs.convolution(), tmp_path)) as engine:
        before = machine.memory.used_bytes(0)
        engine.infer({"x": np.ones((64, 3, 64, 64), dtype=np.float32)})
        after = machine.memory.used_bytes(0)

    assert after == before
