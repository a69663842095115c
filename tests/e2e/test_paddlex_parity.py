"""Our `POST /ocr` and `GET /health` against PaddleX's own server, on the same runtime and as many threads."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from hpi_agent.building.model_directories import assemble_models
from hpi_agent.pipelines.effective import effective
from hpi_agent.serve.served import config_with
from hpi_agent.store.directory import Store
from hpi_core.api.manifest import read_pipeline
from support.images import png, text_page
from support.servers import RunningServer, on_backend, paddlex_serving, sample_manifest, serving


@pytest.fixture(scope="module")
def ours(store: Path) -> Iterator[RunningServer]:
    with serving(on_backend("onnxruntime"), store) as running:
        yield running


@pytest.fixture(scope="module")
def theirs(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    plan = effective(read_pipeline(json.dumps(sample_manifest()), "the sample"), lambda _: None)
    config = config_with(plan, assemble_models(plan, Store(store)))
    threads = len(os.sched_getaffinity(0))
    with paddlex_serving(config, tmp_path_factory.mktemp("paddlex"), threads) as url:
        yield url


def tiff(*pages: bytes) -> bytes:
    images = [Image.open(io.BytesIO(page)).convert("RGB") for page in pages]
    buffer = io.BytesIO()
    images[0].save(buffer, "TIFF", save_all=True, append_images=images[1:])
    return buffer.getvalue()


def pdf(*pages: bytes) -> bytes:
    images = [Image.open(io.BytesIO(page)).convert("RGB") for page in pages]
    buffer = io.BytesIO()
    images[0].save(buffer, "PDF", save_all=True, append_images=images[1:])
    return buffer.getvalue()


def jpeg(page: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(page)).convert("RGB").save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


TWO_LINES = text_page("Readable words 1234", "and a second line")

ACCEPTED: dict[str, tuple[bytes | None, dict[str, Any]]] = {
    "a real page, with its pictures": (None, {"fileType": 1}),
    "a real page, without pictures": (None, {"fileType": 1, "visualize": False}),
    "null means the default": (TWO_LINES, {"fileType": 1, "visualize": None, "returnWordBox": None}),
    "a JPEG": (jpeg(TWO_LINES), {"fileType": 1}),
    "a page without text": (png(200, 100), {"fileType": 1}),
    "1 x 1 pixel": (png(1, 1), {"fileType": 1, "visualize": False}),
    "a strip": (png(3000, 2), {"fileType": 1, "visualize": False}),
    "a large page, whose pictures are made smaller": (png(2500, 1200), {"fileType": 1}),
    "word boxes": (TWO_LINES, {"fileType": 1, "visualize": False, "returnWordBox": True}),
    "detector settings": (
        TWO_LINES,
        {
            "fileType": 1,
            "visualize": False,
            "textDetLimitSideLen": 960,
            "textDetLimitType": "max",
            "textDetThresh": 0.3,
            "textDetBoxThresh": 0.6,
            "textDetUnclipRatio": 1.6,
        },
    ),
    "a score that nothing reaches": (TWO_LINES, {"fileType": 1, "visualize": False, "textRecScoreThresh": 1.0}),
    "numbers as text, as PaddleX takes them": (
        TWO_LINES,
        {"fileType": 1, "visualize": "false", "textDetThresh": "0.3"},
    ),
    "a TIFF of two pages": (tiff(TWO_LINES, png(90, 60)), {"fileType": 1, "visualize": False}),
    "a TIFF of one page": (tiff(TWO_LINES), {"fileType": 1, "visualize": False}),
    "a PDF of two pages": (pdf(TWO_LINES, png(90, 60)), {"fileType": 0, "visualize": False}),
}


@pytest.mark.parametrize(("file", "fields"), ACCEPTED.values(), ids=ACCEPTED.keys())
def test_an_accepted_request_gets_paddlex_own_answer(
    ours: RunningServer, theirs: str, page: bytes, file: bytes | None, fields: dict[str, Any]
) -> None:
    body = {"file": base64.b64encode(file or page).decode(), "logId": "same-on-both", **fields}

    expected = httpx2.post(f"{theirs}/ocr", json=body, timeout=120)
    found = httpx2.post(f"{ours.url}/ocr", json=body, timeout=120)

    assert expected.status_code == 200, expected.text
    assert found.status_code == 200, found.text
    assert found.headers["content-type"] == expected.headers["content-type"]
    assert found.json() == expected.json()
    assert found.content == expected.content


def test_a_raw_image_gets_the_answer_of_its_base64(ours: RunningServer, page: bytes) -> None:
    body = {"file": base64.b64encode(page).decode(), "fileType": 1, "logId": "a", "visualize": False}

    expected = httpx2.post(f"{ours.url}/ocr", json=body, timeout=120)
    found = httpx2.post(
        f"{ours.url}/ocr?logId=a&visualize=false", content=page, headers={"Content-Type": "image/png"}, timeout=120
    )

    assert found.json() == expected.json()


def test_health_differs_in_the_log_id_alone(ours: RunningServer, theirs: str) -> None:
    expected = httpx2.get(f"{theirs}/health").json()
    found = httpx2.get(f"{ours.url}/health").json()

    assert list(found) == list(expected)
    assert {**found, "logId": ""} == {**expected, "logId": ""}


REFUSED_BY_BOTH = {
    "no file": {"fileType": 1},
    "an unknown file type": {"file": "", "fileType": 3},
    "nobody says what it is": {"file": base64.b64encode(TWO_LINES).decode()},
    "not an image": {"file": base64.b64encode(b"no image").decode(), "fileType": 1},
}


@pytest.mark.parametrize("body", REFUSED_BY_BOTH.values(), ids=REFUSED_BY_BOTH.keys())
def test_what_both_refuse_has_the_same_status_and_form(ours: RunningServer, theirs: str, body: dict[str, Any]) -> None:
    expected = httpx2.post(f"{theirs}/ocr", json={"logId": "b", **body}, timeout=120)
    found = httpx2.post(f"{ours.url}/ocr", json={"logId": "b", **body}, timeout=120)

    assert found.status_code == expected.status_code == 422
    assert list(found.json()) == list(expected.json())
    assert found.json()["logId"] == expected.json()["logId"] == "b"
