from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from hpi_agent.engines import onnx_file
from hpi_agent.engines.onnx_file import ELEMENT_TYPES, MAX_DEPTH, read_onnx
from hpi_core.errors import EngineFailed, HpiError, Refused, TooLarge
from models import graphs
from models.graphs import MODELS, TinyModel
from models.real import RECOGNISER, real_model


def save(proto: Any, directory: Path) -> Path:
    path = directory / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def external(array: Any, name: str = "weight") -> Any:
    tensor = numpy_helper.from_array(array, name)
    onnx.external_data_helper.set_external_data(tensor, "elsewhere.bin")
    tensor.ClearField("raw_data")
    return tensor


WEIGHT = np.ones(3, dtype=np.float32)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_declaration_is_read_as_onnx_reads_it(model: TinyModel, tmp_path: Path) -> None:
    declared = read_onnx(model.save(tmp_path))

    assert (declared.inputs, declared.outputs) == (model.inputs, model.outputs)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_declaration_is_the_same_without_looking_at_the_weights(model: TinyModel, tmp_path: Path) -> None:
    path = model.save(tmp_path)

    assert read_onnx(path, weights=False) == read_onnx(path)


def test_a_default_value_is_no_input_though_the_weights_are_not_looked_at(tmp_path: Path) -> None:
    model = graphs.add()
    constant = graphs.value_info(graphs.spec("constant", "float32", 3))
    model.proto.graph.input.insert(0, constant)

    declared = read_onnx(save(model.proto, tmp_path), weights=False)

    assert declared.inputs == model.inputs


def test_every_element_type_has_the_number_that_onnx_gives_it() -> None:
    numbers = {number: np.dtype(helper.tensor_dtype_to_np_dtype(number)).name for number in ELEMENT_TYPES}

    assert numbers == ELEMENT_TYPES


def test_metadata_is_read(tmp_path: Path) -> None:
    proto = graphs.add().proto
    helper.set_model_props(proto, {"character": "a\nä\n字", "empty": ""})

    assert read_onnx(save(proto, tmp_path)).metadata == {"character": "a\nä\n字", "empty": ""}


def test_the_characters_of_a_real_recogniser_are_read() -> None:
    assert len(read_onnx(real_model(RECOGNISER)).metadata["character"].splitlines()) > 18_000


def test_a_dimension_of_minus_one_is_free(tmp_path: Path) -> None:
    proto = graphs.add().proto
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1

    assert read_onnx(save(proto, tmp_path)).inputs == (graphs.spec("x", "float32", None, 3),)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param(lambda x: x.type.tensor_type.ClearField("shape"), "'x' declares no rank", id="rank"),
        pytest.param(
            lambda x: setattr(x.type.tensor_type, "elem_type", onnx.TensorProto.STRING),
            "'x' has element type 8 .*allowed: bool, float16",
            id="text",
        ),
        pytest.param(
            lambda x: setattr(x.type.tensor_type, "elem_type", onnx.TensorProto.BFLOAT16),
            "'x' has element type 16",
            id="bfloat16",
        ),
        pytest.param(
            lambda x: x.CopyFrom(helper.make_tensor_sequence_value_info("x", onnx.TensorProto.FLOAT, [1])),
            "'x' is not a tensor",
            id="sequence",
        ),
    ],
)
def test_an_input_that_no_engine_takes_is_told_by_name(change: Any, text: str, tmp_path: Path) -> None:
    proto = graphs.add().proto
    change(proto.graph.input[0])

    with pytest.raises(EngineFailed, match=text):
        read_onnx(save(proto, tmp_path))


def in_a_node(tensor: Any) -> Any:
    proto = graphs.add().proto
    proto.graph.node.append(helper.make_node("Constant", [], ["z"], value=tensor))
    return proto


def in_a_branch(tensor: Any) -> Any:
    proto = graphs.add().proto
    branch = helper.make_graph([], "branch", [], [], [tensor])
    proto.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    return proto


def in_a_sparse_tensor(tensor: Any) -> Any:
    proto = graphs.add().proto
    indices = numpy_helper.from_array(np.array([0, 1, 2]))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [5]))
    return proto


def in_a_function(tensor: Any) -> Any:
    proto = graphs.add().proto
    node = helper.make_node("Constant", [], ["z"], value=tensor)
    proto.functions.append(helper.make_function("ours", "F", [], ["z"], [node], [helper.make_opsetid("", 17)]))
    return proto


def in_training(tensor: Any) -> Any:
    proto = graphs.add().proto
    proto.training_info.add().algorithm.CopyFrom(helper.make_graph([], "step", [], [], [tensor]))
    return proto


@pytest.mark.parametrize("hide", [in_a_node, in_a_branch, in_a_sparse_tensor, in_a_function, in_training])
def test_weights_elsewhere_are_refused_wherever_they_hide(hide: Any, tmp_path: Path) -> None:
    path = save(hide(external(WEIGHT)), tmp_path)

    with pytest.raises(Refused, match="tensor 'weight' is stored in another file"):
        read_onnx(path)


@pytest.mark.parametrize("hide", [in_a_node, in_a_branch, in_a_sparse_tensor, in_a_function, in_training])
def test_weights_in_the_file_are_accepted_in_the_same_places(hide: Any, tmp_path: Path) -> None:
    path = save(hide(numpy_helper.from_array(WEIGHT, "weight")), tmp_path)

    assert read_onnx(path).outputs == graphs.add().outputs


@pytest.mark.parametrize(("depth", "accepted"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_graphs_are_followed_to_a_limit(depth: int, accepted: bool, tmp_path: Path) -> None:
    graph = helper.make_graph([], "innermost", [], [])
    for _ in range(depth - 1):
        graph = helper.make_graph([helper.make_node("If", ["c"], ["z"], then_branch=graph)], "outer", [], [])
    proto = graphs.add().proto
    proto.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=graph))
    path = save(proto, tmp_path)

    if accepted:
        assert read_onnx(path).outputs
    else:
        with pytest.raises(EngineFailed, match="nested more than 32 deep"):
            read_onnx(path)


def test_a_file_beyond_two_gigabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sparse.onnx"
    with path.open("wb") as file:
        file.truncate(onnx_file.MAX_MODEL_BYTES + 1)

    with pytest.raises(TooLarge, match="has 2147483648 bytes; an ONNX file has at most 2147483647"):
        read_onnx(path)


WHOLE = graphs.mixed().proto.SerializeToString()


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_cut_anywhere_is_read_rightly_or_fails_as_ours(
    tmp_path_factory: pytest.TempPathFactory, at: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.onnx"
    path.write_bytes(WHOLE[:at])

    try:
        declared = read_onnx(path)
    except EngineFailed:
        return

    # Only the list of operator sets, after the graph, may be missing: the runtimes refuse that.
    assert declared.inputs == graphs.mixed().inputs


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, len(WHOLE)))
def test_any_bytes_are_read_or_fail_as_ours(tmp_path_factory: pytest.TempPathFactory, inserted: bytes, at: int) -> None:
    path = tmp_path_factory.getbasetemp() / "inserted.onnx"
    path.write_bytes(WHOLE[:at] + inserted + WHOLE[at + len(inserted) :])

    try:
        read_onnx(path)
    except HpiError as error:
        told = str(error)
    else:
        told = str(path)

    assert str(path) in told
