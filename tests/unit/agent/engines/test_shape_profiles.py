"""Ranges of shapes: whole, made for the model, and kept to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.engines.base import EngineRequest, ShapeProfile, TensorSpec
from hpi_agent.engines.shape_profiles import check_profiles, check_within, profiles_for, written
from hpi_core.errors import Refused

SIZES = st.integers(1, 6)


@st.composite
def profiles(draw: st.DrawFn) -> ShapeProfile:
    """Draw a range of up to three dimensions."""
    ends = [sorted(draw(st.tuples(SIZES, SIZES, SIZES))) for _ in range(draw(st.integers(0, 3)))]
    smallest, usual, largest = (tuple(end[which] for end in ends) for which in range(3))
    return ShapeProfile("x", smallest, usual, largest)


@given(profiles())
def test_a_range_takes_its_three_shapes_and_none_beyond_an_end(profile: ShapeProfile) -> None:
    check_profiles([profile])
    for shape in (profile.smallest, profile.usual, profile.largest):
        check_within([profile], {"x": np.empty(shape)})

    for axis in range(len(profile.largest)):
        beyond = tuple(size + (axis == place) for place, size in enumerate(profile.largest))
        below = tuple(size - (axis == place) for place, size in enumerate(profile.smallest))
        for shape in (beyond, below):
            with pytest.raises(Refused, match="must have a shape from"):
                check_within([profile], {"x": np.empty(shape)})


@pytest.mark.parametrize(
    "shapes",
    [((0,), (1,), (1,)), ((2,), (1,), (2,)), ((1,), (3,), (2,)), ((1,), (1, 1), (1,)), ((), (), (1,))],
)
def test_three_shapes_that_are_no_range_are_refused(shapes: Any) -> None:
    with pytest.raises(Refused, match="must be three shapes of one rank with 1 <= smallest <= usual <= largest"):
        check_profiles([ShapeProfile("x", *shapes)])


def a_request(*given_profiles: ShapeProfile) -> EngineRequest:
    return EngineRequest(Path("model.onnx"), "tensorrt", 1, profiles=given_profiles)


def test_what_the_model_fixes_needs_no_profile_and_a_scalar_has_none() -> None:
    inputs = [TensorSpec("x", "float32", (2, 3)), TensorSpec("k", "float32", ())]

    assert profiles_for(a_request(), inputs) == (ShapeProfile("x", (2, 3), (2, 3), (2, 3)),)


def test_a_profile_of_the_request_stands_for_a_free_dimension() -> None:
    profile = ShapeProfile("x", (1, 3), (2, 3), (4, 3))

    assert profiles_for(a_request(profile), [TensorSpec("x", "float32", (None, 3))]) == (profile,)


def test_shapes_are_written_as_the_tools_of_tensorrt_read_them() -> None:
    ranges = [
        ShapeProfile("x", (1, 3, 32, 32), (1, 3, 736, 736), (1, 3, 4000, 4000)),
        ShapeProfile("y", (1,), (2,), (3,)),
    ]

    assert written(ranges, lambda profile: profile.smallest) == "x:1x3x32x32,y:1"
    assert written(ranges, lambda profile: profile.largest) == "x:1x3x4000x4000,y:3"
