"""PaddleX's request format as a codec."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.serve.paddle_protocol import (
    OPTIONS,
    MalformedRequest,
    OcrBody,
    decode_json,
    decode_raw,
    encode_error,
    error_message,
)
from hpi_core.errors import Refused


def body(**fields: Any) -> bytes:
    return orjson.dumps({"file": base64.b64encode(b"bytes").decode(), "fileType": 1, **fields})


def test_a_request_becomes_the_arguments_of_paddlex_pipeline() -> None:
    request = decode_json(body(logId="a", textDetThresh=0.25, useDocUnwarping=False), visualize=True)

    assert request.file == b"bytes"
    assert request.header["fileType"] == "IMAGE"
    assert request.header["logId"] == "a"
    assert request.header["visualize"] is True
    assert request.header["options"]["text_det_thresh"] == 0.25
    assert request.header["options"]["use_doc_unwarping"] is False
    assert request.header["options"]["text_rec_score_thresh"] is None


def test_every_field_but_four_is_an_argument_of_the_pipeline() -> None:
    assert set(OcrBody.model_fields) - set(OPTIONS) == {"file", "fileType", "visualize", "logId"}


@pytest.mark.parametrize(("said", "default", "drawn"), [(None, True, True), (None, False, False), (False, True, False)])
def test_pictures_follow_the_request_then_the_pipeline(said: bool | None, default: bool, drawn: bool) -> None:
    assert decode_json(body(visualize=said), default).header["visualize"] is drawn


def test_a_missing_log_id_is_made_up_and_differs_each_time() -> None:
    first, second = (decode_json(body(), visualize=False).header["logId"] for _ in range(2))

    assert first != second


@pytest.mark.parametrize("text", ["YnlOZXM=\n", "Ynl0\nZXM=", " Ynl0ZXM= "], ids=["end", "middle", "blanks"])
def test_white_space_inside_base64_is_read_over_as_paddlex_does(text: str) -> None:
    assert len(decode_json(body(file=text), visualize=False).file) == 5


@given(st.binary(max_size=300))
def test_any_file_survives_base64(file: bytes) -> None:
    request = decode_json(body(file=base64.b64encode(file).decode()), visualize=False)

    assert request.file == file


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_refusal(junk: bytes) -> None:
    with pytest.raises(Refused):
        decode_json(junk, visualize=False)


def test_several_problems_are_listed_in_paddlex_form() -> None:
    with pytest.raises(MalformedRequest) as caught:
        decode_json(orjson.dumps({"fileTyp": 1, "textDetThresh": -0.1, "file": 5}), visualize=False)

    problems = orjson.loads(error_message(caught.value))
    assert {problem["loc"] for problem in problems} == {"body.fileTyp", "body.textDetThresh", "body.file"}
    assert all(set(problem) == {"type", "loc", "msg"} for problem in problems)
    assert "did you mean 'fileType'" in str(caught.value)


BOUNDS = {
    "textDetThresh": (0, 1, -0.001, 1.001),
    "textDetBoxThresh": (0, 1, -0.001, 1.001),
    "textRecScoreThresh": (0, 1, -0.001, 1.001),
    "textDetUnclipRatio": (0, 100, -0.001, 100.001),
    "textDetLimitSideLen": (1, 100_000, 0, 100_001),
}


@pytest.mark.parametrize(("field", "bounds"), BOUNDS.items(), ids=BOUNDS.keys())
def test_numbers_are_taken_up_to_their_bounds_and_no_further(field: str, bounds: tuple[float, ...]) -> None:
    lowest, highest, below, above = bounds

    for allowed in (lowest, highest):
        decode_json(body(**{field: allowed}), visualize=False)
    for refused in (below, above):
        with pytest.raises(MalformedRequest, match=field):
            decode_json(body(**{field: refused}), visualize=False)


@pytest.mark.parametrize(
    ("media_type", "content", "expected"),
    [
        ("image/png", b"\x89PNG", "IMAGE"),
        ("application/pdf", b"%PDF-1.7", "PDF"),
        ("application/octet-stream", b"%PDF-1.7", "PDF"),
        ("application/octet-stream", b"\x89PNG", "IMAGE"),
    ],
)
def test_a_raw_body_is_what_its_media_type_or_its_bytes_say(media_type: str, content: bytes, expected: str) -> None:
    assert decode_raw(content, media_type, {}, visualize=False).header["fileType"] == expected


def test_query_parameters_of_a_raw_body_are_read_like_fields() -> None:
    request = decode_raw(
        b"x", "image/png", {"visualize": "false", "textDetThresh": "0.4", "logId": "q"}, visualize=True
    )

    assert request.header["visualize"] is False
    assert request.header["options"]["text_det_thresh"] == 0.4
    assert request.header["logId"] == "q"


def test_an_unknown_query_parameter_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="did you mean 'visualize'"):
        decode_raw(b"x", "image/png", {"visualise": "1"}, visualize=True)


def test_an_error_has_paddlex_three_keys() -> None:
    assert orjson.loads(encode_error("id", 422, "why")) == {"logId": "id", "errorCode": 422, "errorMsg": "why"}
