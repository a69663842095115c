"""What every way to compute promises, in a form that needs no test runner: the core of the conformance suite.

Here it runs on doubles; `make gpu` runs it on whatever device and packages a machine has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from hpi_agent.engines.base import Device, Engine, EngineRequest
from hpi_agent.engines.registry import build_engine, load_engine
from hpi_core.errors import EngineFailed, HpiError, Refused
from models.graphs import MODELS, TinyModel, add, convolution
from support.arrays import assert_arrays_equal
from support.ways import LARGEST_SIZE, Way

CORE: Final = frozenset({"add", "convolution", "loose", "mixed", "scalars", "twice-float32"})
"""The graphs that are computed here; the suite has all."""


@dataclass
class Bench:
    """One way and a folder, and what was built there."""

    way: Way
    directory: Path
    built: dict[str, bytes | None] = field(default_factory=dict)

    def request(self, model: TinyModel) -> EngineRequest:
        """Return the request for a graph: with its built form where the way has one, made at the first time."""
        request = self.way.request(model, self.directory)
        if "built" not in self.way.forms:
            return request
        if model.name not in self.built:
            self.built[model.name] = build_engine(request)
            assert self.built[model.name] is not None, "nothing was built"
        return replace(request, built=self.built[model.name])

    @contextmanager
    def engine(self, model: TinyModel) -> Iterator[Engine]:
        """Load a graph as long as the context lasts."""
        with load_engine(self.request(model)) as engine:
            yield engine


def answers_are_right_for_many_shapes(bench: Bench) -> None:
    """Every graph of the core declares what its file declares, and answers as numpy does."""
    generator = np.random.default_rng(5)
    for model in [model for model in MODELS if model.name in CORE and bench.way.takes(model)]:
        with bench.engine(model) as engine:
            declared = [(spec.name, spec.dtype) for spec in (*engine.inputs, *engine.outputs)]
            assert declared == [(spec.name, spec.dtype) for spec in (*model.inputs, *model.outputs)], declared
            for _ in range(5):
                feeds = bench.way.example(model, generator)
                assert_arrays_equal(engine.infer(feeds), model.answer(feeds), bench.way.tolerance)


def what_was_obtained_is_what_was_asked(bench: Bench) -> None:
    """The engine names its backend, its precision and a device that is not the processors."""
    with bench.engine(add()) as engine:
        obtained = engine.obtained
    assert (obtained.backend, obtained.precision) == (bench.way.backend, bench.way.precision), obtained
    assert obtained.version, obtained
    assert obtained.device not in ("", "CPU", "CPUExecutionProvider"), obtained
    assert obtained.from_store == ("built" in bench.way.forms), obtained


def a_wrong_input_is_refused_and_the_engine_stays_fit(bench: Bench) -> None:
    """Names, types and ranks are checked at the door."""
    model = add()
    feeds = bench.way.example(model, np.random.default_rng(5))
    with bench.engine(model) as engine:
        for wrong in ({}, {**feeds, "z": feeds["x"]}, {"x": feeds["x"].astype(np.float64)}, {"x": feeds["x"][0]}):
            must_fail(lambda wrong=wrong: engine.infer(wrong), Refused)  # type: ignore[misc]
        assert_arrays_equal(engine.infer(feeds), model.answer(feeds), bench.way.tolerance)


def a_shape_that_was_not_compiled_for_is_refused(bench: Bench) -> None:
    """Nothing is compiled anew inside a request."""
    if not bench.way.compiles_for_shapes:
        return
    with bench.engine(add()) as engine:
        must_fail(lambda: engine.infer({"x": np.ones((LARGEST_SIZE + 1, 3), dtype=np.float32)}), Refused)
        assert engine.infer({"x": np.ones((LARGEST_SIZE, 3), dtype=np.float32)})["y"].shape == (LARGEST_SIZE, 3)


def outputs_belong_to_the_caller(bench: Bench) -> None:
    """A later call changes no answer, and no input is changed."""
    model = convolution()
    feeds = bench.way.example(model, np.random.default_rng(5))
    kept = {name: array.copy() for name, array in feeds.items()}
    with bench.engine(model) as engine:
        first = engine.infer(feeds)
        want = {name: array.copy() for name, array in first.items()}
        engine.infer({name: array + 1 for name, array in feeds.items()})
    assert_arrays_equal(first, want, tolerance=0)
    assert_arrays_equal(feeds, kept, tolerance=0)


def two_threads_get_their_own_answers(bench: Bench) -> None:
    """Calls from several threads do not mix."""
    model = convolution()

    def call(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(50):
            feeds = bench.way.example(model, generator)
            assert_arrays_equal(engine.infer(feeds), model.answer(feeds), bench.way.tolerance)

    with bench.engine(model) as engine, ThreadPoolExecutor(2) as pool:
        list(pool.map(call, [1, 2]))


def a_closed_engine_refuses(bench: Bench) -> None:
    """A call after the end is refused, not answered from freed memory."""
    model = add()
    with bench.engine(model) as engine:
        pass
    must_fail(lambda: engine.infer(bench.way.example(model, np.random.default_rng(5))), Refused)


def a_device_that_is_not_there_fails(bench: Bench) -> None:
    """The last number that may be asked for is never a device of a test machine."""
    request = replace(bench.request(add()), device=Device(bench.way.device.kind, 63))
    must_fail(lambda: load_engine(request).close(), HpiError)


def a_damaged_built_form_fails(bench: Bench) -> None:
    """Half of what was built is not loaded."""
    if "built" not in bench.way.forms:
        return
    request = bench.request(add())
    assert request.built is not None
    half = request.built[: len(request.built) // 2]
    must_fail(lambda: load_engine(replace(request, built=half)).close(), EngineFailed)


CLAIMS: Final[tuple[Callable[[Bench], None], ...]] = (
    answers_are_right_for_many_shapes,
    what_was_obtained_is_what_was_asked,
    a_wrong_input_is_refused_and_the_engine_stays_fit,
    a_shape_that_was_not_compiled_for_is_refused,
    outputs_belong_to_the_caller,
    two_threads_get_their_own_answers,
    a_closed_engine_refuses,
    a_device_that_is_not_there_fails,
    a_damaged_built_form_fails,
)
"""In the order in which they are worth knowing."""


def must_fail(call: Callable[[], object], kind: type[HpiError]) -> None:
    """Raise AssertionError unless a call raises an error of a kind, with a text."""
    text = None
    try:
        call()
    except kind as error:
        text = str(error)
    assert text is not None, f"{kind.__name__} was expected and nothing was raised"
    assert text, f"{kind.__name__} has no text"
