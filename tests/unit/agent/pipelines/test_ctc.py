"""The one-pass decoder against what it stands for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from hpi_agent.pipelines.ctc import best_of_each_step

scores = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.floats(0, 1, width=32),
)


@given(scores)
def test_one_pass_finds_the_argmax_and_the_maximum(given_scores: NDArray[np.float32]) -> None:
    indices, best = best_of_each_step(given_scores)

    np.testing.assert_array_equal(indices, given_scores.argmax(axis=-1))
    np.testing.assert_array_equal(best, given_scores.max(axis=-1))
