"""Read out of an `inference.yml` how PaddleX prepares pictures for the model; pure.

Source:
    paddlex 3.7.2, `inference/models/{text_detection,text_recognition,image_classification}/predictor.py`: which
    operators count, and what their defaults are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from hpi_agent.samples.normalisation import Normalisation, read_normalisation
from hpi_agent.samples.operators import (
    WHERE,
    UnknownPreparation,
    read_colours,
    read_operators,
    read_side,
    read_sides,
)
from hpi_agent.samples.preparation import LinePreparation, PagePreparation, PicturePreparation, Preparation
from hpi_agent.samples.resizing import PageLimits, Size
from hpi_agent.select.answers import TaskFamily
from hpi_core.errors import Refused

LONGER_SIDE_MODELS: Final = re.compile(
    r"PP-OCRv(3_(server|mobile)|4_(server|mobile)|5_(server|mobile)|6_(medium|small|tiny))_det"
)
"""Detectors whose pages PaddleX bounds by the longer side, 960 pixels, where nothing else is said; for all others the
shorter side is raised to 736."""


def read_preparation(
    name: str, family: TaskFamily, inference: Mapping[str, Any], settings: Mapping[str, Any]
) -> Preparation:
    """Return how pictures are prepared for a model.

    Args:
        name: PaddleX's name of the model; some defaults hang on it.
        family: Its task family.
        inference: The parsed `inference.yml`.
        settings: The model's part of the pipeline YAML.

    Raises:
        UnknownPreparation: There is an operator that is not known for the family.
        Refused: Something is malformed.
    """
    readers: dict[TaskFamily, Callable[[str, Mapping[str, Any], Mapping[str, Any]], Preparation]] = {
        "text_detection": _read_page,
        "text_recognition": _read_line,
        "classification": _read_picture,
    }
    return readers[family](name, inference, settings)


DETECTION: Final = frozenset(
    {"DecodeImage", "DetLabelEncode", "DetResizeForTest", "NormalizeImage", "ToCHWImage", "KeepKeys"}
)
RECOGNITION_OPERATORS: Final = frozenset({"DecodeImage", "MultiLabelEncode", "RecResizeImg", "KeepKeys"})
CLASSIFICATION: Final = frozenset({"ResizeImage", "CropImage", "NormalizeImage", "ToCHWImage"})


def _read_page(name: str, inference: Mapping[str, Any], settings: Mapping[str, Any]) -> PagePreparation:
    operators = read_operators(inference, DETECTION)
    _require(operators, "DetResizeForTest", "NormalizeImage")
    arguments = operators["DetResizeForTest"]
    return PagePreparation(
        colours=read_colours(operators),
        normalisation=_normalisation(operators, ("", "hwc")),
        limits=_limits(name, arguments, settings),
        exact=_exact_page(arguments, settings),
    )


def _limits(name: str, arguments: Mapping[str, Any], settings: Mapping[str, Any]) -> PageLimits:
    # PaddleX looks for `resize_long` in inference.yml and takes it for the side of either kind; its `limit_side_len`
    # and `limit_type` there have no effect.
    by_longer = LONGER_SIDE_MODELS.fullmatch(name) is not None
    side = settings.get("limit_side_len") or arguments.get("resize_long") or (960 if by_longer else 736)
    kind: Any = settings.get("limit_type") or ("max" if by_longer else "min")
    if kind not in ("min", "max", "resize_long"):
        raise Refused(f"limit_type of {name}: must be min, max or resize_long, got {str(kind)[:80]!r}")
    longest = settings.get("max_side_limit") or PageLimits.longest
    return PageLimits(
        read_side(f"limit_side_len of {name}", side), kind, read_side(f"max_side_limit of {name}", longest)
    )


def _exact_page(arguments: Mapping[str, Any], settings: Mapping[str, Any]) -> Size | None:
    if settings.get("input_shape") is not None:
        _, height, width = read_sides("input_shape", settings["input_shape"], 3)
        return width, height
    if arguments.get("keep_ratio"):
        raise UnknownPreparation(f"{WHERE} DetResizeForTest: keep_ratio is not known here")
    if arguments.get("image_shape") is not None:
        height, width = read_sides(f"{WHERE} DetResizeForTest.image_shape", arguments["image_shape"], 2)
        return width, height
    return None


def _read_line(name: str, inference: Mapping[str, Any], settings: Mapping[str, Any]) -> LinePreparation:
    operators = read_operators(inference, RECOGNITION_OPERATORS)
    _require(operators, "RecResizeImg")
    shape = operators["RecResizeImg"].get("image_shape", [3, 48, 320])
    _, height, width = read_sides(f"{WHERE} RecResizeImg.image_shape", shape, 3)
    exact = None
    if settings.get("input_shape") is not None:
        _, height, exact = read_sides("input_shape", settings["input_shape"], 3)
    batch = settings.get("batch_size", 6)
    if type(batch) is not int or batch < 1:
        raise Refused(f"batch_size of {name}: must be a whole number of at least 1, got {str(batch)[:80]!r}")
    return LinePreparation(read_colours(operators), height, width, exact, batch)


def _read_picture(name: str, inference: Mapping[str, Any], settings: Mapping[str, Any]) -> PicturePreparation:
    operators = read_operators(inference, CLASSIFICATION)
    _require(operators, "ResizeImage", "NormalizeImage")
    arguments = operators["ResizeImage"]
    shorter, size = arguments.get("resize_short"), arguments.get("size")
    if not shorter and not size:
        raise Refused(f"{WHERE} ResizeImage: needs resize_short or size; correct inference.yml")
    return PicturePreparation(
        colours="RGB",
        normalisation=_normalisation(operators, ("",)),
        shorter_side=read_side(f"{WHERE} ResizeImage.resize_short", shorter) if shorter else None,
        exact=None if shorter else _size(f"{WHERE} ResizeImage.size", size),
        crop=_size(f"{WHERE} CropImage.size", operators["CropImage"].get("size", 224))
        if "CropImage" in operators
        else None,
        filter=_filter(arguments),
    )


def _size(where: str, written: Any) -> Size:
    if isinstance(written, list):
        width, height = read_sides(where, written, 2)
        return width, height
    side = read_side(where, written)
    return side, side


def _filter(arguments: Mapping[str, Any]) -> str:
    library, name = str(arguments.get("backend", "cv2")).lower(), str(arguments.get("interpolation", "LINEAR")).upper()
    if (library, name) == ("cv2", "LINEAR"):
        return "opencv linear"
    pillow = {"NEAREST": "nearest", "BILINEAR": "bilinear", "BICUBIC": "bicubic", "BOX": "box", "LANCZOS4": "lanczos"}
    if library == "pil" and name in pillow:
        return f"pillow {pillow[name]}"
    raise UnknownPreparation(f"{WHERE} ResizeImage: the filter {name[:40]!r} of {library[:40]!r} is not known here")


def _normalisation(operators: Mapping[str, Mapping[str, Any]], orders: tuple[str, ...]) -> Normalisation:
    arguments = operators["NormalizeImage"]
    if arguments.get("order", "") not in orders or arguments.get("channel_num", 3) != 3:
        raise UnknownPreparation(f"{WHERE} NormalizeImage: only three channels after rows are known here: {arguments}")
    return read_normalisation(f"{WHERE} NormalizeImage", arguments)


def _require(operators: Mapping[str, Any], *names: str) -> None:
    missing = [name for name in names if name not in operators]
    if missing:
        raise UnknownPreparation(f"{WHERE} lacks {missing}")
