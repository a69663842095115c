"""The six models of `bench.choice`: three of a wheel, in ONNX, and three with seeded weights in Paddle's format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from models.real import CLASSIFIER, DETECTOR, RECOGNISER, real_model

SIDES: Final = (1, 3, 48, 192)
"""What PaddleOCR resizes a line to before it asks which way up it is."""
CLASSIFIER_NAME: Final = "ch_ppocr_mobile_v2.0_cls"


@dataclass(frozen=True)
class MeasuredModel:
    """One model and how a manifest asks for it."""

    key: str
    """For the command line."""
    title: str
    """For tables."""
    module: str
    """PaddleX's name of its task."""
    name: str
    source: str

    def manifest(self) -> str:
        """Return the manifest of this model alone, as JSON."""
        model = {"name": self.name, "source": self.source}
        return json.dumps(
            {
                "apiVersion": "hpi.paddlex.io/v1alpha1",
                "kind": "HPIPipeline",
                "metadata": {"name": self.key},
                "spec": {"module": {"name": self.module, "model": model}},
            }
        )


KEYS: Final = ("det", "rec", "cls", "db", "crnn", "resnet18")
TITLES: Final = {
    "det": "PP-OCRv6 small detector, ONNX",
    "rec": "PP-OCRv6 small recogniser, ONNX",
    "cls": "line orientation classifier, ONNX",
    "db": "DB-like detector, Paddle",
    "crnn": "CRNN, Paddle",
    "resnet18": "ResNet-18, Paddle",
}


def measured_models(keys: Sequence[str], folder: Path) -> list[MeasuredModel]:
    """Return some of the models in the order of `KEYS`; files that are missing are made.

    Args:
        keys: Some of `KEYS`.
        folder: Where a model directory that the wheel lacks is written.
    """
    return [_model(key, folder) for key in KEYS if key in keys]


def _model(key: str, folder: Path) -> MeasuredModel:
    wheel = {
        "det": ("text_detection", "PP-OCRv6_small_det", f"package://rapidocr/models/{DETECTOR}.onnx"),
        "rec": ("text_recognition", "PP-OCRv6_small_rec", f"package://rapidocr/models/{RECOGNISER}.onnx"),
    }
    if key in wheel:
        return MeasuredModel(key, TITLES[key], *wheel[key])
    if key == "cls":
        source = _address(classifier_directory(folder / CLASSIFIER_NAME))
        return MeasuredModel(key, TITLES[key], "textline_orientation", CLASSIFIER_NAME, source)
    return _paddle_model(key)


def _paddle_model(key: str) -> MeasuredModel:
    # These are made by the Python that has Paddle, which is looked for when this module is imported.
    from models.paddle_models import CASES, paddle_model

    case, module = {
        "db": ("db_detector", "text_detection"),
        "crnn": ("crnn", "text_recognition"),
        "resnet18": ("resnet18", "image_classification"),
    }[key]
    return MeasuredModel(key, TITLES[key], module, CASES[case].model_name, _address(paddle_model(case)))


def classifier_directory(folder: Path) -> Path:
    """Write the model directory of the wheel's classifier and return it."""
    folder.mkdir(parents=True)
    shutil.copyfile(real_model(CLASSIFIER), folder / "inference.onnx")
    text = yaml.safe_dump(classifier_inference_yml(), sort_keys=False)
    (folder / "inference.yml").write_text(text, encoding="utf-8")
    return folder


def classifier_inference_yml() -> dict[str, Any]:
    """Return what the wheel lacks: how pictures are prepared for the classifier, and what it answers.

    Source:
        rapidocr 3.10.0, `config.yaml` (3 x 48 x 192, classes 0 and 180) and `ch_ppocr_cls/main.py` ((pixel / 255 -
        0.5) / 0.5).
    """
    _, channels, height, width = SIDES
    batch = [8, channels, height, width]
    shapes = {"x": [list(SIDES), list(SIDES), batch]}
    return {
        "Global": {"model_name": CLASSIFIER_NAME},
        "PreProcess": {
            "transform_ops": [
                {"ResizeImage": {"size": [width, height]}},
                {"NormalizeImage": {"mean": [0.5] * 3, "std": [0.5] * 3, "scale": 1 / 255, "order": ""}},
                {"ToCHWImage": None},
            ]
        },
        "PostProcess": {"Topk": {"topk": 1, "label_list": ["0_degree", "180_degree"]}},
        "Hpi": {"backend_configs": {"tensorrt": {"dynamic_shapes": shapes}}},
    }


def _address(directory: Path) -> str:
    return f"file://{quote(str(directory.absolute()))}"
