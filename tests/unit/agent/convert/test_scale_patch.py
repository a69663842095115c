"""The scales of interpolations in a PIR program go from float64 to float32, and nothing else changes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.convert.scale_patch import patch_scales


def number(kind: str, value: float = 2.0) -> dict[str, Any]:
    return {"#": f"0.a_{kind}", "D": value}


def array(*values: dict[str, Any]) -> dict[str, Any]:
    return {"#": "0.a_array", "D": list(values)}


def operation(name: str, **attributes: Any) -> dict[str, Any]:
    return {"#": name, "A": [{"N": key, "AT": value} for key, value in attributes.items()], "I": [], "O": []}


def program(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"base_code": {"version": 4}, "program": {"regions": [{"blocks": [{"ops": list(operations)}]}]}}


@pytest.mark.parametrize("name", ["1.nearest_interp", "1.bilinear_interp", "1.bicubic_interp"])
def test_every_number_of_an_interpolations_scale_becomes_float32(name: str) -> None:
    document = program(operation(name, scale=array(number("f64"), number("f64", 4.0))))

    changed = patch_scales(document)

    assert changed == 2
    assert document == program(operation(name, scale=array(number("f32"), number("f32", 4.0))))


def test_a_scale_that_is_one_number_becomes_float32() -> None:
    document = program(operation("1.bilinear_interp", scale=number("f64")))

    assert patch_scales(document) == 1
    assert document == program(operation("1.bilinear_interp", scale=number("f32")))


@pytest.mark.parametrize(
    "untouched",
    [
        operation("1.bilinear_interp", scale=array(number("f32"))),
        operation("1.bilinear_interp", scale=array()),
        operation("1.bilinear_interp", ratio=array(number("f64"))),
        operation("1.scale", scale=number("f64")),
        operation("1.full", value=number("f64")),
        operation("1.bilinear_interp_grad", scale=number("f64")),
    ],
    ids=["float32 already", "no numbers", "another attribute", "another operator", "a constant", "training"],
)
def test_everything_else_is_left_as_it_is(untouched: dict[str, Any]) -> None:
    document = program(untouched)
    before = copy.deepcopy(document)

    assert patch_scales(document) == 0
    assert document == before


def test_operators_inside_branches_are_found() -> None:
    inner = operation("1.bilinear_interp", scale=array(number("f64")))
    document = program({**operation("1.if"), "regions": [{"blocks": [{"ops": [inner]}]}]})

    assert patch_scales(document) == 1


def test_a_patched_program_has_nothing_left_to_patch() -> None:
    document = program(operation("1.nearest_interp", scale=array(number("f64"))))
    patch_scales(document)

    assert patch_scales(document) == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["0.a_f64", "1.bilinear_interp", "scale", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["program", "regions", "blocks", "ops", "#", "A", "N", "AT", "D"]), inner)
    ),
    max_leaves=20,
)


@given(inner=JSON)
def test_no_structure_of_a_program_stops_the_patch(inner: Any) -> None:
    documents = [inner, program(inner), program(operation("1.bilinear_interp", scale=inner))]

    changed = [patch_scales(document) for document in documents]

    assert all(count >= 0 for count in changed)
    assert [patch_scales(document) for document in documents] == [0, 0, 0]
