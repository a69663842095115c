"""The shelf: in which order ways to serve are tried, what is kept, and how one engine takes over from another."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.shelf import Attempt, Choice, Loaded, Rejected, Shelf, Shelved, State
from hpi_agent.select.wish import Wish
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Backend
from support.engines import WIDTH, InMemoryRuntime

DIRECTORY: Final = Path("/models/det")
X: Final = np.arange(2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)


def an_attempt(runtime: InMemoryRuntime, backend: Backend, key: str | None = None) -> Attempt:
    """Return one way to serve, which loads the doubling model."""
    request = EngineRequest(DIRECTORY / "inference.onnx", backend, 3)
    return Attempt(backend, f"{backend} was offered", lambda: Loaded(runtime.load(request)), key)


def a_choice(
    runtime: InMemoryRuntime, *backends: Backend, state: State = "Unmeasured", key: str | None = None
) -> Choice:
    """Return a choice of several backends, best first; the key is that of the first."""
    attempts = [an_attempt(runtime, backend, None if place else key) for place, backend in enumerate(backends)]
    return Choice(tuple(attempts), state=state)


def a_shelf(*choices: Choice) -> Shelf:
    """Return a shelf that is told these choices, one after the other; the last one is repeated."""
    left = list(choices)
    return Shelf(lambda *_: left.pop(0) if len(left) > 1 else left[0])


def accept(_: Shelved) -> None:
    """Prove nothing."""


def test_the_first_way_that_loads_serves() -> None:
    runtime = InMemoryRuntime()

    shelved = a_shelf(a_choice(runtime, "openvino", "onnxruntime")).put("det", DIRECTORY, Wish())

    assert (shelved.name, shelved.reason, shelved.rejected) == ("openvino", "openvino was offered", ())
    assert [request.backend for request in runtime.requests] == ["openvino"]


def test_a_model_whose_first_way_fails_is_served_by_the_second_and_says_why() -> None:
    runtime = InMemoryRuntime(broken={"openvino": "an operator is missing"})

    shelved = a_shelf(a_choice(runtime, "openvino", "onnxruntime", state="Measured")).put("det", DIRECTORY, Wish())

    assert (shelved.name, shelved.state) == ("onnxruntime", "Fallback")
    assert shelved.rejected == (Rejected("openvino", "an operator is missing"),)


def test_what_the_choice_excluded_stands_before_what_failed() -> None:
    runtime = InMemoryRuntime(broken={"openvino": "too old"})
    choice = a_choice(runtime, "openvino", "onnxruntime")
    choice = Choice(choice.attempts, (Rejected("paddle", "not installed"),))

    shelved = a_shelf(choice).put("det", DIRECTORY, Wish())

    assert shelved.rejected == (Rejected("paddle", "not installed"), Rejected("openvino", "too old"))


def test_a_model_that_no_way_loads_fails_with_every_reason() -> None:
    runtime = InMemoryRuntime(broken={"openvino": "too old", "onnxruntime": "not a model"})
    shelf = a_shelf(a_choice(runtime, "openvino", "onnxruntime"))

    with pytest.raises(EngineFailed, match="could not be loaded: openvino: too old; onnxruntime: not a model"):
        shelf.put("det", DIRECTORY, Wish())

    with pytest.raises(Refused, match=r"model 'det' is not served here; served: \[\]"):
        shelf.get("det")


def test_a_model_used_twice_with_one_wish_is_loaded_once() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(a_choice(runtime, "openvino"))

    first, second = (shelf.put("det", DIRECTORY, Wish("openvino")) for _ in range(2))

    assert first is second
    assert len(runtime.requests) == 1


@pytest.mark.parametrize(
    ("directory", "wish"),
    [(DIRECTORY, Wish("openvino")), (DIRECTORY, Wish(threads=2)), (Path("/models/other"), Wish())],
    ids=["another backend", "other threads", "another directory"],
)
def test_a_model_used_twice_in_two_ways_is_refused(directory: Path, wish: Wish) -> None:
    shelf = a_shelf(a_choice(InMemoryRuntime(), "openvino"))
    shelf.put("det", DIRECTORY, Wish())

    with pytest.raises(Refused, match="model 'det' is used twice with different settings"):
        shelf.put("det", directory, wish)


def test_an_unknown_model_is_answered_with_those_that_are_served() -> None:
    shelf = a_shelf(a_choice(InMemoryRuntime(), "openvino"))
    shelf.put("rec", DIRECTORY, Wish())
    shelf.put("det", DIRECTORY, Wish())

    with pytest.raises(Refused, match=r"model 'cls' is not served here; served: \['det', 'rec'\]"):
        shelf.get("cls")


def test_models_are_found_by_name_and_listed_in_the_order_of_loading() -> None:
    shelf = a_shelf(a_choice(InMemoryRuntime(), "openvino"))

    loaded = [shelf.put(name, DIRECTORY, Wish()) for name in ("rec", "det")]

    assert list(shelf) == loaded
    assert shelf.get("det") is loaded[1]


def test_an_inference_is_answered_and_counted() -> None:
    shelved = a_shelf(a_choice(InMemoryRuntime(), "openvino")).put("det", DIRECTORY, Wish())

    answers = [shelved.infer({"x": X})["doubled"] for _ in range(3)]

    assert all(np.array_equal(answer, 2 * X) for answer in answers)
    assert shelved.usage.calls == 3
    assert shelved.usage.seconds > 0


def test_a_refused_inference_is_not_counted() -> None:
    shelved = a_shelf(a_choice(InMemoryRuntime(), "openvino")).put("det", DIRECTORY, Wish())

    with pytest.raises(Refused, match="input 'x' must have dtype float32, got float64"):
        shelved.infer({"x": np.zeros((1, WIDTH))})

    assert shelved.usage.calls == 0


def test_busy_seconds_are_counted_per_model() -> None:
    shelf = a_shelf(a_choice(InMemoryRuntime(), "openvino"))
    shelf.put("det", DIRECTORY, Wish()).infer({"x": X})
    shelf.put("rec", DIRECTORY, Wish())

    seconds = shelf.busy_seconds()

    assert seconds.keys() == {"det", "rec"}
    assert seconds["det"] > 0
    assert seconds["rec"] == 0


def test_closing_frees_every_model_and_gives_back_what_it_held() -> None:
    runtime, released = InMemoryRuntime(), []
    request = EngineRequest(DIRECTORY / "inference.onnx", "openvino", 3)
    attempt = Attempt("openvino", "", lambda: Loaded(runtime.load(request), lambda: released.append("entry")))
    shelf = a_shelf(Choice((attempt,)))
    shelf.put("det", DIRECTORY, Wish())

    shelf.close()
    shelf.close()

    assert [session.closed for session in runtime.sessions] == [True]
    assert released == ["entry"]
    assert list(shelf) == []


def test_a_better_choice_takes_over_and_the_old_engine_is_freed() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(a_choice(runtime, "openvino"), a_choice(runtime, "onnxruntime", state="Measured", key="k"))
    shelf.put("det", DIRECTORY, Wish()).infer({"x": X})

    renewed = shelf.renew("det", accept)

    assert renewed is shelf.get("det")
    assert (renewed.name, renewed.state, renewed.engine_key) == ("onnxruntime", "Measured", "k")
    assert [session.closed for session in runtime.sessions] == [True, False]


def test_what_was_counted_goes_on_after_a_change_over_and_the_proof_is_not_counted() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(a_choice(runtime, "openvino"), a_choice(runtime, "onnxruntime", state="Measured", key="k"))
    shelf.put("det", DIRECTORY, Wish()).infer({"x": X})
    before = shelf.busy_seconds()["det"]

    def infer(item: Shelved) -> None:
        item.infer({"x": X})

    shelf.renew("det", infer)

    assert shelf.get("det").usage.calls == 1
    assert shelf.busy_seconds()["det"] == before


def test_the_same_choice_again_changes_nothing() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(a_choice(runtime, "openvino", state="Measured", key="k"))
    shelf.put("det", DIRECTORY, Wish())

    assert shelf.renew("det", accept) is None
    assert len(runtime.sessions) == 1


def test_a_provisional_choice_that_becomes_final_is_shown_as_such() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(
        a_choice(runtime, "openvino", state="Provisional", key="k"),
        a_choice(runtime, "openvino", state="Measured", key="k"),
    )
    shelf.put("det", DIRECTORY, Wish())

    renewed = shelf.renew("det", accept)

    assert renewed is not None
    assert renewed.state == "Measured"


def test_an_engine_that_cannot_be_loaded_leaves_the_old_one_serving() -> None:
    runtime = InMemoryRuntime()
    broken = InMemoryRuntime(broken={"onnxruntime": "damaged"})
    shelf = a_shelf(a_choice(runtime, "openvino"), a_choice(broken, "onnxruntime", state="Measured", key="k"))
    old = shelf.put("det", DIRECTORY, Wish())

    with pytest.raises(EngineFailed, match="damaged"):
        shelf.renew("det", accept)

    assert shelf.get("det") is old
    assert np.array_equal(old.infer({"x": X})["doubled"], 2 * X)


def test_an_engine_that_cannot_prove_itself_is_freed_and_the_old_one_goes_on() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(a_choice(runtime, "openvino"), a_choice(runtime, "onnxruntime", state="Measured", key="k"))
    old = shelf.put("det", DIRECTORY, Wish())

    def refuse(_: Shelved) -> None:
        raise EngineFailed("it answers NaN")

    with pytest.raises(EngineFailed, match="it answers NaN"):
        shelf.renew("det", refuse)

    assert shelf.get("det") is old
    assert [session.closed for session in runtime.sessions] == [False, True]


def test_an_engine_with_another_signature_never_takes_over() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(a_choice(runtime, "openvino"), a_choice(runtime, "onnxruntime", state="Measured", key="k"))
    old = shelf.put("det", DIRECTORY, Wish())
    _rename_output_of_later_sessions(runtime)

    with pytest.raises(EngineFailed, match="the serving engine stays"):
        shelf.renew("det", accept)

    assert shelf.get("det") is old


def _rename_output_of_later_sessions(runtime: InMemoryRuntime) -> None:
    load = runtime.load

    def renamed(request: EngineRequest) -> Any:
        engine = load(request)
        engine.outputs = (type(engine.outputs[0])("another", "float32", (None, WIDTH)),)  # type: ignore[misc]
        return engine

    runtime.load = renamed  # type: ignore[method-assign]


def test_a_change_over_waits_for_the_request_that_is_being_answered() -> None:
    runtime = InMemoryRuntime()
    shelf = a_shelf(a_choice(runtime, "openvino"), a_choice(runtime, "onnxruntime", state="Measured", key="k"))
    old = shelf.put("det", DIRECTORY, Wish())
    proved = threading.Event()
    changing = threading.Thread(target=shelf.renew, args=("det", lambda _: proved.set()))

    with shelf.turn:
        changing.start()
        assert proved.wait(30)
        during = shelf.get("det")
        answer = during.infer({"x": X})["doubled"]
    changing.join(30)

    assert during is old
    assert np.array_equal(answer, 2 * X)
    assert shelf.get("det").name == "onnxruntime"
