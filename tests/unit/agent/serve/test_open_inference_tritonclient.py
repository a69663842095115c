"""The published client library and our codec understand each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray

from hpi_agent.serve.open_inference import InferRequest, Limits, RequestedOutput, decode_request, encode_response
from hpi_core.errors import Refused
from hpi_core.formats import OPEN_INFERENCE_DTYPES

DTYPES = list(OPEN_INFERENCE_DTYPES.items())


def an_input(name: str, array: NDArray[Any], binary: bool) -> triton.InferInput:
    """Return the client's input for an array."""
    made = triton.InferInput(name, list(array.shape), OPEN_INFERENCE_DTYPES[array.dtype.name])
    return made.set_data_from_numpy(array, binary_data=binary)


def sent(*inputs: triton.InferInput, **options: Any) -> InferRequest:
    """Decode what the client would send."""
    body, header_length = triton.InferenceServerClient.generate_request_body(list(inputs), **options)
    return decode_request(body, header_length, Limits())


def received(buffers: tuple[bytes | memoryview, ...], headers: dict[str, str]) -> triton.InferResult:
    """Let the client read a response, told of its lengths by the headers alone."""
    body = b"".join(buffers)
    assert headers["Content-Length"] == str(len(body))
    length = headers.get("Inference-Header-Content-Length")
    return triton.InferenceServerClient.parse_response_body(body, header_length=length and int(length))


@pytest.mark.parametrize(("dtype", "word"), DTYPES, ids=[word for _, word in DTYPES])
def test_a_binary_input_of_the_client_is_read(dtype: str, word: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)

    got = sent(an_input("x", array, binary=True)).inputs["x"]

    np.testing.assert_array_equal(got, array, strict=True)


@pytest.mark.parametrize("dtype", [dtype for dtype, _ in DTYPES if dtype != "float16"])
def test_a_json_input_of_the_client_is_read(dtype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]]).astype(dtype)

    got = sent(an_input("x", array, binary=False)).inputs["x"]

    np.testing.assert_array_equal(got, array, strict=True)


def test_binary_and_json_inputs_of_the_client_mix() -> None:
    first, second = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(4, dtype=np.uint8)

    got = sent(an_input("a", first, True), an_input("b", second, False), an_input("c", first + 1, True)).inputs

    assert [array.tolist() for array in got.values()] == [first.tolist(), second.tolist(), (first + 1).tolist()]


def test_the_client_s_wishes_for_outputs_and_its_id_are_read() -> None:
    x = an_input("x", np.zeros(1, np.float32), True)
    outputs = [triton.InferRequestedOutput("y", binary_data=True), triton.InferRequestedOutput("z", binary_data=False)]

    got = sent(x, outputs=outputs, request_id="77", priority=2, timeout=1000)

    assert (got.id, got.outputs) == ("77", (RequestedOutput("y", True), RequestedOutput("z", False)))
    assert got.ignored == ("parameters.priority", "parameters.timeout")


def test_a_client_that_asks_for_nothing_gets_every_output_as_binary() -> None:
    got = sent(an_input("x", np.zeros(1, np.float32), True))

    assert got.choose_outputs(["y"]) == (RequestedOutput("y", True),)


def test_the_client_s_shared_memory_is_refused_by_name() -> None:
    x = triton.InferInput("x", [1], "FP32").set_shared_memory("region", 4)

    with pytest.raises(Refused, match=r"inputs\[0\]\.parameters\.shared_memory_region: shared memory is not supported"):
        sent(x)


def test_the_client_s_classification_is_refused_by_name() -> None:
    x = an_input("x", np.zeros(1, np.float32), True)

    with pytest.raises(Refused, match="classification is not supported"):
        sent(x, outputs=[triton.InferRequestedOutput("y", class_count=3)])


def test_the_client_s_strings_are_refused_by_name() -> None:
    x = triton.InferInput("x", [1], "BYTES").set_data_from_numpy(np.array([b"a"], np.object_))

    with pytest.raises(Refused, match="BYTES is not supported"):
        sent(x)


@pytest.mark.parametrize(("dtype", "word"), DTYPES, ids=[word for _, word in DTYPES])
def test_the_client_reads_our_binary_outputs(dtype: str, word: str) -> None:
    outputs = {"y": np.array([[0, 1, 1]]).astype(dtype), "z": np.arange(5, dtype=np.int64)}

    headers, buffers = encode_response("m", None, "1", outputs, [RequestedOutput(name, True) for name in outputs])

    result = received(buffers, headers)
    for name, array in outputs.items():
        np.testing.assert_array_equal(result.as_numpy(name), array, strict=True)


@pytest.mark.parametrize("dtype", [dtype for dtype, _ in DTYPES if dtype != "float16"])
def test_the_client_reads_our_json_outputs(dtype: str) -> None:
    outputs = {"y": np.array([[0, 1, 1]]).astype(dtype)}

    headers, buffers = encode_response("m", "2", "1", outputs, [RequestedOutput("y", False)])

    result = received(buffers, headers)
    np.testing.assert_array_equal(result.as_numpy("y"), outputs["y"], strict=True)
    assert (result.get_response()["id"], result.get_response()["model_version"]) == ("1", "2")


def test_the_client_reads_a_response_that_mixes_json_and_binary() -> None:
    outputs: dict[str, NDArray[Any]] = {
        "a": np.arange(3, dtype=np.float32),
        "b": np.arange(4, dtype=np.uint8),
        "c": np.zeros((0, 6), np.float32),
    }

    headers, buffers = encode_response(
        "m", None, None, outputs, [RequestedOutput("a", True), RequestedOutput("b", False), RequestedOutput("c", True)]
    )

    result = received(buffers, headers)
    assert [result.as_numpy(name).shape for name in outputs] == [(3,), (4,), (0, 6)]
    assert result.as_numpy("b").tolist() == [0, 1, 2, 3]
