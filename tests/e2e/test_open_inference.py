"""The Open Inference Protocol v2 over REST, with the client library that people use for it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
import tritonclient.http as triton

from support.servers import RunningServer

DETECTOR = "PP-OCRv6_small_det"
RECOGNISER = "PP-OCRv6_small_rec"


@pytest.fixture
def client(server: RunningServer) -> Iterator[triton.InferenceServerClient]:
    connection = triton.InferenceServerClient(urlsplit(server.url).netloc)
    yield connection
    connection.close()


def infer(
    client: triton.InferenceServerClient, model: str, array: np.ndarray, *, binary_in: bool, binary_out: bool
) -> np.ndarray:
    tensor = triton.InferInput("x", list(array.shape), "FP32")
    tensor.set_data_from_numpy(array, binary_data=binary_in)
    wanted = triton.InferRequestedOutput("fetch_name_0", binary_data=binary_out)
    found: np.ndarray | None = client.infer(model, [tensor], outputs=[wanted]).as_numpy("fetch_name_0")
    assert found is not None
    return found


def test_liveness_and_readiness_are_true_when_a_real_inference_has_passed(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(DETECTOR)
    assert client.is_model_ready(DETECTOR, "1")


def test_server_metadata_names_the_binary_extension(client: triton.InferenceServerClient) -> None:
    metadata = client.get_server_metadata()

    assert metadata["name"] == "hpi"
    assert metadata["extensions"] == ["binary_tensor_data"]


def test_model_metadata_declares_the_tensors(client: triton.InferenceServerClient) -> None:
    metadata = client.get_model_metadata(RECOGNISER)

    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3, 48, -1]}]
    assert metadata["outputs"] == [{"name": "fetch_name_0", "datatype": "FP32", "shape": [-1, -1, 18710]}]
    assert metadata["versions"] == ["1"]


@pytest.mark.parametrize("binary_out", [True, False], ids=["raw out", "JSON out"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["raw in", "JSON in"])
def test_both_encodings_give_the_same_answer(
    client: triton.InferenceServerClient, binary_in: bool, binary_out: bool
) -> None:
    picture = np.random.default_rng(7).random((1, 3, 64, 96), dtype=np.float32)

    expected = infer(client, DETECTOR, picture, binary_in=True, binary_out=True)
    found = infer(client, DETECTOR, picture, binary_in=binary_in, binary_out=binary_out)

    assert found.shape == (1, 1, 64, 96)
    # JSON carries the shortest decimal of a float32, which reads back to the same float32.
    np.testing.assert_array_equal(found, expected)


def test_answers_belong_to_their_own_request(client: triton.InferenceServerClient) -> None:
    random = np.random.default_rng(8)
    pictures = [random.random((1, 3, 48, width), dtype=np.float32) for width in (64, 128, 320)]

    once = [infer(client, RECOGNISER, picture, binary_in=True, binary_out=True) for picture in pictures]
    again = [infer(client, RECOGNISER, picture, binary_in=True, binary_out=True) for picture in reversed(pictures)]

    for first, second in zip(once, reversed(again), strict=True):
        np.testing.assert_allclose(first, second, rtol=0, atol=1e-6)
