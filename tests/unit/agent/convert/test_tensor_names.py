"""Names of an ONNX graph become Paddle's, and the graph computes what it computed."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import TensorProto, checker, helper

from hpi_agent.convert.tensor_names import order_values, paired, rename_tensors
from hpi_core.errors import EngineFailed


def value(name: str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])


def graph(*nodes: tuple[str, list[str], list[str]], inputs: list[str], outputs: list[str]) -> Any:
    made = [helper.make_node(kind, given, made) for kind, given, made in nodes]
    return helper.make_graph(made, "tested", [value(name) for name in inputs], [value(name) for name in outputs])


def wiring(tested: Any) -> list[tuple[str, list[str], list[str]]]:
    return [(node.op_type, list(node.input), list(node.output)) for node in tested.node]


def check(tested: Any) -> None:
    checker.check_model(helper.make_model(tested, opset_imports=[helper.make_opsetid("", 17)]))


def test_an_output_is_renamed_wherever_it_is_used() -> None:
    tested = graph(("Neg", ["x"], ["a"]), ("Abs", ["a"], ["b"]), inputs=["x"], outputs=["a", "b"])

    rename_tensors(tested, {"a": "softmax_0.tmp_0"})

    assert wiring(tested) == [("Neg", ["x"], ["softmax_0.tmp_0"]), ("Abs", ["softmax_0.tmp_0"], ["b"])]
    assert [output.name for output in tested.output] == ["softmax_0.tmp_0", "b"]
    check(tested)


def test_two_names_can_be_exchanged() -> None:
    tested = graph(("Neg", ["x"], ["a"]), ("Abs", ["a"], ["b"]), inputs=["x"], outputs=["a", "b"])

    rename_tensors(tested, {"a": "b", "b": "a"})

    assert wiring(tested) == [("Neg", ["x"], ["b"]), ("Abs", ["b"], ["a"])]
    check(tested)


def test_a_tensor_inside_that_has_the_new_name_already_gives_way() -> None:
    tested = graph(("Neg", ["x"], ["y"]), ("Abs", ["y"], ["y.0"]), ("Neg", ["y.0"], ["z"]), inputs=["x"], outputs=["z"])

    rename_tensors(tested, {"z": "y"})

    assert wiring(tested) == [("Neg", ["x"], ["y.1"]), ("Abs", ["y.1"], ["y.0"]), ("Neg", ["y.0"], ["y"])]
    check(tested)


def test_graphs_inside_branches_see_the_new_name() -> None:
    branch = graph(("Neg", ["a"], ["inner"]), inputs=[], outputs=["inner"])
    tested = graph(("Abs", ["x"], ["a"]), inputs=["x", "c"], outputs=["b"])
    tested.input[1].type.tensor_type.elem_type = TensorProto.BOOL
    tested.input[1].type.tensor_type.shape.dim.pop()
    tested.node.append(helper.make_node("If", ["c"], ["b"], then_branch=branch, else_branch=branch))

    rename_tensors(tested, {"a": "paddle"})

    branches = [wiring(attribute.g) for attribute in tested.node[1].attribute]
    assert branches == [[("Neg", ["paddle"], ["inner"])]] * 2
    check(tested)


def test_nothing_changes_when_the_names_are_the_same() -> None:
    tested = graph(("Neg", ["x"], ["y"]), inputs=["x"], outputs=["y"])
    before = tested.SerializeToString()

    rename_tensors(tested, {"x": "x", "y": "y"})

    assert tested.SerializeToString() == before


def test_declarations_come_in_the_order_asked_for() -> None:
    tested = graph(("Add", ["a", "b"], ["y"]), inputs=["a", "b", "c"], outputs=["y"])

    order_values(tested.input, ["c", "a"])

    assert [given.name for given in tested.input] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (["a", "b"], ["b", "a"], {"a": "a", "b": "b"}),
        (["a", "b"], ["p", "q"], {"a": "p", "b": "q"}),
        (["a", "b"], ["a", "q"], {"a": "a", "b": "q"}),
        ([], [], {}),
    ],
    ids=["by name", "by position", "by position, one name alike", "none"],
)
def test_names_are_paired_by_name_else_by_position(
    ours: list[str], theirs: list[str], expected: dict[str, str]
) -> None:
    found = paired("outputs", ours, theirs)

    assert (found, list(found)) == (expected, ours)


def test_another_number_of_outputs_is_told_with_both_sides() -> None:
    with pytest.raises(EngineFailed, match=r"the ONNX file has the outputs \['y'\], Paddle has \['a', 'b'\]"):
        paired("outputs", ["a", "b"], ["y"])
