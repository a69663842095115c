"""Models in Paddle's format become ONNX files that answer as Paddle does; the real converter in its own environment."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hpi_agent.convert.conversion import Converted, convert, find_converted
from hpi_agent.convert.difference import TOLERANCE
from hpi_agent.convert.steps import Limits
from hpi_agent.engines.onnx_file import read_onnx
from hpi_agent.models.paddle_files import PaddleModel, find_paddle_model
from hpi_agent.processes.child import ChildFailed
from hpi_agent.store.directory import Store, digest_of_file
from hpi_core.errors import EngineFailed, Refused, Retry
from support.conversions import SMALL, converter_environment, found_model

Convert = Callable[[str], Converted]


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def converted(shared_store: Store) -> Convert:
    """Converts a small model once for all tests of this file."""
    return lambda name: convert(found_model(name), shared_store, converter_environment(), shapes=SMALL[name])


def kill_child() -> None:
    """Kill the converter that this thread has started; other tests may have children of their own here."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    [pid] = [int(child) for child in children if b"hpi_agent.convert" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(pid, signal.SIGKILL)


def at_step(name: str, act: Callable[[], None]) -> Callable[[str], None]:
    """Return a listener that acts when a step of that name begins."""
    return lambda doing: act() if doing.startswith(name) else None


def published(store: Store) -> list[str]:
    return [path.name for folder in ("converted", "tmp") for path in store.root.glob(f"{folder}/*")]


@pytest.mark.parametrize(("name", "generation"), [("tiny", "pir"), ("tiny_legacy", "legacy"), ("several", "pir")])
def test_a_model_of_either_generation_answers_as_paddle_on_every_shape(
    name: str, generation: str, converted: Convert
) -> None:
    report = converted(name).report

    print(f"{name}: largest difference {report['largestDifference']:.2g}")
    assert found_model(name).generation == generation
    assert len(report["checks"]) == len(SMALL[name])
    assert report["largestDifference"] <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("tiny", ["x"], ["fetch_name_0"]),
        ("tiny_legacy", ["x"], ["softmax_0.tmp_0"]),
        ("several", ["im_shape", "image", "scale_factor"], ["fetch_name_0", "fetch_name_1"]),
    ],
)
def test_inputs_and_outputs_keep_paddles_names_order_and_free_dimensions(
    name: str, inputs: list[str], outputs: list[str], converted: Convert
) -> None:
    declared = read_onnx(converted(name).onnx)

    assert [spec.name for spec in declared.inputs] == inputs
    assert [spec.name for spec in declared.outputs] == outputs
    assert all(spec.shape[0] is None for spec in declared.inputs)


@pytest.mark.parametrize("name", ["tiny", "tiny_legacy"])
def test_hard_swish_stays_one_operator_because_the_opset_is_17(name: str, converted: Convert) -> None:
    report = converted(name).report

    assert report["opset"] == 17
    assert "HardSwish" in report["operators"]


def test_a_program_of_paddle_3_3_becomes_the_very_file_of_its_twin_of_paddle_3_2(shared_store: Store) -> None:
    shapes = [{"x": (1, 3, 32, 64)}]

    new, old = (
        convert(found_model(name), shared_store, converter_environment(), shapes=shapes)
        for name in ("db_detector_v4", "db_detector")
    )

    assert new.report["patches"] == {"interpolation-scale-float32": 14}
    assert old.report["patches"] == {}
    assert digest_of_file(new.onnx) == digest_of_file(old.onnx)


def test_the_model_is_not_written_and_only_the_result_is_published(tmp_path: Path) -> None:
    model, store = found_model("tiny", tmp_path / "model"), Store(tmp_path / "store")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in model.directory.iterdir()}

    result = convert(model, store, converter_environment(), shapes=SMALL["tiny"])

    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in model.directory.iterdir()} == before
    assert sorted(path.name for path in result.onnx.parent.iterdir()) == [
        "inference.onnx",
        "manifest.json",
        "report.json",
    ]
    assert list((store.root / "tmp").iterdir()) == []


def test_a_second_conversion_is_found_in_the_store(converted: Convert, shared_store: Store) -> None:
    first, said = converted("tiny"), list[str]()

    second = convert(found_model("tiny"), shared_store, converter_environment(), shapes=SMALL["tiny"], say=said.append)

    assert (second, said) == (first, [])


def test_a_conversion_is_found_without_converting(converted: Convert, shared_store: Store, tmp_path: Path) -> None:
    first = converted("tiny")

    assert find_converted(found_model("tiny"), shared_store, converter_environment()) == first
    assert find_converted(found_model("tiny"), Store(tmp_path), converter_environment()) is None


