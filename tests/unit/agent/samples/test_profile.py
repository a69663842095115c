from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.engines.base import TensorSpec
from hpi_agent.samples.profile import (
    DECLARATIONS,
    MAX_DIMENSION,
    MAX_INPUTS,
    TEMPLATES,
    declared_input_data,
    declared_profile,
)
from hpi_core.errors import Refused
from support.model_inputs import hpi, spec

X = spec("x", None, 3, None, None)
SHAPES = [[1, 3, 32, 32], [1, 3, 64, 64], [4, 3, 96, 128]]


def declares(shapes: Any) -> dict[str, Any]:
    return {"Hpi": hpi({"x": shapes})}


def test_the_shapes_of_tensorrt_count_before_those_of_paddle() -> None:
    other = [[1, 3, 8, 8]] * 3
    inference = {
        "Hpi": {
            "backend_configs": {
                "tensorrt": {"dynamic_shapes": {"x": SHAPES}},
                "paddle_infer": {"trt_dynamic_shapes": {"x": other}},
            }
        }
    }

    profile = declared_profile(inference, None, [X])

    assert profile == {"x": ((1, 3, 32, 32), (1, 3, 64, 64), (4, 3, 96, 128))}


def test_the_shapes_of_paddle_count_where_there_are_no_others() -> None:
    inference = {"Hpi": {"backend_configs": {"paddle_infer": {"trt_dynamic_shapes": {"x": SHAPES}}}}}

    assert declared_profile(inference, "classification", [X])["x"][2] == (4, 3, 96, 128)


@pytest.mark.parametrize("family", TEMPLATES)
def test_a_family_has_shapes_of_its_own_where_none_are_declared(family: Any) -> None:
    assert declared_profile({}, family, [X])["x"] == TEMPLATES[family]


def test_fixed_dimensions_of_the_file_win_over_the_shapes_of_the_family() -> None:
    profile = declared_profile({}, "text_detection", [spec("x", 1, 3, 640, None)])

    assert profile["x"] == ((1, 3, 640, 32), (1, 3, 640, 736), (1, 3, 640, 4000))


def test_what_nobody_declares_is_one_picture_or_a_row_of_32() -> None:
    specs = [X, spec("row", None, None), TensorSpec("scalar", "int64", ())]

    profile = declared_profile({"Hpi": None}, None, specs)

    assert [shapes[1] for shapes in profile.values()] == [(1, 3, 224, 224), (1, 32), ()]


CONTRADICTIONS = {
    "another name": ({"image": SHAPES}, r"declares the input 'image'; the model file has \['x'\]"),
    "another rank": ({"x": [[1, 3, 32]] * 3}, r"declares the shape \(1, 3, 32\); the model file has \(\?, 3, \?, \?\)"),
    "another channel": ({"x": [[1, 1, 32, 32]] * 3}, r"declares the shape \(1, 1, 32, 32\)"),
    "another largest": ({"x": [*SHAPES[:2], [4, 4, 96, 128]]}, r"declares the shape \(4, 4, 96, 128\)"),
}


