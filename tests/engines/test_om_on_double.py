"""Offline models on the double of acl: their gears, their refusals, and what they leave behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles.ascend_runtimes import presented
from doubles.npus import CHIP, Machine
from doubles.offline_models import OfflineModel
from doubles.presenting import Leak
from hpi_agent.engines.acl_library import check
from hpi_agent.engines.base import Device, EngineRequest, TensorSpec
from hpi_agent.engines.om_model import output_name
from hpi_agent.engines.registry import build_engine, load_engine, runtime_version
from hpi_core.errors import EngineFailed, Refused, TooLarge
from models import graphs
from models.graphs import TinyModel
from support.arrays import assert_arrays_equal, relative_difference

NPU = Device("npu", 0)
ROWS = np.ones((2, 3), dtype=np.float32)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with presented() as found:
        yield found


def offline(
    directory: Path, model: TinyModel, *, shapes: dict[str, tuple[int, ...]], mode: str = "origin", **gears: Any
) -> EngineRequest:
    """Return the request for an offline model, which is written into a directory."""
    path = directory / f"{model.name}.om"
    made = OfflineModel(model.proto.SerializeToString(), gears.pop("chip", CHIP), shapes, mode, **gears)
    path.write_bytes(made.to_bytes())
    return EngineRequest(path, "om", 1, "float16" if mode == "fp16" else "float32", device=NPU)


def add(directory: Path, **more: Any) -> EngineRequest:
    return offline(directory, graphs.add(), shapes={"x": (2, 3)}, **more)


# One shape.


def test_an_offline_model_declares_what_acl_says_and_names_outputs_as_the_model_does(
    machine: Machine, tmp_path: Path
) -> None:
    with load_engine(add(tmp_path)) as engine:
        declared = (engine.inputs, engine.outputs)
        obtained = engine.obtained

    assert declared == ((TensorSpec("x", "float32", (2, 3)),), (TensorSpec("y", "float32", (2, 3)),))
    assert (obtained.device, obtained.precision, obtained.threads) == (CHIP, "float32", 1)
    assert obtained.version == runtime_version("om") == "8.0.RC3"


@pytest.mark.parametrize(
    ("written", "name"),
    [("Add_0:0:y", "y"), ("PartitionedCall_/Softmax_3:0:fetch_name_0", "fetch_name_0"), ("y", "y"), ("a:0:", "a:0:")],
)
def test_an_output_is_called_what_stands_behind_its_node_and_number(written: str, name: str) -> None:
    assert output_name(written) == name


def test_another_shape_than_the_one_of_the_model_is_refused_with_both(machine: Machine, tmp_path: Path) -> None:
    with load_engine(add(tmp_path)) as engine, pytest.raises(Refused, match=r"shape \(2, 3\) .*, got \(1, 3\)"):
        engine.infer({"x": ROWS[:1]})


def test_a_model_in_float16_is_shown_as_one_and_answers_as_one(machine: Machine, tmp_path: Path) -> None:
    model = graphs.matrices(64)
    x = np.random.default_rng(5).standard_normal((4, 64)).astype(np.float32)

    with load_engine(offline(tmp_path, model, shapes={"x": (4, 64)}, mode="fp16")) as engine:
        got, precision = engine.infer({"x": x})["y"], engine.obtained.precision

    assert precision == "float16"
    assert 1e-5 < relative_difference(got, model.answer({"x": x})["y"]) < 5e-3


# Gears.

BATCHES: dict[str, Any] = {"kind": "batch", "gears": ((1,), (4,), (8,))}


@pytest.mark.parametrize("rows", [1, 4, 8])
def test_every_batch_that_the_model_was_made_for_is_computed(rows: int, machine: Machine, tmp_path: Path) -> None:
    model = graphs.add()
    feeds = {"x": np.random.default_rng(rows).random((rows, 3)).astype(np.float32)}

    with load_engine(offline(tmp_path, model, shapes={"x": (-1, 3)}, **BATCHES)) as engine:
        got = engine.infer(feeds)
        declared = engine.inputs

    assert declared == (TensorSpec("x", "float32", (None, 3)),)
    assert_arrays_equal(got, model.answer(feeds))


def test_a_batch_after_a_larger_one_answers_with_its_own_rows(machine: Machine, tmp_path: Path) -> None:
    model = graphs.add()

    with load_engine(offline(tmp_path, model, shapes={"x": (-1, 3)}, **BATCHES)) as engine:
        for rows in (8, 1, 4, 8):
            feeds = {"x": np.full((rows, 3), rows, dtype=np.float32)}
            assert_arrays_equal(engine.infer(feeds), model.answer(feeds))


@pytest.mark.parametrize("rows", [2, 3, 9])
def test_a_batch_between_or_beyond_the_gears_is_refused_with_all_of_them(
    rows: int, machine: Machine, tmp_path: Path
) -> None:
    with load_engine(offline(tmp_path, graphs.add(), shapes={"x": (-1, 3)}, **BATCHES)) as engine:
        with pytest.raises(Refused, match=rf"made for the batch 1, 4, 8, got x \({rows}, 3\); send one of these"):
            engine.infer({"x": np.ones((rows, 3), dtype=np.float32)})
        answer = engine.infer({"x": np.ones((4, 3), dtype=np.float32)})["y"]

    assert answer.shape == (4, 3)


@pytest.mark.parametrize("size", [(8, 16), (16, 8)])
def test_every_resolution_that_the_model_was_made_for_is_computed(
    size: tuple[int, int], machine: Machine, tmp_path: Path
) -> None:
    model = graphs.convolution()
    request = offline(
        tmp_path, model, shapes={"x": (1, 3, -1, -1)}, kind="resolution", gears=((8, 16), (16, 8), (16, 16))
    )
    feeds = {"x": np.random.default_rng(5).standard_normal((1, 3, *size)).astype(np.float32)}

    with load_engine(request) as engine:
        assert_arrays_equal(engine.infer(feeds), model.answer(feeds))
        with pytest.raises(Refused, match=r"made for the resolution 8x16, 16x8, 16x16, got x \(1, 3, 8, 8\)"):
            engine.infer({"x": np.ones((1, 3, 8, 8), dtype=np.float32)})


def test_dimensions_of_several_inputs_are_one_gear_together(machine: Machine, tmp_path: Path) -> None:
    model = graphs.unused_input()
    request = offline(tmp_path, model, shapes={"x": (-1,), "ignored": (-1,)}, kind="dimensions", gears=((4, 2), (8, 3)))
    feeds = {"x": np.arange(8, dtype=np.float32), "ignored": np.arange(3, dtype=np.int32)}

    with load_engine(request) as engine:
        assert_arrays_equal(engine.infer(feeds), model.answer(feeds))
        with pytest.raises(Refused, match=r"made for the dimensions 4x2, 8x3, got x \(8,\), ignored \(2,\)"):
            engine.infer({**feeds, "ignored": feeds["ignored"][:2]})


def test_a_model_of_ranges_of_shapes_fails_with_what_to_convert(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"the inputs \['x'\] .* take ranges of shapes; convert it again with fixed"):
        load_engine(offline(tmp_path, graphs.add(), shapes={"x": (-1, 3)}))


def test_an_output_of_unknown_size_fails_by_its_name(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"positions\.om: the size of output 'y' is not known before it runs"):
        load_engine(offline(tmp_path, graphs.positions(), shapes={"x": (4,)}))


# What is no offline model, or one of another chip.


@pytest.mark.parametrize(
    "content",
    [b"", b"IMOD", b"IMOD" + bytes(251), b"\x08\x08" + bytes(300), bytes(1000)],
    ids=["empty", "the mark alone", "a byte too short", "an ONNX file", "zeros"],
)
def test_a_file_that_is_no_offline_model_never_reaches_acl(content: bytes, machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "model.om"
    path.write_bytes(content)

    with pytest.raises(EngineFailed, match=r"model\.om is cut short or no offline model; copy it again"):
        load_engine(EngineRequest(path, "om", 1, device=NPU))

    assert machine.initialised == 0


def test_a_missing_file_fails_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"none\.om cannot be read: No such file"):
        load_engine(EngineRequest(tmp_path / "none.om", "om", 1, device=NPU))


def test_a_model_of_another_chip_fails_with_both_and_what_to_do(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(
        EngineFailed,
        match=rf"failed with 545001, the model cannot be loaded: .*Ascend910B3.*{CHIP}; an offline model is for one "
        rf"chip .* with CANN 8\.0\.RC3; convert the model again with --soc_version={CHIP}",
    ):
        load_engine(add(tmp_path, chip="Ascend910B3"))


def test_a_model_that_acl_cannot_parse_fails_with_the_code_in_words(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "model.om"
    path.write_bytes(b"IMOD" + bytes(252))

    with pytest.raises(EngineFailed, match=r"load_from_file failed with 100014, the model file cannot be read: EE9999"):
        load_engine(EngineRequest(path, "om", 1, device=NPU))


# What a request has to be.


def test_there_is_nothing_to_build(machine: Machine, tmp_path: Path) -> None:
    assert build_engine(add(tmp_path)) is None


def test_a_built_form_is_refused(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="the backend om has no built form; give the offline model alone"):
        load_engine(replace(add(tmp_path), built=b"anything"))


@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "int8"])
def test_a_precision_that_atc_does_not_make_is_refused(precision: Any, machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=f"computes in float16 or float32, whichever ATC was told; got {precision}"):
        load_engine(replace(add(tmp_path), precision=precision))


def test_an_option_is_refused(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="option 'streams' is not known to the backend om"):
        load_engine(replace(add(tmp_path), options=(("streams", 1),)))


def test_a_file_of_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"model\.onnx is no offline model; its name must end in \.om"):
        load_engine(EngineRequest(tmp_path / "model.onnx", "om", 1, device=NPU))


def test_a_device_that_is_not_there_is_refused_with_how_many_are(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"npu:2 is not there: this process sees 2 NPU\(s\), numbered from 0"):
        load_engine(replace(add(tmp_path), device=Device("npu", 2)))


def test_without_acl_the_error_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="the backend om cannot be imported: No module named 'acl'; install"):
        load_engine(add(tmp_path))


def test_without_acl_there_is_no_version() -> None:
    assert runtime_version("om") is None


# Memory.


def test_thirty_loads_leave_nothing(machine: Machine, tmp_path: Path) -> None:
    leave_nothing(30, machine, tmp_path)


@pytest.mark.slow
def test_a_thousand_loads_leave_nothing(machine: Machine, tmp_path: Path) -> None:
    leave_nothing(1000, machine, tmp_path)


def leave_nothing(loads: int, machine: Machine, directory: Path) -> None:
    request = offline(directory, graphs.add(), shapes={"x": (-1, 3)}, **BATCHES)

    for _ in range(loads):
        with load_engine(request) as engine:
            assert engine.infer({"x": ROWS[:1]})["y"].shape == (1, 3)

    assert machine.held == {}


def test_an_engine_that_stays_open_is_seen_by_the_same_measure(tmp_path: Path) -> None:
    with (
        pytest.raises(Leak, match="'Context': 1, 'DataBuffer': 2, 'Dataset': 2, 'Description': 1, 'Loaded': 1"),
        presented(),
    ):
        load_engine(add(tmp_path))


@pytest.mark.parametrize("memory_bytes", [1, 1_000, 200_000, 300_000])
def test_a_device_that_is_too_small_fails_when_the_model_loads_and_keeps_nothing(
    memory_bytes: int, machine: Machine, tmp_path: Path
) -> None:
    machine.memory_bytes = memory_bytes
    request = offline(tmp_path, graphs.convolution(), shapes={"x": (1, 3, 128, 128)})

    with pytest.raises(EngineFailed, match="there is not enough memory"):
        load_engine(request)

    assert machine.held == {}


def test_a_model_that_needs_more_than_is_allowed_is_refused_and_keeps_nothing(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match=r"4096 bytes to compute and \d+ for its weights on npu:0, 100 are allowed"):
        load_engine(replace(add(tmp_path), device_memory_bytes=100))

    assert machine.held == {}


# Threads and the process.


def test_any_thread_computes_in_the_context_of_the_engine(machine: Machine, tmp_path: Path) -> None:
    request = replace(add(tmp_path), device=Device("npu", 1))

    with load_engine(request) as engine, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(engine.infer, {"x": ROWS}).result()["y"]

    assert np.array_equal(answer[0], [2, -1, 1.5])


def test_an_engine_may_be_closed_by_another_thread(machine: Machine, tmp_path: Path) -> None:
    engine = load_engine(add(tmp_path))

    thread = threading.Thread(target=engine.close)
    thread.start()
    thread.join()

    assert machine.held == {}


def test_several_engines_share_a_device_and_do_not_disturb_one_another(machine: Machine, tmp_path: Path) -> None:
    with load_engine(add(tmp_path)) as first:
        second = load_engine(add(tmp_path))
        second.infer({"x": ROWS})
        second.close()

        answer = first.infer({"x": ROWS})["y"]

    assert np.array_equal(answer[0], [2, -1, 1.5])
    assert machine.initialised == 2


def test_somebody_else_may_have_initialised_acl_before(machine: Machine, tmp_path: Path) -> None:
    import acl

    assert acl.init() == 0

    with load_engine(add(tmp_path)) as engine:
        assert engine.infer({"x": ROWS})["y"].shape == (2, 3)


def test_an_error_that_acl_keeps_is_told_once() -> None:
    with presented():
        import acl

        _, code = acl.rt.malloc(16, 0)
        with pytest.raises(
            EngineFailed, match=r"failed with 107002, the thread has no context: EE9999: .* ctx is NULL"
        ):
            check(acl, code, "acl.rt.malloc")

        with pytest.raises(EngineFailed, match=r"acl\.rt\.free failed with 107000, an error of the program or the env"):
            check(acl, 107000, "acl.rt.free")


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (507018, "the processors of the device met an exception"),
        (145099, "an error of the program or the environment"),
        (507999, "an error of software or hardware"),
        (-1, "which is not documented"),
    ],
)
def test_every_code_has_words(code: int, text: str) -> None:
    with presented():
        import acl

        with pytest.raises(EngineFailed, match=f"failed with {code}, {text}"):
            check(acl, code, "something")
