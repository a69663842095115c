"""Decoding a request of the Open Inference Protocol: what is accepted, what is refused, and with which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from hpi_agent.serve.open_inference import InferRequest, Limits, RequestedOutput, decode_request, parse_header_length
from hpi_core.errors import Refused, TooLarge

LIMITS = Limits()


def an_input(**changes: Any) -> dict[str, Any]:
    """Return a valid JSON input of two FP32 numbers, with fields changed; `...` takes a field out."""
    fields = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2.5], **changes}
    return {key: value for key, value in fields.items() if value is not ...}


def a_binary_input(nbytes: Any, **changes: Any) -> dict[str, Any]:
    """Return an input whose elements follow the JSON object."""
    return an_input(**{"data": ..., "parameters": {"binary_data_size": nbytes}, **changes})


def decode(request: Any, tail: bytes | None = None, limits: Limits = LIMITS) -> InferRequest:
    """Decode a request given as a Python value, with the binary tensors behind it."""
    head = orjson.dumps(request)
    return decode_request(head + (tail or b""), None if tail is None else len(head), limits)


def decode_one(**changes: Any) -> np.ndarray:
    """Return the only tensor of a request with one changed JSON input."""
    return decode({"inputs": [an_input(**changes)]}).inputs["x"]


def test_a_flat_json_tensor_takes_the_declared_shape_and_type() -> None:
    got = decode_one(shape=[2, 2], datatype="UINT16", data=[1, 2, 3, 65535])

    np.testing.assert_array_equal(got, np.array([[1, 2], [3, 65535]], np.uint16), strict=True)


def test_a_nested_json_tensor_equals_the_flat_one() -> None:
    nested = decode_one(shape=[2, 1, 2], data=[[[1, 2]], [[3, 4]]])

    flat = decode_one(shape=[2, 1, 2], data=[1, 2, 3, 4])

    np.testing.assert_array_equal(nested, flat, strict=True)


def test_a_binary_tensor_shares_the_memory_of_the_body() -> None:
    head = orjson.dumps({"inputs": [a_binary_input(8)]})
    body = head + np.array([1, 2], "<f4").tobytes()

    got = decode_request(body, len(head), LIMITS).inputs["x"]

    np.testing.assert_array_equal(got, np.array([1, 2], np.float32), strict=True)
    assert np.shares_memory(got, np.frombuffer(body, np.uint8))


def test_binary_tensors_follow_in_the_order_of_the_inputs_with_json_ones_between() -> None:
    inputs = [
        a_binary_input(2, name="a", datatype="UINT8"),
        an_input(name="b"),
        a_binary_input(4, name="c", shape=[1]),
    ]

    got = decode({"inputs": inputs}, b"\x07\x09" + np.float32(5).tobytes()).inputs

    assert [(name, array.tolist()) for name, array in got.items()] == [("a", [7, 9]), ("b", [1, 2.5]), ("c", [5])]


def test_an_empty_shape_is_a_scalar() -> None:
    got = decode_one(shape=[], data=[3])

    assert (got.shape, float(got)) == ((), 3.0)


def test_id_flags_and_ignored_parameters_are_all_reported() -> None:
    request = {
        "id": "42",
        "inputs": [an_input(parameters={"content_type": "np"})],
        "outputs": [{"name": "y", "parameters": {"binary_data": False, "note": 1}}, {"name": "z"}],
        "parameters": {"binary_data_output": True, "priority": 3},
    }

    got = decode(request)

    assert (got.id, got.binary_output) == ("42", True)
    assert got.outputs == (RequestedOutput("y", False), RequestedOutput("z", True))
    assert got.ignored == ("parameters.priority", "inputs[0].parameters.content_type", "outputs[0].parameters.note")


def test_an_optional_field_that_is_null_counts_as_absent() -> None:
    got = decode({"id": None, "parameters": None, "outputs": None, "inputs": [an_input(parameters=None)]})

    assert (got.id, got.outputs, got.binary_output) == (None, (), False)


def test_without_requested_outputs_every_declared_one_is_chosen() -> None:
    request = decode({"inputs": [an_input()], "parameters": {"binary_data_output": True}})

    assert request.choose_outputs(["y", "z"]) == (RequestedOutput("y", True), RequestedOutput("z", True))


def test_a_requested_output_that_the_model_lacks_is_refused_with_its_neighbour() -> None:
    request = decode({"inputs": [an_input()], "outputs": [{"name": "score"}]})

    with pytest.raises(Refused, match=r"outputs\[0\]\.name 'score' .* did you mean 'scores'\?"):
        request.choose_outputs(["scores", "boxes"])


REFUSED_REQUESTS: dict[str, tuple[Any, str]] = {
    "a list": ([], "request must be an object, got an array"),
    "an unknown key": ({"input": []}, r"unknown key 'input'; did you mean 'inputs'\?"),
    "a model name in the body": ({"inputs": [an_input()], "model_name": "m"}, "unknown key 'model_name'; known are"),
    "a number as id": ({"id": 5, "inputs": [an_input()]}, "id must be a string"),
    "no inputs": ({}, "inputs must list at least one"),
    "empty inputs": ({"inputs": []}, "inputs must list at least one"),
    "inputs as an object": ({"inputs": {"x": [1]}}, "inputs must be an array, got an object"),
    "an input that is text": ({"inputs": ["x"]}, r"inputs\[0\] must be an object, got 'x'"),
    "a duplicate input": ({"inputs": [an_input(), an_input()]}, r"inputs\[1\]\.name 'x' comes twice"),
    "a duplicate output": ({"inputs": [an_input()], "outputs": [{"name": "y"}] * 2}, r"outputs\[1\]\.name 'y' comes"),
    "an output without a name": ({"inputs": [an_input()], "outputs": [{}]}, r"outputs\[0\]\.name must be a string"),
    "classification": (
        {"inputs": [an_input()], "outputs": [{"name": "y", "parameters": {"classification": 3}}]},
        r"outputs\[0\]\.parameters\.classification: classification is not supported",
    ),
    "shared memory for an output": (
        {"inputs": [an_input()], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
        r"outputs\[0\]\.parameters\.shared_memory_region: shared memory is not supported",
    ),
    "a flag that is text": (
        {"inputs": [an_input()], "parameters": {"binary_data_output": "true"}},
        "parameters.binary_data_output must be true or false, got 'true'",
    ),
    "a flag of outputs on an input": (
        {"inputs": [an_input(parameters={"binary_data": True})]},
        r"inputs\[0\]\.parameters\.binary_data is a parameter of a requested output, not of an input",
    ),
    "a parameter that is a list": (
        {"inputs": [an_input()], "parameters": {"a": [1]}},
        "parameters.a must be a string, a number or a boolean, got an array",
    ),
    "a parameter with a line break in its name": (
        {"inputs": [an_input()], "parameters": {"a\nb": [1]}},
        r"parameters\['a\\nb'\] must be",
    ),
    "parameters that are text": ({"inputs": [an_input()], "parameters": "x"}, "parameters must be an object"),
}


@pytest.mark.parametrize(("request_", "text"), REFUSED_REQUESTS.values(), ids=REFUSED_REQUESTS)
def test_a_request_is_refused_with_the_path_of_the_field(request_: Any, text: str) -> None:
    with pytest.raises(Refused, match=text):
        decode(request_)


REFUSED_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": ...}, r"inputs\[0\]\.name is missing"),
    "an empty name": ({"name": ""}, r"inputs\[0\]\.name must be a string of 1 to 256"),
    "no shape": ({"shape": ...}, r"inputs\[0\]\.shape is missing"),
    "no datatype": ({"datatype": ...}, r"inputs\[0\]\.datatype is missing"),
    "an unknown key": ({"dtype": "FP32"}, r"unknown key 'dtype'; did you mean 'datatype'\?"),
    "numpy's word for the type": ({"datatype": "float32"}, r"got 'float32'; did you mean 'FP32'\?"),
    "a lower-case type": ({"datatype": "fp32"}, r"did you mean 'FP32'\?"),
    "BYTES": ({"datatype": "BYTES"}, "BYTES is not supported; allowed are BOOL, UINT8"),
    "BF16": ({"datatype": "BF16"}, "BF16 is not supported"),
    "a type that is a list": ({"datatype": ["FP32"]}, "must be one of .* got an array"),
    "a shape that is a number": ({"shape": 2}, r"inputs\[0\]\.shape must be an array, got 2"),
    "a zero dimension": ({"shape": [2, 0]}, r"shape\[1\] must be an integer of at least 1, got 0"),
    "a negative dimension": ({"shape": [-1]}, r"shape\[0\] must be an integer of at least 1, got -1"),
    "a fractional dimension": ({"shape": [2.0]}, r"shape\[0\] .* got 2.0"),
    "a dimension that is true": ({"shape": [True, 2]}, r"shape\[0\] .* got True"),
    "no elements": ({"data": ...}, "either data or parameters.binary_data_size, got neither"),
    "elements that are an object": ({"data": {}}, r"inputs\[0\]\.data must be an array, got an object"),
    "an empty list": ({"data": []}, r"data has 0 elements; shape \[2\] needs 2"),
    "one element too many": ({"data": [1, 2, 3]}, r"data has 3 elements; shape \[2\] needs 2"),
    "one element too few": ({"data": [1]}, r"data has 1 elements; shape \[2\] needs 2"),
    "ragged rows": ({"shape": [2, 2], "data": [[1, 2], [3]]}, "at depth 1 an array of 2 is needed, got an array of 1"),
    "a number among rows": ({"shape": [2, 2], "data": [[1, 2], 3]}, "at depth 1 an array of 2 is needed, got 3"),
    "rows nested too deep": ({"shape": [2], "data": [[1], [2]]}, "a FP32 must be .* got an array at element 0"),
    "rows nested too flat": (
        {"shape": [1, 1, 2], "data": [[1, 2]]},
        "at depth 1 an array of 1 is needed, got an array",
    ),
    "text among numbers": ({"data": [1, "2"]}, "got '2' at element 1"),
    "null among numbers": ({"data": [1, None]}, "got None at element 1"),
    "true among numbers": ({"data": [True, 1]}, "got True at element 0"),
    "a fraction for an integer": ({"datatype": "INT32", "data": [1, 2.0]}, "INT32 must be an integer, got 2.0"),
    "true for an integer": ({"datatype": "UINT8", "data": [1, True]}, "UINT8 must be an integer, got True"),
    "one for a BOOL": ({"datatype": "BOOL", "data": [True, 1]}, "BOOL must be true or false, got 1 at element 1"),
    "300 for a UINT8": ({"datatype": "UINT8", "data": [0, 300]}, "UINT8 must be 0 to 255, got 300 at element 1"),
    "-1 for a UINT64": ({"datatype": "UINT64", "data": [0, -1]}, "UINT64 must be 0 to 18446744073709551615, got -1"),
    "2**63 for an INT64": ({"datatype": "INT64", "data": [0, 2**63]}, "INT64 must be -9223372036854775808 to"),
    "1e39 for an FP32": ({"data": [0, 1e39]}, r"FP32 must be at most 3.40282e\+38 in size, got 1e\+39 at element 1"),
    "FP16 as JSON": ({"datatype": "FP16"}, "FP16 has no JSON form"),
    "shared memory": ({"parameters": {"shared_memory_region": "r"}}, "shared memory is not supported"),
}


@pytest.mark.parametrize(("changes", "text"), REFUSED_INPUTS.values(), ids=REFUSED_INPUTS)
def test_an_input_is_refused_with_what_was_seen_and_what_is_allowed(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(Refused, match=text):
        decode_one(**changes)


REFUSED_BINARY: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "a size that is not the shape's": (a_binary_input(4), bytes(8), r"must be 8 \(shape \[2\] of FP32\), got 4"),
    "a negative size": (a_binary_input(-8), bytes(8), "must be 8 .* got -8"),
    "a size that is text": (a_binary_input("8"), bytes(8), "must be 8 .* got '8'"),
    "a size that is true": (a_binary_input(True, shape=[1], datatype="UINT8"), b"\1", "must be 1 .* got True"),
    "a size past the end of the body": (a_binary_input(8), bytes(7), "binary_data_size is 8, but 7 bytes are left"),
    "bytes left over": (a_binary_input(8), bytes(9), "1 bytes follow the last tensor"),
    "both sources": (a_binary_input(8, data=[1, 2]), bytes(8), "got both"),
    "a BOOL of 2": (a_binary_input(2, datatype="BOOL"), b"\1\2", "a BOOL must be the byte 0 or 1, got 2 at element 1"),
}


@pytest.mark.parametrize(("item", "tail", "text"), REFUSED_BINARY.values(), ids=REFUSED_BINARY)
def test_a_binary_input_is_refused_when_bytes_and_declaration_differ(
    item: dict[str, Any], tail: bytes, text: str
) -> None:
    with pytest.raises(Refused, match=text):
        decode({"inputs": [item]}, tail)


def test_a_binary_input_without_the_header_is_told_about_the_header() -> None:
    with pytest.raises(Refused, match=r"0 bytes are left in the body; .* Inference-Header-Content-Length"):
        decode({"inputs": [a_binary_input(8)]})


def test_binary_bytes_without_the_header_are_told_about_the_header() -> None:
    body = orjson.dumps({"inputs": [a_binary_input(8)]}) + bytes(8)

    with pytest.raises(Refused, match=r"not JSON: .* belongs into the header Inference-Header-Content-Length"):
        decode_request(body, None, LIMITS)


def test_float_numbers_that_are_not_finite_have_no_json_spelling() -> None:
    for word in (b"NaN", b"Infinity", b"1e999"):
        with pytest.raises(Refused, match="the request is not JSON"):
            decode_request(
                b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[' + word + b"]}]}", None, LIMITS
            )


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"inputs":[{"data":' + b"["])
def test_json_nested_10000_deep_is_refused_without_a_crash(opening: bytes) -> None:
    with pytest.raises(Refused, match="the request is not JSON"):
        decode_request(opening * 10_000, None, LIMITS)


@pytest.mark.parametrize("field", ["id", "inputs", "outputs", "parameters"])
def test_json_nested_as_deep_as_the_parser_allows_is_refused_in_any_field(field: str) -> None:
    body = b'{"inputs":[1],"' + field.encode() + b'":' + b"[" * 1000 + b"]" * 1000 + b"}"

    with pytest.raises(Refused):
        decode_request(body, None, LIMITS)


@pytest.mark.parametrize("body", [b"", b" ", b"\xff\xfe", b"{", b"\xef\xbb\xbf{}", b'{"id":"\\ud800"}', b"{}{}"])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match=r"is not JSON|is empty"):
        decode_request(body, None, LIMITS)


@pytest.mark.parametrize("length", [-1, 0, 100, 2**70])
def test_a_header_length_outside_the_body_is_refused(length: int) -> None:
    with pytest.raises(Refused, match=f"must be 1 to the body's 2 bytes, got {length}"):
        decode_request(b"{}", length, LIMITS)


@pytest.mark.parametrize("text", ["", " 5", "+5", "-5", "0x5", "5.0", "1_0", "٥", "5, 5", "9" * 19])
def test_a_header_length_that_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="must be a number of bytes in decimal digits"):
        parse_header_length(text)


def test_a_header_length_of_plain_digits_is_read() -> None:
    assert (parse_header_length(None), parse_header_length("0"), parse_header_length("602")) == (None, 0, 602)


SMALL = Limits(
    tensors=2,
    dimensions=2,
    elements=4,
    total_bytes=24,
    name_characters=5,
    parameters=2,
    json_bytes=300,
    json_containers=11,
)


def a_request_of(nbytes: int) -> dict[str, Any]:
    """Return a valid request whose JSON text has that many bytes."""
    shortest = len(orjson.dumps({"inputs": [an_input(parameters={"a": ""})]}))
    return {"inputs": [an_input(parameters={"a": "." * (nbytes - shortest)})]}


AT_THE_LIMIT: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "input tensors": (
        {"inputs": [an_input(name=name) for name in "ab"]},
        {"inputs": [an_input(name=name) for name in "abc"]},
        "inputs has 3 items; at most 2",
    ),
    "requested outputs": (
        {"inputs": [an_input()], "outputs": [{"name": name} for name in "ab"]},
        {"inputs": [an_input()], "outputs": [{"name": name} for name in "abc"]},
        "outputs has 3 items; at most 2",
    ),
    "dimensions": (
        {"inputs": [an_input(shape=[1, 2])]},
        {"inputs": [an_input(shape=[1, 1, 2])]},
        r"inputs\[0\]\.shape has 3 items; at most 2",
    ),
    "elements": (
        {"inputs": [an_input(shape=[4], data=[0] * 4)]},
        {"inputs": [an_input(shape=[5], data=[0] * 5)]},
        "asks for 5 elements or more; at most 4",
    ),
    "bytes of all tensors": (
        {"inputs": [an_input(name="a", shape=[4], data=[0] * 4), an_input(name="b")]},
        {"inputs": [an_input(name="a", shape=[4], data=[0] * 4), an_input(name="b", shape=[3], data=[0] * 3)]},
        r"inputs up to inputs\[1\] need 28 bytes; at most 24",
    ),
    "characters of a name": (
        {"inputs": [an_input(name="abcde")]},
        {"inputs": [an_input(name="abcdef")]},
        r"inputs\[0\]\.name has 6 characters; at most 5",
    ),
    "characters of the id": (
        {"id": "abcde", "inputs": [an_input()]},
        {"id": "abcdef", "inputs": [an_input()]},
        "id has 6 characters; at most 5",
    ),
    "parameters": (
        {"inputs": [an_input(parameters={"a": 1, "b": 2})]},
        {"inputs": [an_input(parameters={"a": 1, "b": 2, "c": 3})]},
        r"inputs\[0\]\.parameters has 3 parameters; at most 2",
    ),
    "characters of a parameter's name": (
        {"inputs": [an_input(parameters={"abcde": 1})]},
        {"inputs": [an_input(parameters={"abcdef": 1})]},
        "a name of 6 characters; at most 5",
    ),
    "bytes of JSON": (
        a_request_of(300),
        a_request_of(301),
        "the JSON object has 301 bytes; at most 300",
    ),
    "brackets of JSON": (
        {"inputs": [an_input(parameters={"a": "[" * 5})]},
        {"inputs": [an_input(parameters={"a": "[" * 6})]},
        "opens 12 arrays and objects; at most 11",
    ),
}


@pytest.mark.parametrize(("allowed", "too_much", "text"), AT_THE_LIMIT.values(), ids=AT_THE_LIMIT)
def test_a_limit_lets_its_own_value_pass_and_refuses_one_more(
    allowed: dict[str, Any], too_much: dict[str, Any], text: str
) -> None:
    decode(allowed, limits=SMALL)

    with pytest.raises(TooLarge, match=text):
        decode(too_much, limits=SMALL)


@pytest.mark.parametrize("shape", [[2**63, 2], [2**32, 2**32], [2**64 - 1] * 16, [65536] * 4])
def test_a_shape_whose_product_overflows_64_bits_is_refused(shape: list[int]) -> None:
    with pytest.raises(TooLarge, match="elements or more; at most 268435456"):
        decode({"inputs": [a_binary_input(0, shape=shape)]}, b"")


def test_an_error_text_does_not_grow_with_the_request() -> None:
    with pytest.raises(Refused) as caught:
        decode({"inputs": [an_input(datatype="F" * 1_000_000)]})

    assert len(str(caught.value)) < 300