@pytest.mark.parametrize(("shapes", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
@pytest.mark.parametrize(("backend", "key"), DECLARATIONS)
def test_a_declaration_that_contradicts_the_file_is_refused_with_both_sides(
    backend: str, key: str, shapes: Any, words: str
) -> None:
    inference = {"Hpi": {"backend_configs": {backend: {key: shapes}}}}

    with pytest.raises(Refused, match=words) as refused:
        declared_profile(inference, None, [X])

    assert "correct inference.yml" in str(refused.value)


MALFORMED = {
    "not a mapping": [],
    "too many inputs": {f"x{index}": SHAPES for index in range(MAX_INPUTS + 1)},
    "two shapes": {"x": SHAPES[:2]},
    "ranks that differ": {"x": [[1, 3], [1, 3, 4], [1, 3]]},
    "smallest above usual": {"x": [SHAPES[2], SHAPES[1], SHAPES[2]]},
    "usual above largest": {"x": [SHAPES[0], SHAPES[2], SHAPES[1]]},
    "zero": {"x": [[0, 3, 32, 32], *SHAPES[1:]]},
    "text": {"x": [["1", 3, 32, 32], *SHAPES[1:]]},
    "a fraction": {"x": [[1.0, 3, 32, 32], *SHAPES[1:]]},
    "true": {"x": [[True, 3, 32, 32], *SHAPES[1:]]},
    "one too large": {"x": [*SHAPES[:2], [1, 3, MAX_DIMENSION + 1, 96]]},
    "too many dimensions": {"x": [[1] * 9] * 3},
}


@pytest.mark.parametrize("shapes", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_declaration_is_refused(shapes: Any) -> None:
    with pytest.raises(Refused, match=r"inference\.yml Hpi\.backend_configs\.\S+: must be .*, got "):
        declared_profile({"Hpi": hpi(shapes)}, None, [X])


@pytest.mark.parametrize("written", [3, {"backend_configs": 3}, {"backend_configs": {"tensorrt": 3}}])
def test_a_section_that_is_no_mapping_is_refused(written: Any) -> None:
    with pytest.raises(Refused, match="must be a mapping, got 3"):
        declared_profile({"Hpi": written}, None, [X])


def test_the_largest_dimension_is_allowed() -> None:
    profile = declared_profile(declares([*SHAPES[:2], [4, 3, MAX_DIMENSION, 96]]), None, [X])

    assert profile["x"][2][2] == MAX_DIMENSION


dimension = st.integers(1, MAX_DIMENSION)


@given(st.lists(st.tuples(st.lists(dimension, min_size=3, max_size=3), st.booleans()), max_size=6), st.data())
def test_every_profile_fits_the_file_and_grows(dimensions: list[tuple[list[int], bool]], data: st.DataObject) -> None:
    shapes = [list(column) for column in zip(*(sorted(sizes) for sizes, _ in dimensions), strict=True)] or [[], [], []]
    declared = tuple(sizes[0] if fixed and len(set(sizes)) == 1 else None for sizes, fixed in dimensions)
    family = data.draw(st.sampled_from([None, *TEMPLATES]))

    [got] = declared_profile(declares(shapes), family, [TensorSpec("x", "float32", declared)]).values()

    assert got == tuple(tuple(shape) for shape in shapes)
    assert all(low <= middle <= high for low, middle, high in zip(*got, strict=True))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_content_of_the_section_fails_in_another_way(content: Any) -> None:
    for inference in (
        {"Hpi": content},
        {"Hpi": {"backend_configs": content}},
        {"Hpi": hpi(content)},
        declares(content),
    ):
        try:
            profile = declared_profile(inference, None, [X])
        except Refused:
            continue
        assert profile.keys() == {"x"}


IM_SHAPE = spec("im_shape", None, 2)
RT_DETR = {"im_shape": ((1, 2), (1, 2), (2, 2))}


def test_the_declared_values_of_inputs_that_are_no_pictures_are_read() -> None:
    inference = {"Hpi": hpi({"im_shape": [[1, 2], [1, 2], [2, 2]]}, {"im_shape": [[800, 800], [800, 800], [800] * 4]})}

    data = declared_input_data(inference, RT_DETR)

    assert data == {"im_shape": ((800.0, 800.0), (800.0, 800.0), (800.0,) * 4)}


@pytest.mark.parametrize(
    "data",
    [
        {"other": [[1], [1], [1]]},
        {"im_shape": [[800, 800], [800, 800], [800, 800]]},
        {"im_shape": [[800, 800]]},
        [1],
        {"im_shape": [["a", 1], [1, 1], [1] * 4]},
    ],
    ids=["another name", "too few values", "one row", "no mapping", "text"],
)
def test_values_that_do_not_fit_their_shapes_are_refused(data: Any) -> None:
    with pytest.raises(Refused, match="trt_dynamic_shape_input_data"):
        declared_input_data({"Hpi": hpi({}, data)}, RT_DETR)
