"""Encoding responses and metadata of the Open Inference Protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec
from hpi_agent.serve.open_inference import (
    RequestedOutput,
    encode_error,
    encode_metadata,
    encode_response,
    encode_server_metadata,
)
from hpi_core.errors import Bug, Refused

SCORES = np.array([[0.5, 1.5]], np.float32)
CLASSES = np.array([7], np.int64)
BOTH: dict[str, NDArray[Any]] = {"scores": SCORES, "classes": CLASSES}


def test_a_json_response_is_the_published_object() -> None:
    headers, [body] = encode_response(
        "m", "3", "42", BOTH, [RequestedOutput("classes", False), RequestedOutput("scores", False)]
    )

    assert orjson.loads(body) == {
        "model_name": "m",
        "model_version": "3",
        "id": "42",
        "outputs": [
            {"name": "classes", "datatype": "INT64", "shape": [1], "data": [7]},
            {"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.5]},
        ],
    }
    assert headers == {"Content-Type": "application/json", "Content-Length": str(len(body))}


def test_version_and_id_are_left_out_when_there_are_none() -> None:
    _, [body] = encode_response("m", None, None, BOTH, [])

    assert orjson.loads(body) == {"model_name": "m", "outputs": []}


def test_a_binary_response_names_the_length_of_its_json() -> None:
    headers, buffers = encode_response(
        "m", None, None, BOTH, [RequestedOutput("scores", True), RequestedOutput("classes", False)]
    )

    head, raw = buffers
    assert headers == {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(len(head) + 8),
        "Inference-Header-Content-Length": str(len(head)),
    }
    assert orjson.loads(head)["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert bytes(raw) == SCORES.astype("<f4").tobytes()


def test_a_binary_output_is_not_copied() -> None:
    _, [_, raw] = encode_response("m", None, None, BOTH, [RequestedOutput("scores", True)])

    assert np.shares_memory(np.frombuffer(raw, np.uint8), SCORES)


@pytest.mark.parametrize("binary", [True, False])
def test_rows_of_a_transposed_output_come_in_row_major_order(binary: bool) -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T

    _, buffers = encode_response("m", None, None, {"y": array}, [RequestedOutput("y", binary)])

    expected = [0, 3, 1, 4, 2, 5]
    got = np.frombuffer(buffers[-1], "<i4").tolist() if binary else orjson.loads(buffers[0])["outputs"][0]["data"]
    assert got == expected


@pytest.mark.parametrize("binary", [True, False])
def test_an_output_without_elements_is_sent_with_its_shape(binary: bool) -> None:
    _, buffers = encode_response("m", None, None, {"y": np.zeros((0, 6), np.float32)}, [RequestedOutput("y", binary)])

    [output] = orjson.loads(buffers[0])["outputs"]
    assert output["shape"] == [0, 6]
    assert b"".join(buffers[1:]) == b""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_json_cannot_express_is_refused_with_the_way_out(value: float) -> None:
    outputs = {"y": np.array([0, value], np.float32)}

    with pytest.raises(Refused, match=r"output 'y' holds .* at element 1, .*binary_data: true"):
        encode_response("m", None, None, outputs, [RequestedOutput("y", False)])


def test_a_number_that_json_cannot_express_passes_as_binary() -> None:
    outputs = {"y": np.array([np.nan, np.inf], np.float32)}

    _, [_, raw] = encode_response("m", None, None, outputs, [RequestedOutput("y", True)])

    np.testing.assert_array_equal(np.frombuffer(raw, "<f4"), outputs["y"])


def test_float16_as_json_is_refused_with_the_way_out() -> None:
    with pytest.raises(Refused, match=r"FP16, which has no JSON form .*binary_data: true"):
        encode_response("m", None, None, {"y": np.zeros(1, np.float16)}, [RequestedOutput("y", False)])


def test_an_output_that_the_model_did_not_answer_is_our_fault() -> None:
    with pytest.raises(Bug, match="'z' is wanted but the model answered"):
        encode_response("m", None, None, BOTH, [RequestedOutput("z", False)])


def test_an_output_of_a_type_without_a_word_is_our_fault() -> None:
    with pytest.raises(Bug, match="dtype complex64"):
        encode_response("m", None, None, {"y": np.zeros(1, np.complex64)}, [RequestedOutput("y", True)])


def test_model_metadata_spells_a_free_dimension_as_minus_one() -> None:
    body = encode_metadata(
        "rec",
        "onnx_onnxruntime",
        (TensorSpec("x", "float32", (None, 3, 48, None)),),
        (TensorSpec("y", "int64", ()),),
        ("1",),
    )

    assert orjson.loads(body) == {
        "name": "rec",
        "versions": ["1"],
        "platform": "onnx_onnxruntime",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3, 48, -1]}],
        "outputs": [{"name": "y", "datatype": "INT64", "shape": []}],
    }


def test_model_metadata_of_a_model_without_versions_does_not_name_them() -> None:
    assert "versions" not in orjson.loads(encode_metadata("m", "p", (), ()))


def test_server_metadata_names_the_binary_extension() -> None:
    assert orjson.loads(encode_server_metadata("hpi", "0.1.0")) == {
        "name": "hpi",
        "version": "0.1.0",
        "extensions": ["binary_tensor_data"],
    }


def test_an_error_body_holds_the_text() -> None:
    assert orjson.loads(encode_error("no: ünknown")) == {"error": "no: ünknown"}
