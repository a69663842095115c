"""Paddle Inference in its child process: the contract of every engine, its own options, and bad days."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hpi_agent.engines.base import Engine, EngineRequest, TensorSpec
from hpi_agent.engines.paddle_inference import PaddleInferenceSession, paddle_version
from hpi_agent.processes.child import ChildFailed
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Precision
from support.arrays import relative_difference
from support.children import lives, wait_for
from support.paddle_environment import paddle_python
from support.processors import needs_bfloat16

PROGRAM = Path(__file__).parents[1] / "models" / "paddle_graphs_program.py"
ROWS = np.ones((2, 3), dtype=np.float32)
TYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")

Load = Callable[..., Engine]


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of tiny graphs in Paddle's format."""
    folder = tmp_path_factory.mktemp("paddle-graphs")
    subprocess.run([paddle_python(), "-W", "ignore", PROGRAM, folder], check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="session")
def legacy_graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return some of them in the format before PIR."""
    folder = tmp_path_factory.mktemp("paddle-legacy")
    command = [str(paddle_python()), "-W", "ignore", str(PROGRAM), str(folder), "legacy"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


def a_request(program: Path, precision: Precision = "float32", **options: str | int) -> EngineRequest:
    chosen = tuple(sorted(options.items()))
    return EngineRequest(program, "paddle", 1, precision, chosen, interpreter=paddle_python())


def load_fresh(program: Path, precision: Precision = "float32", **options: str | int) -> Engine:
    """Load a graph for a test that breaks it; the test closes it."""
    request = a_request(program, precision, **options)
    return Engine(PaddleInferenceSession(request), request)


@pytest.fixture(scope="session")
def load(graphs: Path) -> Iterator[Load]:
    """Load a graph once for all tests that leave it as it is: each takes a second."""
    engines: dict[Any, Engine] = {}

    def load_one(name: str, precision: Precision = "float32", **options: str | int) -> Engine:
        what = (name, precision, *sorted(options.items()))
        if what not in engines:
            engines[what] = load_fresh(graphs / name / "inference.json", precision, **options)
        return engines[what]

    yield load_one
    for engine in engines.values():
        engine.close()


def child_of(engine: Engine) -> int:
    """Return the process that holds the model."""
    session = engine._session
    assert isinstance(session, PaddleInferenceSession)
    return session.pid


# Names, types and shapes.


def test_the_declaration_is_that_of_the_program(load: Load) -> None:
    engine = load("mixed")

    assert engine.inputs == (TensorSpec("x", "float32", (None, 2)), TensorSpec("n", "int64", (None,)))
    assert engine.outputs == (
        TensorSpec("fetch_name_0", "int64", (None,)),
        TensorSpec("fetch_name_1", "float32", (None, 2)),
        TensorSpec("fetch_name_2", "bool", (None, 2)),
        TensorSpec("fetch_name_3", "float32", ()),
    )


def test_outputs_come_in_declared_order_with_their_types(load: Load) -> None:
    x, n = np.array([[1, -2], [3, 4]], dtype=np.float32), np.array([5])

    outputs = list(load("mixed").infer({"x": x, "n": n}).values())

    for got, want in zip(outputs, [n + n, 2 * x, x > 0, np.float32(12)], strict=True):
        assert got.dtype == want.dtype
        assert np.array_equal(got, want)
        assert got.shape == want.shape


def test_every_type_crosses_as_it_is(load: Load) -> None:
    vectors = {dtype: np.array([1, 0, 100]).astype(dtype) for dtype in TYPES}

    columns = list(load("types").infer(vectors).values())[: len(TYPES)]

    for column, (dtype, vector) in zip(columns, vectors.items(), strict=True):
        assert column.dtype == dtype
        assert np.array_equal(column[:, 0], vector)


def test_a_number_without_dimensions_crosses_as_it_is(load: Load) -> None:
    [y] = load("scalar").infer({"x": np.array(3, dtype=np.float32)}).values()

    assert y.shape == ()
    assert y == 3


def test_a_type_that_paddle_cannot_take_fails_the_load(load: Load) -> None:
    with pytest.raises(EngineFailed, match=r"tensor 'x' has the type int16, .*allowed: bool, uint8"):
        load("int16")


def test_an_output_that_is_an_input_fails_the_load(load: Load) -> None:
    with pytest.raises(EngineFailed, match=r"uses the names \['x'\] for more than one .*which paddle cannot run"):
        load("passthrough")


def test_the_format_before_pir_declares_and_answers_the_same(load: Load, legacy_graphs: Path) -> None:
    x = np.random.default_rng(3).random((2, 3, 9, 12), dtype=np.float32)
    seen = []
    with load_fresh(legacy_graphs / "convolution" / "inference.pdmodel") as legacy:
        for engine in (load("convolution"), legacy):
            [answer] = engine.infer({"x": x}).values()
            seen.append((engine.inputs, engine.outputs[0].dtype, engine.outputs[0].shape, answer))

    assert seen[0][:3] == seen[1][:3]
    assert relative_difference(seen[1][3], seen[0][3]) <= 1e-6


# What is refused at the door.


@pytest.mark.parametrize(
    ("feeds", "text"),
    [
        pytest.param({}, r"got \[\]; missing: \['x'\]", id="missing"),
        pytest.param({"x": ROWS, "z": ROWS}, r"unknown: \['z'\]", id="unknown"),
        pytest.param({"x": ROWS.astype(np.float64)}, "must have dtype float32, got float64", id="dtype"),
        pytest.param({"x": ROWS[:, :2]}, r"must have shape \(\?, 3\).*got \(2, 2\)", id="fixed dimension"),
        pytest.param({"x": ROWS[:0]}, r"must have shape \(\?, 3\).*got \(0, 3\)", id="no rows"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_and_the_engine_stays_fit(feeds: Any, text: str, load: Load) -> None:
    engine = load("add")

    with pytest.raises(Refused, match=text):
        engine.infer(feeds)

    assert np.array_equal(engine.infer({"x": ROWS})["fetch_name_0"][0], [2, -1, 1.5])


@pytest.mark.parametrize(
    "lay_out",
    [
        pytest.param(lambda x: x.T.copy().T, id="transposed"),
        pytest.param(lambda x: x[::-1].copy()[::-1], id="backwards"),
        pytest.param(lambda x: x.astype(">f4"), id="big-endian"),
        pytest.param(lambda x: np.frombuffer(x.tobytes(), dtype=np.float32).reshape(x.shape), id="read-only"),
    ],
)
def test_the_layout_of_an_array_does_not_change_its_answer(lay_out: Callable[[Any], Any], load: Load) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)

    y = load("add").infer({"x": lay_out(x)})["fetch_name_0"]

    assert np.array_equal(y, x + np.array([1, -2, 0.5], dtype=np.float32))


@pytest.mark.parametrize("run_mode", ["paddle", "mkldnn"])
def test_a_failure_inside_the_graph_is_told_and_leaves_the_engine_fit(run_mode: str, load: Load) -> None:
    engine, even = load("pairs", run_mode=run_mode), np.arange(4, dtype=np.float32)

    for _ in range(3):
        with pytest.raises(EngineFailed, match=r"paddle failed inside .*pairs/inference\.json: .*[Rr]eshape") as raised:
            engine.infer({"x": even[:3]})
        assert not isinstance(raised.value, ChildFailed)

    assert np.array_equal(engine.infer({"x": even})["fetch_name_0"], [[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("options", "precision", "text"),
    [
        ({"run_mode": "trt_fp32"}, "float32", "run_mode must be one of paddle, mkldnn, got 'trt_fp32'"),
        ({"colour": 1}, "float32", r"has no option \['colour'\]; allowed: run_mode, mkldnn_cache_capacity"),
        ({"mkldnn_cache_capacity": 63}, "float32", "must be a number from 64 on, got 63"),
        ({"mkldnn_cache_capacity": "64"}, "float32", "must be a number from 64 on, got '64'"),
        ({"run_mode": "paddle"}, "bfloat16", "bfloat16 with run_mode 'mkldnn' alone, got 'paddle'"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused(options: Any, precision: Any, text: str, load: Load) -> None:
    with pytest.raises(Refused, match=text):
        load("add", precision, **options)


# What was obtained.


def test_the_smallest_cache_that_is_allowed_is_taken(load: Load) -> None:
    assert load("convolution", run_mode="mkldnn", mkldnn_cache_capacity=64).obtained.device == "CPU, oneDNN"


@pytest.mark.parametrize(("run_mode", "device"), [("paddle", "CPU"), ("mkldnn", "CPU, oneDNN")])
def test_what_was_obtained_is_said(run_mode: str, device: str, load: Load) -> None:
    obtained = load("convolution", run_mode=run_mode).obtained

    assert (obtained.backend, obtained.precision, obtained.threads) == ("paddle", "float32", 1)
    assert (obtained.device, obtained.from_store) == (device, False)
    assert obtained.version == paddle_version(paddle_python())


def test_the_version_is_none_where_paddle_is_not_installed() -> None:
    assert paddle_version(Path(sys.executable)) is None


@pytest.mark.parametrize(
    ("precision", "within"), [("float32", True), pytest.param("bfloat16", False, marks=needs_bfloat16)]
)
def test_onednn_answers_within_the_gate_in_float32_alone(precision: Precision, within: bool, load: Load) -> None:
    x = np.random.default_rng(3).random((2, 3, 33, 47), dtype=np.float32)

    reference = load("convolution", run_mode="paddle").infer({"x": x})["fetch_name_0"]
    onednn = load("convolution", precision, run_mode="mkldnn").infer({"x": x})["fetch_name_0"]

    difference = relative_difference(onednn, reference)
    print(f"difference to plain paddle: oneDNN in {precision} {difference:.1e}")
    assert (difference <= 1e-4) == within


# Shapes, memory and threads.


@pytest.mark.parametrize("run_mode", ["paddle", "mkldnn"])
def test_one_engine_answers_more_shapes_than_its_cache_holds(run_mode: str, load: Load) -> None:
    engine, generator = load("convolution", run_mode=run_mode), np.random.default_rng(3)
    pictures = [generator.random((1, 3, 8, width), dtype=np.float32) for width in range(8, 88)]
    first = [engine.infer({"x": picture})["fetch_name_0"] for picture in pictures]

    again = [engine.infer({"x": picture})["fetch_name_0"] for picture in pictures]

    assert [answer.shape for answer in first] == [(1, 4, 4, -(-width // 2)) for width in range(8, 88)]
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one, other)


def test_answers_belong_to_the_caller_and_inputs_stay_as_they_are(load: Load) -> None:
    engine, x = load("add"), ROWS.copy()

    first = engine.infer({"x": x})["fetch_name_0"]
    kept = first.copy()
    engine.infer({"x": 5 * x})

    assert np.array_equal(first, kept)
    assert np.array_equal(x, ROWS)
    first[...] = 0


def test_an_answer_larger_than_any_before_arrives_whole(load: Load) -> None:
    engine = load("add")
    sizes = (1, 300_000, 2, 600_000)

    answers = [engine.infer({"x": np.full((size, 3), size, dtype=np.float32)})["fetch_name_0"] for size in sizes]

    for size, answer in zip(sizes, answers, strict=True):
        assert answer.shape == (size, 3)
        assert np.array_equal(answer[[0, -1]], [[size + 1, size - 2, size + 0.5]] * 2)


def test_threads_that_share_an_engine_each_get_their_own_answer(load: Load) -> None:
    engine = load("add")
    answers: dict[int, NDArray[Any]] = {}

    def ask(number: int) -> None:
        for _ in range(20):
            answers[number] = engine.infer({"x": np.full((number, 3), number, dtype=np.float32)})["fetch_name_0"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in range(1, 9):
        assert np.array_equal(answers[number], [[number + 1, number - 2, number + 0.5]] * number)


# Bad days.


@pytest.mark.parametrize("missing", ["inference.json", "inference.pdiparams"])
def test_half_a_model_names_the_missing_file(missing: str, graphs: Path, tmp_path: Path) -> None:
    half = Path(shutil.copytree(graphs / "add", tmp_path / "half"))
    (half / missing).unlink()

    with pytest.raises(EngineFailed, match=f"is not whole; missing: .*half/{missing}; deliver it again"):
        PaddleInferenceSession(a_request(half / "inference.json"))


@pytest.mark.parametrize("broken", ["inference.json", "inference.pdiparams"])
def test_a_file_that_is_cut_fails_the_load(broken: str, graphs: Path, tmp_path: Path) -> None:
    cut = Path(shutil.copytree(graphs / "add", tmp_path / "cut"))
    (cut / broken).write_bytes((cut / broken).read_bytes()[:40])

    with pytest.raises(EngineFailed, match=r"cut/inference\.json"):
        PaddleInferenceSession(a_request(cut / "inference.json"))


def test_a_model_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"its name must end in \.json or \.pdmodel"):
        PaddleInferenceSession(a_request(tmp_path / "model.onnx"))


def test_an_environment_without_paddle_says_how_to_get_one(graphs: Path) -> None:
    request = EngineRequest(graphs / "add" / "inference.json", "paddle", 1, interpreter=Path(sys.executable))

    with pytest.raises(EngineFailed, match=r"paddle cannot be imported by .*`hpi-agent install paddle2onnx` makes"):
        PaddleInferenceSession(request)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_a_crash_fails_the_engine_and_the_next_call_says_so_again(name: str, graphs: Path) -> None:
    with load_fresh(graphs / "add" / "inference.json") as engine:
        os.kill(child_of(engine), signal.Signals[name])

        for _ in range(2):
            with pytest.raises(EngineFailed, match=f"paddle with .*add/inference.json was killed by {name}"):
                engine.infer({"x": ROWS})


def test_a_model_that_does_not_fit_its_memory_fails(graphs: Path) -> None:
    with pytest.raises(ChildFailed, match="more than the 60 MiB allowed") as raised:
        PaddleInferenceSession(a_request(graphs / "add" / "inference.json"), memory_bytes=60 * 2**20)

    assert raised.value.cause == "memory"


def test_closing_ends_the_child_and_leaves_no_file_open(graphs: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))

    engine = load_fresh(graphs / "add" / "inference.json")
    pid = child_of(engine)
    engine.close()

    assert not lives(pid)
    wait_for(lambda: set(os.listdir("/proc/self/fd")) <= before)
    with pytest.raises(Refused, match="this engine is closed"):
        engine.infer({"x": ROWS})