def test_a_damaged_conversion_is_made_anew(tmp_path: Path) -> None:
    model, store, shapes = found_model("tiny_legacy"), Store(tmp_path), SMALL["tiny_legacy"][:1]
    first = convert(model, store, converter_environment(), shapes=shapes)
    data = bytearray(first.onnx.read_bytes())
    data[len(data) // 2] ^= 1
    first.onnx.write_bytes(data)

    found = find_converted(model, store, converter_environment())
    again = convert(model, store, converter_environment(), shapes=shapes)

    assert found is None
    assert digest_of_file(again.onnx) == again.report["onnxDigest"] == first.report["onnxDigest"]


def test_of_two_that_convert_one_model_at_once_one_does_it(tmp_path: Path) -> None:
    store, said, results = Store(tmp_path), list[str](), list[Converted]()

    def work() -> None:
        results.append(
            convert(
                found_model("tiny_legacy"),
                store,
                converter_environment(),
                shapes=SMALL["tiny_legacy"][:1],
                say=said.append,
            )
        )

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert said.count("preparing the program") == 1
    assert results[0] == results[1]


def test_a_child_that_is_killed_leaves_nothing_and_the_next_conversion_succeeds(tmp_path: Path) -> None:
    model, store, shapes = found_model("tiny_legacy"), Store(tmp_path), SMALL["tiny_legacy"][:1]

    with pytest.raises(ChildFailed, match="was killed by SIGKILL") as failure:
        convert(model, store, converter_environment(), shapes=shapes, say=at_step("converting", kill_child))
    left = published(store)

    assert (failure.value.cause, left) == ("crashed", [])
    assert convert(model, store, converter_environment(), shapes=shapes).onnx.is_file()


@pytest.mark.parametrize(
    ("limits", "cause", "said"),
    [
        (Limits(memory_bytes=48 * 2**20), "memory", "more than the 48 MiB allowed"),
        (Limits(seconds=0.05), "hung", "gave no answer to 'prepare' within"),
    ],
    ids=["memory", "time"],
)
def test_a_conversion_beyond_its_limits_is_ended_and_leaves_nothing(
    limits: Limits, cause: str, said: str, tmp_path: Path
) -> None:
    store = Store(tmp_path)

    with pytest.raises(ChildFailed, match=said) as failure:
        convert(found_model("tiny"), store, converter_environment(), shapes=SMALL["tiny"], limits=limits)

    assert (failure.value.cause, published(store)) == (cause, [])


def test_an_operator_that_the_converter_does_not_know_is_told_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match=r"converting with opset 17: paddle2onnx said '.*unsupported operators"):
        convert(found_model("inconvertible"), Store(tmp_path), converter_environment(), shapes=[{"x": (1, 3)}])


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def cut(model: PaddleModel) -> None:
    os.truncate(model.weights, model.weights.stat().st_size // 2)


def test_weights_that_change_while_they_are_converted_are_not_published(tmp_path: Path) -> None:
    model, store = found_model("tiny", tmp_path / "model"), Store(tmp_path / "store")

    with pytest.raises(Retry, match=r"changed while it was read: it had sha256:.*; start again"):
        convert(
            model,
            store,
            converter_environment(),
            shapes=SMALL["tiny"][:1],
            say=at_step("checking", lambda: append(model.weights)),
        )

    assert published(store) == []


def test_weights_cut_in_half_are_told_by_paddle(tmp_path: Path) -> None:
    cut(found_model("tiny", tmp_path / "model"))
    model = find_paddle_model(tmp_path / "model")
    assert model is not None

    with pytest.raises(EngineFailed, match=r"paddle 3\.2\.\d cannot load inference\.json: "):
        convert(model, Store(tmp_path / "store"), converter_environment(), shapes=SMALL["tiny"])


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"y": (1, 3, 32, 32)}, r"exactly the inputs \['x'\], got \['y'\]"),
        ({"x": (1, 4, 32, 32)}, r"\(1, 4, 32, 32\) does not fit it"),
        ({"x": (1, 3, 32)}, r"\(1, 3, 32\) does not fit it"),
    ],
    ids=["name", "size", "rank"],
)
def test_shapes_that_do_not_fit_the_inputs_are_refused(
    shapes: dict[str, tuple[int, ...]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=said):
        convert(found_model("tiny"), Store(tmp_path), converter_environment(), shapes=[shapes])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["db_detector", "db_detector_v4", "crnn", "resnet18"])
def test_a_real_sized_model_answers_as_paddle_on_its_declared_shapes_and_in_every_runtime(
    name: str, tmp_path: Path
) -> None:
    from hpi_agent.convert.shapes import checked_shapes
    from hpi_agent.engines.base import EngineRequest
    from hpi_agent.engines.registry import load_engine
    from models.paddle_models import CASES

    result = convert(
        found_model(name), Store(tmp_path), converter_environment(), shapes=checked_shapes(CASES[name].profile)
    )
    shape = CASES[name].profile["x"][1]
    feeds = {"x": np.random.default_rng(1).standard_normal(shape).astype(np.float32)}
    answers = []
    for backend in ("onnxruntime", "openvino"):
        with load_engine(EngineRequest(result.onnx, backend, threads=1)) as engine:
            [answer] = engine.infer(feeds).values()
            answers.append(answer)

    apart = float(np.abs(answers[0] - answers[1]).max() / np.abs(answers[0]).max())
    report = {key: result.report[key] for key in ("convertSeconds", "seconds", "peakMemoryBytes", "largestDifference")}
    print(f"{name}: {report}, OpenVINO differs from ONNX Runtime by {apart:.2g}")
    assert apart <= TOLERANCE
    assert answers[0].std() > 1e-4
