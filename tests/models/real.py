"""The real OCR models that come in the `rapidocr` wheel, and a real page for them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

DETECTOR, RECOGNISER, CLASSIFIER = (
    "PP-OCRv6_det_small",
    "PP-OCRv6_rec_small",
    "ch_ppocr_mobile_v2.0_cls_mobile",
)


def real_model(name: str) -> Path:
    """Return the ONNX file of a model of the wheel, without importing the wheel."""
    found = find_spec("rapidocr")
    assert found is not None, "the rapidocr wheel lends the real models"
    assert found.origin is not None
    return Path(found.origin).parent / "models" / f"{name}.onnx"


def page_for_detector() -> NDArray[np.float32]:
    """Return the page of scikit-image, enlarged and normalised as PP-OCR detectors want it: (1, 3, 736, 1472)."""
    page = np.asarray(Image.fromarray(skimage.data.page()).resize((1472, 736)), dtype=np.float32) / 255
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    image = (np.stack([page] * 3, axis=-1) - mean) / deviation
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)


def lines_for_recogniser() -> NDArray[np.float32]:
    """Return six strips of the same page, normalised as PP-OCR recognisers want them: (6, 3, 48, 480)."""
    page = np.asarray(Image.fromarray(skimage.data.page()).resize((480, 288)), dtype=np.float32) / 127.5 - 1
    return np.ascontiguousarray(np.repeat(page.reshape(6, 1, 48, 480), 3, axis=1))
