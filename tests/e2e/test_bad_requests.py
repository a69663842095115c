"""What the server says to requests that it cannot or will not answer, and that it answers the next one."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from typing import Any

import numpy as np
import pytest

from support.images import png, png_bomb, text_page
from support.servers import RunningServer


def ocr(server: RunningServer, **fields: Any) -> Any:
    with server.client() as client:
        return client.post("/ocr", json={"visualize": False, "logId": "t", **fields})


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def read_text(server: RunningServer) -> list[str]:
    answer = ocr(server, file=as_base64(text_page("still here")), fileType=1)
    assert answer.status_code == 200, answer.text
    texts: list[str] = answer.json()["result"]["ocrResults"][0]["prunedResult"]["rec_texts"]
    return texts


REFUSED = {
    "an image of 0 bytes": ({"file": "", "fileType": 1}, 422, "0 bytes"),
    "not an image": ({"file": as_base64(b"plain words, no picture"), "fileType": 1}, 422, "not an image"),
    "a PDF that is none": ({"file": as_base64(b"plain words"), "fileType": 0}, 422, "PDF"),
    "a cut-off image": ({"file": as_base64(png(300, 300)[:60]), "fileType": 1}, 422, ""),
    "Base64 that is none": ({"file": "§§§ no base64 §§§", "fileType": 1}, 422, "not Base64"),
    "a URL": ({"file": "http://127.0.0.1:1/page.png", "fileType": 1}, 422, "URLs are not fetched"),
    "nobody says what it is": ({"file": as_base64(png(8, 8))}, 422, "File type cannot be determined"),
    "an unknown file type": ({"file": as_base64(png(8, 8)), "fileType": 7}, 422, "fileType"),
    "no file": ({"fileType": 1}, 422, "file"),
    "an unknown field": ({"file": "", "fileType": 1, "visualise": False}, 422, "did you mean 'visualize'"),
    "a threshold out of bounds": ({"file": "", "fileType": 1, "textDetThresh": 2}, 422, "textDetThresh"),
    "a wrong limit type": ({"file": "", "fileType": 1, "textDetLimitType": "mean"}, 422, "textDetLimitType"),
    "a log id that is a path": ({"file": "", "fileType": 1, "logId": "../../etc"}, 422, "logId"),
    "a model that is not loaded": (
        {"file": as_base64(png(64, 64)), "fileType": 1, "useTextlineOrientation": True},
        422,
        "useTextlineOrientation",
    ),
}


@pytest.mark.parametrize(("fields", "status", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_ocr_request_is_refused_in_paddlex_words(
    server: RunningServer, fields: dict[str, Any], status: int, says: str
) -> None:
    answer = ocr(server, **fields)

    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"logId", "errorCode", "errorMsg"}
    assert answer.json()["errorCode"] == status
    assert says in answer.json()["errorMsg"]


def test_a_png_bomb_is_refused_before_it_is_decoded(server: RunningServer) -> None:
    answer = ocr(server, file=as_base64(png_bomb(30_000)), fileType=1)

    assert answer.status_code == 413, answer.text
    assert "900000000" in answer.json()["errorMsg"].replace(",", "").replace(" ", "") or "30000" in answer.text
    assert read_text(server) == ["still here"]


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 1), (1, 2), (65_000, 1), (1, 65_000)], ids=lambda size: f"{size[0]}x{size[1]}"
)
def test_a_degenerate_but_legal_image_is_answered(server: RunningServer, size: tuple[int, int]) -> None:
    answer = ocr(server, file=as_base64(png(*size)), fileType=1, visualize=True)

    assert answer.status_code == 200, answer.text
    assert answer.json()["result"]["dataInfo"] == {"width": size[0], "height": size[1], "type": "image"}


@pytest.mark.parametrize("path", ["/ocr", "/v2/models/PP-OCRv6_small_det/infer"])
@pytest.mark.parametrize("opening", ["[", '{"a":'], ids=["lists", "objects"])
def test_json_nested_10000_deep_is_refused(server: RunningServer, path: str, opening: str) -> None:
    with server.client() as client:
        answer = client.post(path, content=opening * 10_000, headers={"Content-Type": "application/json"})

    assert answer.status_code in (400, 422), answer.text
    assert read_text(server) == ["still here"]


def test_a_body_that_announces_more_than_the_limit_is_refused_unread(server: RunningServer) -> None:
    with socket.create_connection(server.address, 60) as connection:
        head = "POST /ocr HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 33554433\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.makefile("rb").readline()

    assert b" 413 " in answer


def test_a_body_that_grows_over_the_limit_is_refused(server: RunningServer) -> None:
    def pieces() -> Any:
        for _ in range(33):
            yield b" " * 2**20

    with server.client() as client:
        answer = client.post("/ocr", content=pieces(), headers={"Content-Type": "application/json"})

    assert answer.status_code == 413, answer.text
    assert "bodyBytes" in answer.json()["errorMsg"]


def test_headers_without_end_are_refused(server: RunningServer) -> None:
    with socket.create_connection(server.address, 60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: t\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(40):
                connection.sendall(b"X-Filler-%d: " % number + b"x" * 4_000 + b"\r\n")
        answer = connection.makefile("rb").readline()

    assert b" 400 " in answer
    assert read_text(server) == ["still here"]


def test_a_body_in_chunks_of_one_byte_is_read(server: RunningServer, page: bytes) -> None:
    def pieces() -> Any:
        for index in range(len(page)):
            yield page[index : index + 1]

    with server.client() as client:
        headers = {"Content-Type": "image/png"}
        answer = client.post("/ocr?visualize=false", content=pieces(), headers=headers)

    assert answer.status_code == 200, answer.text


def test_an_unknown_content_type_is_refused_with_what_is_read(server: RunningServer) -> None:
    with server.client() as client:
        answer = client.post("/ocr", content=b"a=b", headers={"Content-Type": "text/html"})

    assert answer.status_code == 422
    assert "application/json" in answer.json()["errorMsg"]


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": [0.5] * 3072, **changes}


BAD_TENSORS = {
    "a wrong dtype": (tensor(datatype="INT64", data=[1] * 3072), "float32"),
    "a wrong rank": (tensor(shape=[3, 32, 32]), "shape"),
    "a wrong fixed dimension": (tensor(shape=[1, 4, 32, 32], data=[0.5] * 4096), "shape"),
    "a dimension of zero": (tensor(shape=[1, 3, 0, 32], data=[]), "shape"),
    "a wrong name": (tensor(name="y"), "'x'"),
    "too few elements": (tensor(data=[0.5]), "shape"),
    "text as elements": (tensor(data=["a"] * 3072), "data"),
}


@pytest.mark.parametrize(("bad", "says"), BAD_TENSORS.values(), ids=BAD_TENSORS.keys())
def test_a_bad_tensor_is_refused_in_the_protocols_words(server: RunningServer, bad: dict[str, Any], says: str) -> None:
    with server.client() as client:
        answer = client.post("/v2/models/PP-OCRv6_small_det/infer", json={"inputs": [bad]})

    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"error"}
    assert says in answer.json()["error"]


def test_an_unknown_model_is_not_found_and_the_known_ones_are_named(server: RunningServer) -> None:
    with server.client() as client:
        answers = [
            client.post("/v2/models/nobody/infer", json={"inputs": []}),
            client.get("/v2/models/nobody"),
            client.get("/v2/models/nobody/ready"),
            client.get("/v2/models/PP-OCRv6_small_det/versions/2"),
        ]

    assert [answer.status_code for answer in answers] == [404] * 4
    assert "PP-OCRv6_small_det" in answers[0].json()["error"]


def test_an_input_on_which_the_graph_fails_is_an_error_and_the_next_one_works(server: RunningServer) -> None:
    odd = np.full((1, 3, 33, 47), 0.5, np.float32)
    with server.client() as client:
        answer = client.post(
            "/v2/models/PP-OCRv6_small_det/infer",
            json={"inputs": [tensor(shape=list(odd.shape), data=odd.ravel().tolist())]},
        )

    assert answer.status_code in (200, 400, 500), answer.text
    assert json.loads(answer.text)
    assert read_text(server) == ["still here"]
