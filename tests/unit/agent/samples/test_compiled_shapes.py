"""The shapes that engines are compiled for: whose they are, how large a batch they have room for, what is refused."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.engines.base import ShapeProfile, TensorSpec
from hpi_agent.samples.compiled_shapes import MAX_BATCH, compiled_profile, shape_profiles
from hpi_agent.select.shapes import Profile, Shapes
from hpi_agent.select.wish import Wish
from hpi_core.errors import Refused

X: Final = TensorSpec("x", "float32", (None, 3, 48, None))
DECLARED: Final[Profile] = {"x": ((1, 3, 48, 160), (1, 3, 48, 320), (8, 3, 48, 3200))}
NARROW: Final[Shapes] = ((1, 3, 48, 320), (6, 3, 48, 320), (6, 3, 48, 640))


def compiled(wish: Wish = Wish(), specs: Any = (X,), **part: Any) -> Profile:  # noqa: B008 - frozen
    return compiled_profile(DECLARED, specs, wish, part)


def test_the_models_own_shapes_are_compiled_for_unless_something_is_said() -> None:
    assert compiled() == DECLARED
    assert compiled(specs=None) == DECLARED


def test_the_users_shapes_take_the_place_of_the_models() -> None:
    assert compiled(Wish("tensorrt", shapes=(("x", NARROW),)), batch_size=16) == {"x": NARROW}
    assert compiled(Wish("paddle", shapes=(("x", NARROW),)), specs=None) == {"x": NARROW}


@pytest.mark.parametrize(
    ("batch", "largest"),
    [(1, 8), (8, 8), (9, 9), (MAX_BATCH, MAX_BATCH), (MAX_BATCH + 1, 8), (0, 8), ("16", 8), (True, 8)],
)
def test_there_is_room_for_the_batch_that_the_pipeline_sends(batch: Any, largest: int) -> None:
    assert compiled(batch_size=batch)["x"][2] == (largest, 3, 48, 3200)
    assert compiled(batch_size=batch)["x"][:2] == DECLARED["x"][:2]


def test_a_batch_that_the_file_fixes_stays() -> None:
    fixed = TensorSpec("x", "float32", (1, 3, 48, None))
    one: Profile = {"x": ((1, 3, 48, 160), (1, 3, 48, 320), (1, 3, 48, 3200))}

    assert compiled_profile(one, (fixed,), Wish(), {"batch_size": 6}) == one
    # Where nobody knows the file, a batch that is declared as one number is taken for one that is fixed.
    assert compiled_profile(one, None, Wish(), {"batch_size": 6}) == one


@pytest.mark.parametrize(
    ("name", "shapes", "told"),
    [
        ("y", NARROW, r"name the input 'y'; the model file has \['x'\]"),
        ("x", ((1, 3),) * 3, r"give the input 'x' the shape \(1, 3\); the model file has \(\?, 3, 48, \?\)"),
        ("x", ((1, 1, 48, 320),) * 3, r"the shape \(1, 1, 48, 320\); the model file has"),
    ],
)
def test_shapes_that_do_not_fit_the_file_are_refused_with_both_sides(name: str, shapes: Shapes, told: str) -> None:
    with pytest.raises(Refused, match=told):
        compiled(Wish("tensorrt", shapes=((name, shapes),)))


def test_shapes_for_an_input_that_nobody_declares_are_refused_where_the_file_cannot_be_asked() -> None:
    with pytest.raises(Refused, match=r"name the input 'y'; the model has \['x'\]"):
        compiled(Wish("paddle", shapes=(("y", NARROW),)), specs=None)


def test_engines_take_profiles_sorted_by_input() -> None:
    profile: Profile = {"b": ((1,), (2,), (3,)), "a": ((4,), (5,), (6,))}

    assert shape_profiles(profile) == (ShapeProfile("a", (4,), (5,), (6,)), ShapeProfile("b", (1,), (2,), (3,)))


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 64), st.integers(0, 200))
def test_every_range_still_grows_and_holds_what_was_declared(low: int, middle: int, high: int, batch: int) -> None:
    smallest, usual, largest = sorted((low, middle, high))
    declared: Profile = {"x": ((smallest, 3), (usual, 3), (largest, 3))}

    [got] = compiled_profile(declared, (TensorSpec("x", "float32", (None, 3)),), Wish(), {"batch_size": batch}).values()

    assert got[0] <= got[1] <= got[2]
    assert got[2][0] == max(largest, batch)
