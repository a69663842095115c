"""When a worker takes up what was decided: once per change of the store, for what was decided alone."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.shelf import Attempt, Choice, Loaded, Shelf, State
from hpi_agent.select.wish import Wish
from hpi_agent.serve.change_over import ChangeOver, Stamp
from hpi_agent.serve.served import Served
from hpi_core.errors import Stop
from hpi_core.formats import Backend
from support.engines import WIDTH, InMemoryRuntime

DIRECTORY: Final = Path("/models/det")
X: Final = np.ones((1, WIDTH), dtype=np.float32)


@dataclass
class Decisions:
    """The decisions of a store: a stamp by key, or a store that cannot be read."""

    stamps: dict[str, Stamp] = field(default_factory=dict)
    failure: Exception | None = None

    def decision_stamp(self, key: str) -> Stamp:
        """Return the stamp of one decision."""
        if self.failure is not None:
            raise self.failure
        return self.stamps.get(key)


@dataclass
class OneModel:
    """A worker that serves the model `det`, and all that its change-over told."""

    runtime: InMemoryRuntime = field(default_factory=InMemoryRuntime)
    store: Decisions = field(default_factory=Decisions)
    stamps: dict[str, Stamp] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    shelf: Shelf = field(init=False)
    over: ChangeOver = field(init=False)

    def __post_init__(self) -> None:
        self.choice = self.chosen("openvino", state="Unmeasured")
        self.shelf = Shelf(lambda *_: self.choice)
        self.shelf.put("det", DIRECTORY, Wish())
        self.over = ChangeOver(cast(Served, self), self.told.append)

    def describe(self) -> dict[str, Any]:
        """Return what the server is told."""
        return {"models": [{"name": item.model_name, "engine": item.name} for item in self.shelf]}

    def chosen(self, *backends: Backend, key: str | None = None, state: State = "Measured") -> Choice:
        """Return a choice of backends, the first from the store under a key."""
        attempts: list[Attempt] = []
        for backend in backends:
            request = EngineRequest(DIRECTORY / "inference.onnx", backend, 1)
            load = lambda request=request: Loaded(self.runtime.load(request))  # noqa: E731
            attempts.append(Attempt(backend, "", load, None if attempts else key))
        return Choice(tuple(attempts), state=state, decision_key="sha256:d")

    def decide(self, number: int, choice: Choice) -> None:
        """Replace the decision: the file has another inode."""
        self.choice = choice
        self.store.stamps["sha256:d"] = (number, 0, 100)

    @property
    def serves(self) -> str:
        """The backend that answers now."""
        item = self.shelf.get("det")
        assert np.array_equal(item.infer({"x": X})["doubled"], 2 * X)
        return item.name


def test_a_decision_that_appears_is_taken_up_and_told_with_the_new_engines() -> None:
    model = OneModel()
    model.decide(1, model.chosen("onnxruntime", key="k"))

    model.over.look()

    assert model.serves == "onnxruntime"
    assert [(one["event"], one["changed"]) for one in model.told] == [("engines", "det")]
    assert model.told[0]["models"] == [{"name": "det", "engine": "onnxruntime"}]


def test_a_decision_that_was_there_when_the_worker_started_is_not_taken_up_again() -> None:
    model = OneModel(stamps={"det": (1, 0, 100)})
    model.decide(1, model.chosen("onnxruntime", key="k"))

    model.over.look()

    assert model.serves == "openvino"
    assert model.told == []


def test_without_a_change_nothing_is_loaded() -> None:
    model = OneModel()
    model.decide(1, model.chosen("onnxruntime", key="k"))
    model.over.look()

    model.over.look()

    assert len(model.runtime.requests) == 2
    assert len(model.told) == 1


def test_a_decision_that_vanishes_changes_nothing_and_one_that_comes_back_the_same_neither() -> None:
    model = OneModel()
    model.decide(1, model.chosen("onnxruntime", key="k"))
    model.over.look()

    model.store.stamps.clear()
    model.over.look()
    model.decide(2, model.choice)
    model.over.look()

    assert model.serves == "onnxruntime"
    assert [one["event"] for one in model.told] == ["engines"]


def test_a_date_in_the_past_is_a_change_like_any_other() -> None:
    model = OneModel(stamps={"det": (1, 9_000, 100)})
    model.decide(1, model.chosen("onnxruntime", key="k"))
    model.store.stamps["sha256:d"] = (1, -1, 100)

    model.over.look()

    assert model.serves == "onnxruntime"


def test_an_engine_that_cannot_be_loaded_is_told_once_and_not_tried_again_until_the_next_change() -> None:
    model = OneModel(InMemoryRuntime(broken={"onnxruntime": "cut short"}))
    model.decide(1, model.chosen("onnxruntime", key="k"))

    model.over.look()
    model.over.look()
    model.decide(2, model.choice)
    model.over.look()

    assert model.serves == "openvino"
    assert [one["event"] for one in model.told] == ["kept", "kept"]
    assert "cut short" in model.told[0]["reason"]


def test_what_serves_is_never_given_up_for_a_stand_in() -> None:
    model = OneModel()
    model.decide(1, model.chosen("onnxruntime", key="k"))
    model.over.look()
    model.runtime.broken = {"paddle": "damaged"}
    model.decide(2, model.chosen("paddle", "openvino", key="another"))

    model.over.look()

    assert model.serves == "onnxruntime"
    assert [one["event"] for one in model.told] == ["engines", "kept"]
    assert "damaged" in model.told[1]["reason"]


def test_a_decision_that_cannot_be_read_leaves_the_measured_engine_serving() -> None:
    model = OneModel()
    model.decide(1, model.chosen("onnxruntime", key="k"))
    model.over.look()
    model.decide(2, model.chosen("openvino", state="Unmeasured"))

    model.over.look()

    assert model.serves == "onnxruntime"
    assert model.told[-1]["event"] == "kept"
    assert "hpi-agent build" in model.told[-1]["reason"]


def test_a_change_over_that_fails_unexpectedly_keeps_the_engine_and_its_text_stays_in_the_log() -> None:
    model = OneModel()

    def fail(*_: Any) -> Choice:
        raise RuntimeError("a secret path")

    model.shelf.choose = fail
    model.store.stamps["sha256:d"] = (1, 0, 100)
    model.over.look()

    assert model.serves == "openvino"
    assert model.told[-1]["event"] == "kept"
    assert "secret" not in model.told[-1]["reason"]


class AFewLooks(threading.Event):
    """Is set after two looks, and waits for nothing."""

    looks = 0

    def wait(self, timeout: float | None = None) -> bool:
        """Count the looks."""
        self.looks += 1
        return self.looks > 2


def test_a_store_that_cannot_be_looked_at_does_not_end_the_looking() -> None:
    model = OneModel()
    model.store.failure = Stop("permission denied")
    stopped = AFewLooks()

    ChangeOver(cast(Served, model), model.told.append, stopped).run()

    assert stopped.looks == 3
    assert model.serves == "openvino"
