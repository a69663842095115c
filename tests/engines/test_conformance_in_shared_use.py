"""What every engine promises when memory, threads or its end are shared with others."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hpi_agent.engines.base import Engine, EngineRequest
from hpi_agent.engines.registry import load_engine
from hpi_core.errors import Refused
from hpi_core.formats import Backend
from models import graphs
from models.graphs import MODELS, TinyModel
from support.arrays import assert_arrays_equal
from support.on_ways import on_ways_that_take
from support.ways import Way

Load = Callable[[TinyModel], Engine]

every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)

# Whose memory it is.


@every_model
def test_outputs_belong_to_the_caller(model: TinyModel, way: Way, load: Load) -> None:
    engine, generator = load(model), np.random.default_rng(5)
    feeds = way.example(model, generator)
    first = engine.infer(feeds)
    want = {name: array.copy() for name, array in first.items()}

    later = [engine.infer({name: other_values(array) for name, array in feeds.items()}) for _ in range(3)]

    assert later
    assert_arrays_equal(first, want, tolerance=0)


@every_model
def test_writing_to_an_output_changes_nothing_else(model: TinyModel, way: Way, load: Load) -> None:
    engine, generator = load(model), np.random.default_rng(5)
    feeds = way.example(model, generator)
    kept = {name: array.copy() for name, array in feeds.items()}

    for array in engine.infer(feeds).values():
        array[...] = 0

    assert_arrays_equal(feeds, kept, tolerance=0)
    assert_arrays_equal(engine.infer(feeds), model.answer(kept), way.tolerance)


@every_model
def test_inputs_are_never_changed(model: TinyModel, way: Way, load: Load) -> None:
    engine, generator = load(model), np.random.default_rng(5)
    feeds = way.example(model, generator)
    kept = {name: array.copy() for name, array in feeds.items()}

    engine.infer(feeds)

    assert_arrays_equal(feeds, kept, tolerance=0)


@on_ways_that_take(graphs.passthrough(), of_any_shape=True)
def test_an_input_may_be_reused_by_the_caller_after_the_call(free_model: TinyModel, load: Load) -> None:
    engine, x = load(free_model), np.ones(5, dtype=np.float32)
    outputs = engine.infer({"x": x})

    x[:] = 7

    assert np.array_equal(outputs["x"], np.ones(5))


@on_ways_that_take(graphs.convolution())
def test_outputs_outlive_their_engine(model: TinyModel, way: Way, load: Load) -> None:
    engine, feeds = load(model), way.example(model, np.random.default_rng(5))
    outputs = engine.infer(feeds)
    want = model.answer(feeds)

    engine.close()
    gc.collect()
    other = load(model).infer({"x": np.zeros_like(feeds["x"])})

    assert not other["y"].any()
    assert_arrays_equal(outputs, want, way.tolerance)


def other_values(array: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(~array if array.dtype == bool else array + 1, dtype=array.dtype)


# Closing.


@on_ways_that_take(graphs.add())
def test_closing_twice_is_allowed(model: TinyModel, load: Load) -> None:
    engine = load(model)

    engine.close()
    engine.close()

    with pytest.raises(Refused, match="this engine is closed; load the model again"):
        engine.infer(model.example(np.random.default_rng(5)))


@on_ways_that_take(graphs.add())
def test_the_end_of_a_with_block_closes(model: TinyModel, way: Way, load: Load) -> None:
    feeds = way.example(model, np.random.default_rng(5))
    with load(model) as engine:
        engine.infer(feeds)

    with pytest.raises(Refused, match="closed"):
        engine.infer(feeds)


@on_ways_that_take(graphs.convolution(), of_any_shape=True)
def test_closing_under_load_lets_every_accepted_call_finish(free_model: TinyModel, way: Way, load: Load) -> None:
    engine, started = load(free_model), threading.Semaphore(0)
    feeds = {"x": np.ones((2, 3, 64, 64), dtype=np.float32)}
    want = free_model.answer(feeds)

    def until_refused() -> int:
        answered = 0
        while True:
            try:
                got = engine.infer(feeds)
            except Refused:
                return answered
            assert_arrays_equal(got, want, way.tolerance)
            answered += 1
            started.release()

    with ThreadPoolExecutor(3) as pool:
        callers = [pool.submit(until_refused) for _ in range(3)]
        for _ in range(10):
            started.acquire()
        engine.close()

    assert sum(caller.result() for caller in callers) >= 10


# Threads.


@pytest.mark.parametrize("model", [graphs.convolution(), graphs.mixed(), graphs.pairs()], ids=lambda model: model.name)
def test_two_threads_get_their_own_right_answers(model: TinyModel, way: Way, load: Load) -> None:
    engine = load(model)

    def call(seed: int) -> int:
        generator = np.random.default_rng(seed)
        examples = [way.example(model, generator) for _ in range(10)]
        answers = [model.answer(feeds) for feeds in examples]
        for turn in range(200):
            assert_arrays_equal(engine.infer(examples[turn % 10]), answers[turn % 10], way.tolerance)
        return 200

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(call, [1, 2]))

    assert done == [200, 200]


@pytest.mark.parametrize("threads", sorted({1, min(2, len(os.sched_getaffinity(0)))}))
def test_the_threads_asked_for_are_the_threads_the_runtime_reports(
    threads: int, backend: Backend, tmp_path: Path
) -> None:
    request = EngineRequest(graphs.convolution().save(tmp_path), backend, threads)

    with load_engine(request) as engine:
        obtained = engine.obtained

    assert (obtained.threads, obtained.backend, obtained.precision) == (threads, backend, "float32")


@on_ways_that_take(graphs.convolution())
def test_an_engine_says_what_was_asked_and_what_was_obtained(model: TinyModel, way: Way, load: Load) -> None:
    engine = load(model)

    assert engine.request.device == way.device
    assert (engine.obtained.backend, engine.obtained.precision) == (way.backend, way.precision)
    assert engine.obtained.version
    assert engine.obtained.device
