"""Models as far as samples need them: what their file declares and what their `inference.yml` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.base import TensorSpec
from hpi_agent.samples.gather import ModelInputs

NORMALISE: Final = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": "1./255.", "order": ""}


def spec(name: str, *shape: int | None) -> TensorSpec:
    """Return a float32 input."""
    return TensorSpec(name, "float32", shape)


def hpi(shapes: Any, data: Any = None) -> dict[str, Any]:
    """Return the part of an `inference.yml` that declares shapes, for TensorRT and for Paddle alike."""
    paddle = {"trt_dynamic_shapes": shapes} | ({"trt_dynamic_shape_input_data": data} if data else {})
    return {"backend_configs": {"paddle_infer": paddle, "tensorrt": {"dynamic_shapes": shapes}}}


def a_detector(*shape: int | None, settings: Any = None, **more: Any) -> ModelInputs:
    """Return a text detector with one input."""
    operators = [{"DetResizeForTest": None}, {"NormalizeImage": NORMALISE}, {"ToCHWImage": None}]
    return _model("detector", operators, {"name": "DBPostProcess"}, shape or (None, 3, None, None), settings, more)


def a_recogniser(*shape: int | None, settings: Any = None, **more: Any) -> ModelInputs:
    """Return a text recogniser with one input."""
    operators = [{"RecResizeImg": {"image_shape": [3, 48, 320]}}]
    post = {"name": "CTCLabelDecode", "character_dict": list("abc")}
    return _model("recogniser", operators, post, shape or (None, 3, 48, None), settings, more)


def a_classifier(*shape: int | None, settings: Any = None, **more: Any) -> ModelInputs:
    """Return a classifier with one input."""
    operators = [
        {"ResizeImage": {"resize_short": 256}},
        {"CropImage": {"size": 224}},
        {"NormalizeImage": NORMALISE},
        {"ToCHWImage": None},
    ]
    return _model("classifier", operators, {"Topk": {"topk": 5}}, shape or (None, 3, 224, 224), settings, more)


def an_unknown_model(*specs: TensorSpec, **more: Any) -> ModelInputs:
    """Return a model of a task whose pictures nobody knows."""
    return ModelInputs("unknown", specs, {"PostProcess": {"name": "Other"}, **more}, Path("models/unknown"))


def _model(name: str, operators: list[Any], post: Any, shape: Any, settings: Any, more: dict[str, Any]) -> ModelInputs:
    inference = {
        "Global": {"model_name": name},
        "PreProcess": {"transform_ops": operators},
        "PostProcess": post,
        **more,
    }
    return ModelInputs(name, (spec("x", *shape),), inference, Path("models") / name, settings or {})
