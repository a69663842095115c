"""The decoder of CTC recognisers, reading the model's answer once instead of three times.

PaddleX copies the (batch, steps, classes) probabilities, takes their argmax and takes their maximum: for 18,710 classes
that is 27 MB a batch of six lines, three times. The maximum stands where the argmax points, so one pass is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def best_of_each_step(scores: NDArray[np.floating[Any]]) -> tuple[NDArray[np.intp], NDArray[np.floating[Any]]]:
    """Return the class with the largest score of every step, and that score.

    Args:
        scores: Shape (batch, steps, classes), classes at least 1, finite.

    Returns:
        Two arrays of shape (batch, steps): `scores.argmax(axis=-1)` and `scores.max(axis=-1)`.
    """
    indices = scores.argmax(axis=-1)
    return indices, np.take_along_axis(scores, indices[..., None], axis=-1)[..., 0]


@dataclass(frozen=True)
class OnePassDecode:
    """PaddleX's `CTCLabelDecode` with the same answers; stands in its place as `post_op` of a predictor.

    Source:
        paddlex 3.7.2, `inference/models/text_recognition/processors.py`, class CTCLabelDecode.
    """

    label_decode: Any
    """The predictor's own decoder; its characters and its `decode` stay in use."""

    def __call__(
        self, pred: list[NDArray[np.floating[Any]]], return_word_box: bool = False, **ratios: Any
    ) -> tuple[list[Any], list[float]]:
        """Return one text (with word positions, when asked for) and one score per line of the batch."""
        indices, scores = best_of_each_step(pred[0])
        lines = self.label_decode.decode(indices, scores, is_remove_duplicate=True, return_word_box=return_word_box)
        if return_word_box:
            for line, ratio in zip(lines, ratios["wh_ratio_list"], strict=False):
                line[2][0] *= ratio / ratios["max_wh_ratio"]
        return [line[0] if len(line) <= 2 else (line[0], line[2]) for line in lines], [line[1] for line in lines]
