"""PaddleX's `POST /ocr` as a pure codec: body in, checked request out; errors in PaddleX's words.

Accepted requests mean exactly what they mean to PaddleX 3.7.2. Refusals differ on purpose; the README lists them.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import orjson
import pybase64
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hpi_agent.pipelines.image_probe import looks_like_pdf
from hpi_core.errors import HpiError, Refused
from hpi_core.spelling import did_you_mean

LOG_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"
"""PaddleX takes any string as log id and joins it to a path; this is what identifiers look like."""

OPTIONS: Final[dict[str, str]] = {
    "useDocOrientationClassify": "use_doc_orientation_classify",
    "useDocUnwarping": "use_doc_unwarping",
    "useTextlineOrientation": "use_textline_orientation",
    "textDetLimitSideLen": "text_det_limit_side_len",
    "textDetLimitType": "text_det_limit_type",
    "textDetThresh": "text_det_thresh",
    "textDetBoxThresh": "text_det_box_thresh",
    "textDetUnclipRatio": "text_det_unclip_ratio",
    "textRecScoreThresh": "text_rec_score_thresh",
    "returnWordBox": "return_word_box",
}
"""Fields of a request and the arguments of PaddleX's pipeline that they become."""


class MalformedRequest(Refused):
    """A request that the schema refuses.

    Attributes:
        problems: PaddleX's list of `{type, loc, msg}`.
    """

    def __init__(self, problems: list[dict[str, str]]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{problem['loc']}: {problem['msg']}" for problem in problems))


class OcrOptions(BaseModel):
    """What a request may say beside the file; types are read as leniently as PaddleX reads them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fileType: Literal[0, 1] | None = None
    useDocOrientationClassify: bool | None = None
    useDocUnwarping: bool | None = None
    useTextlineOrientation: bool | None = None
    textDetLimitSideLen: Annotated[int, Field(ge=1, le=100_000)] | None = None
    textDetLimitType: Literal["min", "max", "resize_long"] | None = None
    textDetThresh: Annotated[float, Field(ge=0, le=1)] | None = None
    textDetBoxThresh: Annotated[float, Field(ge=0, le=1)] | None = None
    textDetUnclipRatio: Annotated[float, Field(ge=0, le=100)] | None = None
    textRecScoreThresh: Annotated[float, Field(ge=0, le=1)] | None = None
    returnWordBox: bool | None = None
    visualize: bool | None = None
    logId: Annotated[str, Field(pattern=LOG_ID)] | None = None


class OcrBody(OcrOptions):
    """The JSON body of `POST /ocr`."""

    file: str


@dataclass(frozen=True)
class OcrRequest:
    """A checked request, as the worker takes it."""

    file: bytes
    header: dict[str, Any]


def decode_json(body: bytes, visualize: bool) -> OcrRequest:
    """Return the request that a JSON body holds.

    Args:
        body: The whole body.
        visualize: Whether pictures are drawn when the request does not say.

    Raises:
        MalformedRequest: The body is not JSON, or the schema refuses it.
        Refused: The file is a URL, is not Base64, or nobody says what it is.
    """
    try:
        # The parser refuses nesting beyond 1,024 levels by itself, before it could exhaust the stack.
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest(
            [{"type": "json_invalid", "loc": "body", "msg": f"JSON decode error: {error}"}]
        ) from None
    fields = _validate(OcrBody, document)
    if fields.fileType is None:
        raise Refused("File type cannot be determined")
    return _request(_decode_file(fields.file), fields, visualize)


def decode_raw(body: bytes, media_type: str, query: dict[str, str], visualize: bool) -> OcrRequest:
    """Return the request of a raw image or PDF as body, with the options as query parameters.

    Raises:
        MalformedRequest: The schema refuses a parameter.
    """
    fields = _validate(OcrOptions, dict(query))
    if fields.fileType is None:
        is_pdf = media_type == "application/pdf" or (media_type == "application/octet-stream" and looks_like_pdf(body))
        fields = fields.model_copy(update={"fileType": 0 if is_pdf else 1})
    return _request(body, fields, visualize)


def _validate(model: type[Any], document: Any) -> Any:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise MalformedRequest([_problem(item) for item in error.errors(include_url=False)]) from None


def _problem(item: Any) -> dict[str, str]:
    message = str(item["msg"])
    if item["type"] == "extra_forbidden":
        message += did_you_mean(str(item["loc"][-1]), list(OcrBody.model_fields))
    location = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"])
    return {"type": str(item["type"]), "loc": f"body{location}", "msg": message}


def _decode_file(text: str) -> bytes:
    if text.startswith(("http://", "https://")):
        raise Refused("URLs are not fetched by this server; send the file itself as Base64")
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        pass
    try:
        # PaddleX's decoder drops line feeds and blanks; other foreign characters mean that it is no Base64 at all.
        return pybase64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise Refused(f"file is not Base64: {error}") from None


def _request(file: bytes, fields: OcrOptions, visualize: bool) -> OcrRequest:
    values = fields.model_dump()
    header = {
        "kind": "ocr",
        "fileType": "PDF" if fields.fileType == 0 else "IMAGE",
        "visualize": visualize if fields.visualize is None else fields.visualize,
        "logId": fields.logId or new_log_id(),
        "options": {argument: values[name] for name, argument in OPTIONS.items()},
    }
    return OcrRequest(file, header)


def new_log_id() -> str:
    """Return a fresh log id."""
    return str(uuid.uuid4())


def find_log_id(body: bytes) -> str | None:
    """Return the log id of a body that was refused, or None: PaddleX repeats it in its answer."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = document.get("logId") if isinstance(document, dict) else None
    return found if isinstance(found, str) and re.fullmatch(LOG_ID, found) else None


def encode_error(log_id: str, status: int, message: str) -> bytes:
    """Return PaddleX's body of an answer with an error status."""
    return orjson.dumps({"logId": log_id, "errorCode": status, "errorMsg": message})


def error_message(error: HpiError) -> str:
    """Return `errorMsg` of an error: PaddleX words a refusal of the schema as a JSON list inside the string."""
    if isinstance(error, MalformedRequest):
        return orjson.dumps(error.problems).decode()
    return str(error)
