"""The proof behind readiness: a real inference on every engine that will serve."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec
from hpi_agent.engines.shelf import Shelved
from hpi_agent.pipelines.ocr import OcrTask
from hpi_core.errors import EngineFailed

CANARY_TEXT: Final = "HPI 2026"
FREE_DIMENSION: Final = 64
"""Size tried for a dimension that the model leaves free: a multiple of 32, as detectors need. Unit: elements."""


def canary_image() -> NDArray[np.uint8]:
    """Return a small white page with one line of black text: BGR, shape (256, 256, 3)."""
    import cv2

    # Square, because detectors enlarge the shorter side to a fixed length: a strip would become a huge picture.
    image = np.full((256, 256, 3), 255, dtype=np.uint8)
    cv2.putText(image, CANARY_TEXT, (12, 140), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (0, 0, 0), 3, cv2.LINE_AA)
    return image


def prove_ocr(task: OcrTask) -> None:
    """Read the canary page through the whole pipeline.

    Which text is found depends on the models; that it runs through, and gives a result for the page, does not.

    Raises:
        EngineFailed: The pipeline failed on the page.
    """
    try:
        results = list(task.pipeline.predict([canary_image()]))
    except Exception as error:
        raise EngineFailed(f"the pipeline failed on the canary page: {type(error).__name__}: {error}") from error
    if len(results) != 1:
        raise EngineFailed(f"the pipeline gave {len(results)} results for the canary page, 1 is expected")


def prove_engine(item: Shelved) -> None:
    """Run one engine once, unless the pipeline has done so already.

    Raises:
        EngineFailed: The engine failed, or answered with NaN or infinity.
    """
    if item.usage.calls:
        return
    feeds = {spec.name: _example(spec) for spec in item.engine.inputs}
    outputs = item.infer(feeds)
    for name, array in outputs.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            backend = item.engine.obtained.backend
            raise EngineFailed(f"model {item.model_name!r} on {backend}: {name} holds NaN or infinity")


def _example(spec: TensorSpec) -> NDArray[Any]:
    # The first dimension is the batch by the convention of every model here.
    sizes = [size if size is not None else 1 if index == 0 else FREE_DIMENSION for index, size in enumerate(spec.shape)]
    return np.full(sizes, 0.5).astype(spec.dtype)
