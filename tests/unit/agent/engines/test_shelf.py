"""The shelf: which backend serves a model, what is tried after a failure, and what is never tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from hpi_agent.engines.base import MAX_THREADS, EngineRequest
from hpi_agent.engines.shelf import Rejected, Shelf, Wish, read_wish
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Backend
from support.engines import WIDTH, InMemoryRuntime

DIRECTORY: Final = Path("/models/det")


def a_shelf(runtime: InMemoryRuntime | None = None, **changes: Any) -> Shelf:
    """Return a shelf of a machine with 3 whole cores and x86-64, with settings changed."""
    settings = {"default_threads": 3, "fallback_allowed": True, "architecture": "x86_64", **changes}
    return Shelf(load=(runtime or InMemoryRuntime()).load, **settings)


def refusal(settings: dict[str, Any]) -> str:
    with pytest.raises(Refused) as caught:
        read_wish("hpi_config of det", settings)
    return str(caught.value).removeprefix("hpi_config of det: ")


@pytest.mark.parametrize(
    ("architecture", "backend"),
    [("x86_64", "openvino"), ("aarch64", "onnxruntime"), ("riscv64", "onnxruntime")],
)
def test_without_a_wish_the_static_order_of_the_architecture_decides(architecture: str, backend: Backend) -> None:
    shelved = a_shelf(architecture=architecture).put("det", DIRECTORY, Wish())

    assert shelved.engine.obtained.backend == backend
    assert shelved.reason == f"first of the static order for {architecture}"
    assert shelved.rejected == ()


@pytest.mark.parametrize("exactly", [True, False])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_wished_backend_that_loads_serves(backend: Backend, exactly: bool) -> None:
    shelved = a_shelf().put("det", DIRECTORY, Wish(backend, exactly))

    assert (shelved.engine.obtained.backend, shelved.reason) == (backend, "asked for")


def test_a_model_whose_first_choice_fails_is_served_by_the_second_and_says_why() -> None:
    runtime = InMemoryRuntime(broken={"openvino": "an operator is missing"})

    shelved = a_shelf(runtime).put("det", DIRECTORY, Wish())

    assert shelved.engine.obtained.backend == "onnxruntime"
    assert shelved.reason == "fall-back"
    assert shelved.rejected == (Rejected("openvino", "an operator is missing"),)


def test_a_wished_backend_that_fails_is_replaced_in_automatic_mode() -> None:
    runtime = InMemoryRuntime(broken={"onnxruntime": "an operator is missing"})

    shelved = a_shelf(runtime).put("det", DIRECTORY, Wish("onnxruntime"))

    assert (shelved.engine.obtained.backend, shelved.reason) == ("openvino", "fall-back")
    assert shelved.wish == Wish("onnxruntime")


@pytest.mark.parametrize("fallback_allowed", [True, False])
def test_a_wished_backend_that_fails_is_never_replaced_in_manual_mode(fallback_allowed: bool) -> None:
    runtime = InMemoryRuntime(broken={"onnxruntime": "an operator is missing"})
    shelf = a_shelf(runtime, fallback_allowed=fallback_allowed)

    with pytest.raises(EngineFailed, match="model 'det' could not be loaded: onnxruntime: an operator is missing"):
        shelf.put("det", DIRECTORY, Wish("onnxruntime", exactly=True))

    assert [request.backend for request in runtime.requests] == ["onnxruntime"]


@pytest.mark.parametrize("wish", [Wish(), Wish("openvino")], ids=["no wish", "a wish"])
def test_nothing_but_the_first_choice_is_tried_when_falling_back_is_forbidden(wish: Wish) -> None:
    runtime = InMemoryRuntime(broken={"openvino": "an operator is missing"})
    shelf = a_shelf(runtime, fallback_allowed=False)

    with pytest.raises(EngineFailed, match="model 'det' could not be loaded: openvino: an operator is missing"):
        shelf.put("det", DIRECTORY, wish)

    assert [request.backend for request in runtime.requests] == ["openvino"]


def test_a_model_that_no_backend_loads_fails_with_every_reason() -> None:
    runtime = InMemoryRuntime(broken={"openvino": "too old", "onnxruntime": "not a model"})

    with pytest.raises(EngineFailed, match="could not be loaded: openvino: too old; onnxruntime: not a model"):
        a_shelf(runtime).put("det", DIRECTORY, Wish())


def test_a_model_that_failed_to_load_is_not_served() -> None:
    shelf = a_shelf(InMemoryRuntime(broken={"openvino": "too old", "onnxruntime": "not a model"}))
    with pytest.raises(EngineFailed):
        shelf.put("det", DIRECTORY, Wish())

    with pytest.raises(Refused, match=r"model 'det' is not served here; served: \[\]"):
        shelf.get("det")


def test_a_model_used_twice_with_one_wish_is_loaded_once() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(runtime)

    first, second = (shelf.put("det", DIRECTORY, Wish("openvino")) for _ in range(2))

    assert first is second
    assert len(runtime.requests) == 1


@pytest.mark.parametrize(
    ("directory", "wish"),
    [(DIRECTORY, Wish("openvino")), (DIRECTORY, Wish(threads=2)), (Path("/models/other"), Wish())],
    ids=["another backend", "other threads", "another directory"],
)
def test_a_model_used_twice_in_two_ways_is_refused(directory: Path, wish: Wish) -> None:
    shelf = a_shelf()
    shelf.put("det", DIRECTORY, Wish())

    with pytest.raises(Refused, match="model 'det' is used twice with different settings"):
        shelf.put("det", directory, wish)


@pytest.mark.parametrize(("wished", "obtained"), [(None, 3), (1, 1), (5, 5)])
def test_threads_are_those_wished_for_or_the_whole_cores(wished: int | None, obtained: int) -> None:
    shelved = a_shelf().put("det", DIRECTORY, Wish(threads=wished))

    assert shelved.engine.request.threads == obtained


def test_an_engine_is_asked_for_the_onnx_file_of_the_directory_with_a_cache_of_its_own(tmp_path: Path) -> None:
    runtime = InMemoryRuntime(broken={"openvino": "too old"})
    shelf = a_shelf(runtime, cache_directory=lambda request: tmp_path / request.backend)

    shelf.put("det", DIRECTORY, Wish())

    assert runtime.requests == [
        EngineRequest(DIRECTORY / "inference.onnx", "openvino", 3, tmp_path / "openvino"),
        EngineRequest(DIRECTORY / "inference.onnx", "onnxruntime", 3, tmp_path / "onnxruntime"),
    ]


def test_a_shelf_without_a_cache_asks_for_none() -> None:
    runtime = InMemoryRuntime()

    a_shelf(runtime).put("det", DIRECTORY, Wish())

    assert runtime.requests == [EngineRequest(DIRECTORY / "inference.onnx", "openvino", 3, None)]


def test_an_unknown_model_is_answered_with_those_that_are_served() -> None:
    shelf = a_shelf()
    shelf.put("rec", DIRECTORY, Wish())
    shelf.put("det", DIRECTORY, Wish())

    with pytest.raises(Refused, match=r"model 'cls' is not served here; served: \['det', 'rec'\]"):
        shelf.get("cls")


def test_models_are_found_by_name_and_listed_in_the_order_of_loading() -> None:
    shelf = a_shelf()

    loaded = [shelf.put(name, DIRECTORY, Wish()) for name in ("rec", "det")]

    assert list(shelf) == loaded
    assert shelf.get("det") is loaded[1]


def test_an_inference_is_answered_and_counted() -> None:
    shelved = a_shelf().put("det", DIRECTORY, Wish())
    x = np.arange(2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)

    answers = [shelved.infer({"x": x})["doubled"] for _ in range(3)]

    assert all(np.array_equal(answer, 2 * x) for answer in answers)
    assert shelved.usage.calls == 3
    assert shelved.usage.seconds > 0


def test_a_refused_inference_is_not_counted() -> None:
    shelved = a_shelf().put("det", DIRECTORY, Wish())

    with pytest.raises(Refused, match="input 'x' must have dtype float32, got float64"):
        shelved.infer({"x": np.zeros((1, WIDTH))})

    assert shelved.usage.calls == 0


def test_busy_seconds_are_counted_per_model() -> None:
    shelf = a_shelf()
    shelf.put("det", DIRECTORY, Wish()).infer({"x": np.zeros((1, WIDTH), np.float32)})
    shelf.put("rec", DIRECTORY, Wish())

    seconds = shelf.busy_seconds()

    assert seconds.keys() == {"det", "rec"}
    assert seconds["det"] > 0
    assert seconds["rec"] == 0


def test_closing_frees_every_model_and_a_second_time_does_nothing() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(runtime)
    shelf.put("det", DIRECTORY, Wish())
    shelf.put("rec", DIRECTORY, Wish())

    shelf.close()
    shelf.close()

    assert [session.closed for session in runtime.sessions] == [True, True]
    assert list(shelf) == []


@pytest.mark.parametrize(
    ("settings", "wish"),
    [
        ({}, Wish()),
        ({"backend": None, "auto_config": None, "backend_config": None, "auto_paddle2onnx": None}, Wish()),
        ({"backend": "onnxruntime"}, Wish("onnxruntime")),
        ({"backend": "openvino", "auto_config": True}, Wish("openvino")),
        ({"backend": "openvino", "auto_config": False}, Wish("openvino", exactly=True)),
        ({"backend_config": {"cpu_num_threads": 4}}, Wish(threads=4)),
        ({"backend_config": {}, "auto_paddle2onnx": False}, Wish()),
    ],
)
def test_settings_of_paddlex_are_read_as_a_wish(settings: dict[str, Any], wish: Wish) -> None:
    assert read_wish("here", settings) == wish


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("backed", "backend"),
        ("autoConfig", "auto_config"),
        ("backend_configs", "backend_config"),
        ("auto_paddle2onx", "auto_paddle2onnx"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_known_one(key: str, meant: str) -> None:
    assert refusal({key: None}) == f"{key!r} is not a known setting; did you mean {meant!r}?"


def test_an_unknown_setting_far_from_all_is_answered_with_the_list() -> None:
    assert refusal({"precision": "fp16"}) == (
        "'precision' is not a known setting; allowed: auto_config, auto_paddle2onnx, backend, backend_config"
    )


def test_an_unknown_backend_setting_is_refused_with_the_nearest_known_one() -> None:
    assert refusal({"backend_config": {"cpu_num_thread": 2}}) == (
        "backend_config.cpu_num_thread is not known; did you mean 'cpu_num_threads'?"
    )


@pytest.mark.parametrize(
    ("backend", "ending"),
    [
        ("openvin", "got 'openvin'; did you mean 'openvino'?"),
        ("tensorrt", "got 'tensorrt'"),
        (5, "got 5"),
        ([], "got []"),
    ],
)
def test_an_unknown_backend_is_refused_with_the_known_ones(backend: Any, ending: str) -> None:
    assert refusal({"backend": backend}) == f"backend must be one of ['onnxruntime', 'openvino'], {ending}"


@pytest.mark.parametrize("key", ["auto_config", "auto_paddle2onnx"])
@pytest.mark.parametrize("value", ["false", 0, 1, []])
def test_a_switch_that_is_neither_true_nor_false_is_refused(key: str, value: Any) -> None:
    assert refusal({key: value}) == f"{key} must be true or false, got {value!r}"


@pytest.mark.parametrize("value", [5, "cpu_num_threads", [], 0])
def test_backend_settings_that_are_no_mapping_are_refused(value: Any) -> None:
    assert refusal({"backend_config": value}) == f"backend_config must be a mapping, got {value!r}"


@pytest.mark.parametrize("threads", [1, MAX_THREADS])
def test_threads_within_the_bounds_are_accepted(threads: int) -> None:
    assert read_wish("here", {"backend_config": {"cpu_num_threads": threads}}).threads == threads


@pytest.mark.parametrize("threads", [0, MAX_THREADS + 1, -1, True, 2.0, "2"])
def test_threads_beyond_the_bounds_or_of_another_type_are_refused(threads: Any) -> None:
    assert refusal({"backend_config": {"cpu_num_threads": threads}}) == (
        f"backend_config.cpu_num_threads must be a whole number from 1 to {MAX_THREADS}, got {threads!r}"
    )


def test_manual_mode_without_a_backend_is_refused() -> None:
    assert refusal({"auto_config": False}) == "backend must be set when auto_config is false"
