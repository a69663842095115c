"""Properties of the Open Inference Protocol codec: tensors survive the way, and hostile bytes only ever are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from hpi_agent.serve.open_inference import InferRequest, Limits, RequestedOutput, decode_request, encode_response
from hpi_core.errors import Refused
from hpi_core.formats import OPEN_INFERENCE_DTYPES

LIMITS = Limits(json_bytes=2**20, total_bytes=2**20, elements=2**16)

shapes = arrays.array_shapes(min_dims=0, max_dims=5, min_side=1, max_side=4)
tensors = st.sampled_from(list(OPEN_INFERENCE_DTYPES)).flatmap(lambda name: arrays.arrays(np.dtype(name), shapes))
json_tensors = st.sampled_from([name for name in OPEN_INFERENCE_DTYPES if name != "float16"]).flatmap(
    lambda name: arrays.arrays(
        np.dtype(name),
        shapes,
        elements=arrays.from_dtype(np.dtype(name), allow_nan=False, allow_infinity=False),
    )
)


def as_request(response: tuple[bytes | memoryview, ...]) -> tuple[bytes, int]:
    """Turn a response into the request with the same tensors: outputs become inputs."""
    document = orjson.loads(response[0])
    head = orjson.dumps({"inputs": document["outputs"]})
    return head + b"".join(response[1:]), len(head)


def there_and_back(given_tensors: dict[str, NDArray[Any]], binary: list[bool]) -> InferRequest:
    wanted = [RequestedOutput(name, flag) for name, flag in zip(given_tensors, binary, strict=True)]
    _, buffers = encode_response("m", None, None, given_tensors, wanted)
    return decode_request(*as_request(buffers), LIMITS)


@given(st.dictionaries(st.text(min_size=1, max_size=8), tensors, min_size=1, max_size=4))
def test_tensors_of_every_type_and_shape_survive_as_binary(given_tensors: dict[str, NDArray[Any]]) -> None:
    got = there_and_back(given_tensors, [True] * len(given_tensors)).inputs

    assert list(got) == list(given_tensors)
    for name, tensor in given_tensors.items():
        np.testing.assert_array_equal(got[name], tensor, strict=True)


@given(json_tensors, tensors)
def test_tensors_of_every_type_and_shape_survive_as_json_beside_binary_ones(
    tensor: NDArray[Any], other: NDArray[Any]
) -> None:
    got = there_and_back({"x": tensor, "other": other}, [False, True]).inputs

    np.testing.assert_array_equal(got["x"], tensor, strict=True)
    np.testing.assert_array_equal(got["other"], other, strict=True)


@given(json_tensors.filter(lambda tensor: tensor.ndim > 0))
def test_nested_json_means_the_same_as_flat_json(tensor: NDArray[Any]) -> None:
    fields = {"name": "x", "shape": list(tensor.shape), "datatype": OPEN_INFERENCE_DTYPES[tensor.dtype.name]}

    body = orjson.dumps({"inputs": [{**fields, "data": tensor.tolist()}]})

    np.testing.assert_array_equal(decode_request(body, None, LIMITS).inputs["x"], tensor, strict=True)


def decode_or_refuse(body: bytes, header_length: int | None) -> None:
    """Decode; any error but a refusal fails the test, and so does a tensor without elements or a type."""
    try:
        arrays_or_text: list[NDArray[Any]] | str = list(decode_request(body, header_length, LIMITS).inputs.values())
    except Refused as refusal:
        arrays_or_text = str(refusal)
    if isinstance(arrays_or_text, str):
        assert 0 < len(arrays_or_text) < 2000
    else:
        assert all(array.size >= 1 and array.dtype.name in OPEN_INFERENCE_DTYPES for array in arrays_or_text)


@settings(max_examples=300, derandomize=True)
@given(st.binary(max_size=200), st.none() | st.integers(-2, 2**65) | st.integers(0, 200))
def test_arbitrary_bytes_are_only_ever_refused(body: bytes, header_length: int | None) -> None:
    decode_or_refuse(body, header_length)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(["name", "shape", "datatype", "data", "parameters", "id", "inputs", "outputs"])
odd_inputs = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=3) | json_values,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | json_values,
        "datatype": st.sampled_from([*OPEN_INFERENCE_DTYPES.values(), "BYTES"]) | json_values,
        "data": st.lists(st.integers(-1, 300), max_size=6) | json_values,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 16)}) | json_values,
    },
)


@settings(max_examples=400, derandomize=True)
@given(
    st.fixed_dictionaries(
        {"inputs": st.lists(odd_inputs, max_size=3) | json_values},
        optional={"outputs": json_values, "id": json_values, "parameters": json_values},
    ),
    st.binary(max_size=24),
    st.booleans(),
)
def test_requests_with_odd_fields_are_decoded_or_refused(request: Any, tail: bytes, has_header: bool) -> None:
    head = orjson.dumps(request)

    decode_or_refuse(head + tail, len(head) if has_header else None)


VALID_HEAD = orjson.dumps(
    {
        "id": "1",
        "parameters": {"binary_data_output": True},
        "inputs": [
            {"name": "a", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}},
            {"name": "b", "shape": [2, 2], "datatype": "UINT8", "data": [[1, 2], [3, 4]]},
            {"name": "c", "shape": [3], "datatype": "BOOL", "parameters": {"binary_data_size": 3}},
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}],
    }
)
VALID = VALID_HEAD + bytes(24) + b"\1\0\1"
TOKENS = [
    b"",
    b"-",
    b"9",
    b"999999999999",
    b"null",
    b"true",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b"1e9",
    b"\x00",
    b"\xff",
]
edits = st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 12), st.sampled_from(TOKENS)), max_size=4)


@settings(max_examples=1000, derandomize=True)
@given(edits, st.integers(-3, 3))
def test_mutated_valid_requests_are_decoded_or_refused(changes: list[tuple[int, int, bytes]], shift: int) -> None:
    body = VALID
    for start, length, token in changes:
        body = body[:start] + token + body[start + length :]

    decode_or_refuse(body, len(VALID_HEAD) + shift)


def test_the_request_that_is_mutated_is_valid() -> None:
    got = decode_request(VALID, len(VALID_HEAD), LIMITS)

    assert {name: array.shape for name, array in got.inputs.items()} == {"a": (2, 3), "b": (2, 2), "c": (3,)}
