"""Compare named arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-6
"""Relative, for float32: sums of at most 27 products in another order than numpy's."""


def assert_arrays_equal(
    got: Mapping[str, NDArray[Any]], want: Mapping[str, NDArray[Any]], tolerance: float = TOLERANCE
) -> None:
    """Fail unless names, dtypes and shapes are equal and no value differs by more than the tolerance allows."""
    assert set(got) == set(want)
    for name, array in want.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape), name
        if array.size:
            difference = relative_difference(got[name], array)
            assert difference <= tolerance, f"{name}: {difference:.2e} > {tolerance:.0e}"


def relative_difference(got: NDArray[Any], want: NDArray[Any]) -> float:
    """Return max |got - want| / max |want|."""
    a, b = got.astype(np.float64), want.astype(np.float64)
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30))
