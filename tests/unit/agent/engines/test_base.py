from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from hpi_agent.engines.base import (
    MAX_REASON_CHARACTERS,
    Engine,
    EngineRequest,
    TensorSpec,
    check_array,
    check_feeds,
    format_shape,
    line_of,
)
from hpi_core.errors import EngineFailed, Refused
from support.engines import DoublingSession, InMemoryRuntime

REQUEST = EngineRequest(Path("model.onnx"), "openvino", threads=2)
ROWS = np.ones((3, 4), dtype=np.float32)
IMAGE = TensorSpec("image", "float32", (None, 3, None))
COUNT = TensorSpec("count", "int64", ())


class HeldSession(DoublingSession):
    """A model whose first answer waits until it is let go."""

    def __init__(self, request: EngineRequest) -> None:
        super().__init__(request)
        self.entered, self.let_go = threading.Event(), threading.Event()

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Answer; the model must still be there."""
        if not self.entered.is_set():
            self.entered.set()
            self.let_go.wait()
        assert not self.closed
        return super().run(feeds)


class FailingSession(DoublingSession):
    """A model whose every run fails."""

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Fail."""
        raise EngineFailed("an operator failed")


def test_an_engine_names_its_outputs() -> None:
    engine = InMemoryRuntime().load(REQUEST)

    outputs = engine.infer({"x": ROWS})

    assert list(outputs) == ["doubled"]
    assert np.array_equal(outputs["doubled"], 2 * ROWS)


def test_an_engine_says_what_was_asked_and_what_was_obtained() -> None:
    engine = InMemoryRuntime().load(REQUEST)

    assert (engine.request, engine.obtained.threads, engine.obtained.precision) == (REQUEST, 2, "float32")


def test_closing_waits_for_the_call_in_flight() -> None:
    session = HeldSession(REQUEST)
    engine = Engine(session, REQUEST)

    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(engine.infer, {"x": ROWS})
        session.entered.wait()
        closing = pool.submit(engine.close)
        while not engine_refuses(engine):
            pass
        closed_early = session.closed
        session.let_go.set()
        closing.result()

    assert not closed_early
    assert session.closed
    assert np.array_equal(call.result()["doubled"], 2 * ROWS)


def engine_refuses(engine: Engine) -> bool:
    """Whether the engine is closed to new calls."""
    try:
        engine.infer({"x": ROWS})
    except Refused:
        return True
    return False


def test_closing_after_a_failed_call_does_not_wait_for_ever() -> None:
    session = FailingSession(REQUEST)
    engine = Engine(session, REQUEST)
    with pytest.raises(EngineFailed, match="an operator failed"):
        engine.infer({"x": ROWS})

    engine.close()

    assert session.closed


def test_a_session_is_closed_once() -> None:
    runtime = InMemoryRuntime()
    engine = runtime.load(REQUEST)
    engine.close()
    [session] = runtime.sessions
    session.closed = False

    engine.close()

    assert not session.closed


# check_feeds


def test_feeds_come_back_in_declared_order() -> None:
    feeds = {"count": np.array(3), "image": np.ones((1, 3, 5), dtype=np.float32)}

    assert list(check_feeds((IMAGE, COUNT), feeds)) == ["image", "count"]


def test_missing_and_unknown_names_are_both_told() -> None:
    with pytest.raises(
        Refused,
        match=r"exactly \['image', 'count'\], got \['img'\]; missing: \['image', 'count'\]; unknown: \['img'\]",
    ):
        check_feeds((IMAGE, COUNT), {"img": ROWS})


@pytest.mark.parametrize("shape", [(1, 3, 1), (7, 3, 1000)])
def test_free_dimensions_take_any_size_from_one(shape: tuple[int, ...]) -> None:
    array = np.ones(shape, dtype=np.float32)

    assert check_array(IMAGE, array).shape == shape


@pytest.mark.parametrize("shape", [(3, 1), (1, 3, 1, 1), (), (1, 4, 1), (1, 2, 1), (0, 3, 1), (1, 3, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Refused, match=r"must have shape \(\?, 3, \?\) with every dimension at least 1, got "):
        check_array(IMAGE, np.ones(shape, dtype=np.float32))


def test_a_scalar_stays_a_scalar() -> None:
    assert check_array(COUNT, np.array(3)).shape == ()


def test_a_tensor_of_two_gigabytes_is_refused() -> None:
    # One row seen two billion times takes no memory.
    huge = np.broadcast_to(np.ones((1, 3, 1), dtype=np.float32), (1, 3, 2**31 // 12 + 1))

    with pytest.raises(Refused, match=r"has 2147483\d+ bytes; at most 2147483647 are allowed"):
        check_array(IMAGE, huge)


def test_an_array_that_fits_is_not_copied() -> None:
    array = np.ones((1, 3, 5), dtype=np.float32)

    assert np.shares_memory(check_array(IMAGE, array), array)


@given(
    arrays.arrays(
        st.sampled_from(["<f4", ">f4", "<i8", ">i8", "?", "|u1", ">f2"]),
        arrays.array_shapes(min_dims=0, max_dims=3, max_side=4),
        elements=st.integers(0, 1),
    ),
    st.permutations(range(3)),
)
def test_what_comes_back_is_contiguous_native_and_equal(array: NDArray[Any], axes: list[int]) -> None:
    array = np.transpose(array, axes) if array.ndim == 3 else array
    spec = TensorSpec("x", array.dtype.name, (None,) * array.ndim)

    got = check_array(spec, array)

    assert got.flags.c_contiguous
    assert got.dtype.isnative
    assert (got.shape, got.dtype.name) == (array.shape, array.dtype.name)
    assert np.array_equal(got, array)


@pytest.mark.parametrize(
    ("shape", "text"), [((), "()"), ((3,), "(3,)"), ((None,), "(?,)"), ((None, 3, 48, None), "(?, 3, 48, ?)")]
)
def test_a_shape_is_written_for_people(shape: tuple[int | None, ...], text: str) -> None:
    assert format_shape(shape) == text


# line_of


@pytest.mark.parametrize(
    ("message", "position", "line"),
    [
        ("Load failed: no such operator\nStack:\n 1", 0, "Load failed: no such operator"),
        ("Exception from core.cpp:1:\nno rule for Telepathy\n\n\n", -1, "no rule for Telepathy"),
        ("", 0, "RuntimeError"),
        ("\n \n", -1, "RuntimeError"),
        ("x" * MAX_REASON_CHARACTERS, 0, "x" * MAX_REASON_CHARACTERS),
        ("x" * (MAX_REASON_CHARACTERS + 1), 0, "x" * (MAX_REASON_CHARACTERS - 1) + "…"),
    ],
)
def test_one_line_of_a_message_is_kept(message: str, position: int, line: str) -> None:
    assert line_of(RuntimeError(message), position) == line
