"""The task OCR: a file and its options in, PaddleX's answer out, byte for byte as its own server words it."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hpi_agent.pipelines import paddlex
from hpi_agent.pipelines.image_probe import ImageLimits, probe
from hpi_core.api.v1alpha1.pipeline import Limits
from hpi_core.errors import Refused, TooLarge

MAX_PICTURE_SIDES: Final = (2000, 2000)
"""Largest result picture, as PaddleX's `max_output_img_size` by default. Unit: pixels."""

PRUNED: Final = frozenset({"input_path", "page_index"})

FileType = Literal["PDF", "IMAGE"]


@dataclass
class Timings:
    """Seconds spent in the stages of one request, in order."""

    stages: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """Book the time since the last lap under a stage."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._last
        self._last = now


@dataclass(frozen=True)
class OcrTask:
    """PaddleX's OCR pipeline with the bounds of one server."""

    pipeline: Any
    limits: Limits

    def answer(
        self, file: memoryview, file_type: FileType, options: Mapping[str, Any], visualize: bool, timings: Timings
    ) -> dict[str, Any]:
        """Return `result` of PaddleX's answer: one entry per page, and what was read.

        Args:
            file: The encoded image or PDF.
            file_type: What it is, as the client says.
            options: Keyword arguments of the pipeline's `predict`; None stands for the pipeline's own value.
            visualize: Whether result pictures are drawn.
            timings: Receives the seconds of each stage.

        Raises:
            Refused: The file is not what it says, is too large, or an option needs a model that is not loaded.
        """
        images, data_info = read_pages(file, file_type, self.limits)
        timings.lap("decode")
        results = self._predict(images, options)
        timings.lap("predict")
        pages = [self._page(image, result, visualize) for image, result in zip(images, results, strict=True)]
        timings.lap("picture" if visualize else "format")
        return {"ocrResults": pages, "dataInfo": data_info}

    def _predict(self, images: list[NDArray[np.uint8]], options: Mapping[str, Any]) -> list[Any]:
        results = []
        for item in self.pipeline.predict(images, **options):
            if isinstance(item, dict) and item.keys() == {"error"}:
                raise Refused(
                    "useDocOrientationClassify, useDocUnwarping or useTextlineOrientation asks for a model that this "
                    "pipeline was built without"
                )
            results.append(item)
        return results

    def _page(self, image: NDArray[np.uint8], result: Any, visualize: bool) -> dict[str, Any]:
        page: dict[str, Any] = {"prunedResult": prune(result.json["res"])}
        if visualize:
            drawn = result.img
            page["ocrImage"] = encode_picture(drawn["ocr_res_img"])
            if "preprocessed_img" in drawn:
                page["docPreprocessingImage"] = encode_picture(drawn["preprocessed_img"])
            page["inputImage"] = encode_picture(image)
        return page


def prune(value: Any) -> Any:
    """Return a result without the keys that only make sense where the file lies on disk."""
    if isinstance(value, dict):
        return {key: prune(inner) for key, inner in value.items() if key not in PRUNED}
    if isinstance(value, list):
        return [prune(inner) for inner in value]
    return value


def read_pages(file: memoryview, file_type: FileType, limits: Limits) -> tuple[list[NDArray[np.uint8]], dict[str, Any]]:
    """Return the pages of a file as BGR images of shape (height, width, 3), and PaddleX's `dataInfo`.

    Raises:
        Refused: The bytes are not an image or PDF that can be read.
        TooLarge: A page has too many pixels, or there are too many pages.
    """
    if file_type == "PDF":
        return paddlex.read_pdf(bytes(file), limits.pages)
    facts = probe(bytes(file), ImageLimits(limits.image_pixels, limits.image_side_pixels))
    if facts.format == "TIFF" and facts.frames > 1:
        return _read_tiff(bytes(file), facts.frames, limits)
    image = _decode(file)
    height, width = image.shape[:2]
    return [image], {"width": width, "height": height, "type": "image"}


def _decode(file: memoryview) -> NDArray[np.uint8]:
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise Refused(f"the image cannot be decoded: {error.err}") from None
    if image is None:
        raise Refused("the image cannot be decoded: its header is sound, its content is damaged or cut off")
    decoded: NDArray[np.uint8] = image
    return decoded


def _read_tiff(file: bytes, frames: int, limits: Limits) -> tuple[list[NDArray[np.uint8]], dict[str, Any]]:
    import cv2
    from PIL import Image

    if frames > limits.pages:
        raise TooLarge(f"the document has {frames} pages; at most {limits.pages} are read. Send it in parts")
    images = []
    with Image.open(io.BytesIO(file), formats=("TIFF",)) as document:
        for index in range(frames):
            document.seek(index)
            width, height = document.size
            if width * height > limits.image_pixels:
                seen = f"page {index + 1} has {width} x {height} pixels"
                raise TooLarge(f"{seen}; at most {limits.image_pixels} are read")
            images.append(cv2.cvtColor(np.array(document.convert("RGB")), cv2.COLOR_RGB2BGR))
    return images, paged_info("tiff", images)


def paged_info(kind: str, images: list[NDArray[np.uint8]]) -> dict[str, Any]:
    """Return PaddleX's `dataInfo` of a document with pages."""
    pages = [{"width": image.shape[1], "height": image.shape[0]} for image in images]
    return {"numPages": len(pages), "pages": pages, "type": kind}


def encode_picture(picture: Any) -> str:
    """Return a picture as Base64 JPEG, made smaller than `MAX_PICTURE_SIDES` the way PaddleX does it.

    Args:
        picture: A Pillow image, or a BGR array of shape (height, width, 3).

    Source:
        paddlex 3.7.2, `inference/serving/basic_serving/_pipeline_apps/_common/common.py`: the sides of the limit are
        compared with width and height crosswise; both are equal here, so it does not show.
    """
    import cv2

    image = picture
    if not isinstance(picture, np.ndarray):
        image = cv2.cvtColor(np.array(picture.convert("RGB")), cv2.COLOR_RGB2BGR)
    height, width = image.shape[:2]
    limit_width, limit_height = MAX_PICTURE_SIDES
    if width > limit_height or height > limit_width:
        factor = limit_width / width if width / height > limit_width / limit_height else limit_height / height
        # A strip of 65,000 x 1 pixels would shrink to a height of 0, at which PaddleX fails.
        image = cv2.resize(image, (max(1, int(factor * width)), max(1, int(factor * height))))
    sound, encoded = cv2.imencode(".jpg", image)
    if not sound:
        raise Refused(f"a picture of {width} x {height} pixels cannot be written as JPEG; send visualize: false")
    return base64.b64encode(encoded.tobytes()).decode("ascii")
