"""How far two answers of one model lie apart."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

TOLERANCE: Final = 1e-4
"""Largest difference of a conversion: every float32 backend stays below it, every bfloat16 one exceeds it."""


def difference(answer: NDArray[Any], reference: NDArray[Any]) -> float | str:
    """Return max |a - b| / max |reference| of one output, or in words why the two cannot be compared.

    Element-wise relative differences say nothing where the reference is near zero: they reach 1e23 on a detector.

    Args:
        answer: What the ONNX file answers, any shape.
        reference: What Paddle answers.
    """
    if answer.shape != reference.shape:
        return f"its shape is {answer.shape}, Paddle's is {reference.shape}"
    if reference.size == 0:
        return 0.0
    a, b = answer.astype(np.float64), reference.astype(np.float64)
    if not np.isfinite(b).all():
        return "Paddle's own answer holds NaN or infinity"
    if not np.isfinite(a).all():
        return "it holds NaN or infinity, Paddle's answer does not"
    largest = float(np.abs(b).max())
    apart = float(np.abs(a - b).max())
    if apart == 0:
        return 0.0
    return apart / largest if largest > 0 else f"Paddle answers zeros alone, it answers up to {apart:.3g}"
