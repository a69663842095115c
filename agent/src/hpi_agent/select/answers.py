"""The answers of a model family, as its user sees them: texts, classes, boxes; pure.

Enough of each family's post-processing to say whether two engines answer alike, and no more: it is not used to serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

TaskFamily = Literal["text_detection", "text_recognition", "classification"]
Outputs = Mapping[str, NDArray[Any]]

FAMILIES: Final[Mapping[str, TaskFamily]] = {
    "DBPostProcess": "text_detection",
    "CTCLabelDecode": "text_recognition",
    "Topk": "classification",
}
"""Task families by `PostProcess.name` of `inference.yml`, or by the key that stands there instead of a name."""

SCORE_TOLERANCE: Final = 0.02
"""Largest difference of two scores that still count as the same answer."""
MIN_OVERLAP: Final = 0.9
"""Intersection over union at which two boxes are the same: one pixel at the edges of a line 20 pixels high."""
MIN_BOX_SIDE: Final = 3
"""Boxes of fewer pixels are dropped, as DBPostProcess does."""
BLANK: Final = 0


@dataclass(frozen=True)
class Settings:
    """The part of a family's post-processing that decides what is an answer."""

    threshold: float = 0.3
    box_threshold: float = 0.6


@dataclass(frozen=True)
class Box:
    """A region of text: the bounding rectangle of a connected component. Unit: pixels of the output map."""

    top: int
    left: int
    bottom: int
    """Exclusive."""
    right: int
    """Exclusive."""
    score: float
    """Mean probability of the component's pixels."""


def family_of(inference: Mapping[str, Any]) -> TaskFamily | None:
    """Return the task family that a parsed `inference.yml` names, or None."""
    post = inference.get("PostProcess")
    if not isinstance(post, Mapping):
        return None
    name = post.get("name")
    if isinstance(name, str):
        return FAMILIES.get(name)
    return next((FAMILIES[key] for key in post if key in FAMILIES), None)


def settings_of(inference: Mapping[str, Any]) -> Settings:
    """Return the thresholds of a parsed `inference.yml`; PaddleX's defaults where it has none."""
    post = inference.get("PostProcess")
    post = post if isinstance(post, Mapping) else {}

    def number(key: str, default: float) -> float:
        value = post.get(key, default)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default

    return Settings(number("thresh", 0.3), number("box_thresh", 0.6))


def count_answers(family: TaskFamily, outputs: Outputs, settings: Settings) -> int:
    """Return how many texts, classes or boxes one answer holds; a line that is read as nothing is no text."""
    array = _first(outputs)
    if family == "text_recognition":
        return sum(1 for text in read_texts(array) if text)
    if family == "classification":
        return len(array)
    return sum(len(read_boxes(page, settings)) for page in _maps(array))


def agreement(
    family: TaskFamily, answers: Sequence[Outputs], references: Sequence[Outputs], settings: Settings
) -> list[str]:
    """Return one sentence for every answer that differs; empty when all agree."""
    differing: list[str] = []
    for index, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        ours, theirs = _first(answer), _first(reference)
        where = f"sample {index + 1}"
        if ours.shape != theirs.shape:
            differing.append(f"{where}: shape {ours.shape} instead of {theirs.shape}")
        elif family == "text_recognition":
            differing += _differing_texts(where, ours, theirs)
        elif family == "classification":
            differing += _differing_classes(where, ours, theirs)
        else:
            for ours_page, theirs_page in zip(_maps(ours), _maps(theirs), strict=True):
                differing += differing_boxes(where, read_boxes(ours_page, settings), read_boxes(theirs_page, settings))
    return differing


def read_texts(scores: NDArray[Any]) -> list[tuple[int, ...]]:
    """Return the texts of a CTC recogniser as class indices.

    Args:
        scores: Shape (batch, steps, classes); class 0 is the blank.

    Source:
        A. Graves et al., "Connectionist Temporal Classification", ICML 2006, best path decoding.
    """
    texts = []
    for line in scores.argmax(axis=-1):
        kept = np.ones(len(line), bool)
        kept[1:] = line[1:] != line[:-1]
        texts.append(tuple(int(index) for index in line[kept & (line != BLANK)]))
    return texts


def read_boxes(probabilities: NDArray[Any], settings: Settings) -> list[Box]:
    """Return the regions of a detector's probability map.

    Args:
        probabilities: Shape (height, width), from 0 to 1.
        settings: The thresholds.
    """
    labels = label_components(probabilities > settings.threshold)
    count = int(labels.max(initial=0))
    if count == 0:
        return []
    rows, columns = np.nonzero(labels)
    which = labels[rows, columns] - 1
    top, left = np.full(count, labels.shape[0]), np.full(count, labels.shape[1])
    bottom, right = np.zeros(count, int), np.zeros(count, int)
    np.minimum.at(top, which, rows)
    np.minimum.at(left, which, columns)
    np.maximum.at(bottom, which, rows + 1)
    np.maximum.at(right, which, columns + 1)
    sums = np.bincount(which, weights=probabilities[rows, columns].astype(np.float64), minlength=count)
    means = sums / np.bincount(which, minlength=count)
    boxes = [
        Box(int(top[i]), int(left[i]), int(bottom[i]), int(right[i]), float(means[i]))
        for i in range(count)
        if min(bottom[i] - top[i], right[i] - left[i]) >= MIN_BOX_SIDE and means[i] >= settings.box_threshold
    ]
    return sorted(boxes, key=lambda box: (box.top, box.left, box.bottom, box.right))


def label_components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the 8-connected components of a mask, numbered from 1; 0 is outside.

    Written here because neither SciPy nor OpenCV is in every agent. Runs of each row are united with those they touch
    in the row above.

    Source:
        L. He, Y. Chao, K. Suzuki, "A Run-Based Two-Scan Labeling Algorithm", IEEE Transactions on Image Processing
        17(5), 2008.
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    run_rows, starts = np.nonzero(steps == 1)
    _, ends = np.nonzero(steps == -1)
    parents = list(range(len(starts)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    bounds = np.searchsorted(run_rows, np.arange(height + 1))
    for row in range(1, height):
        above, here = int(bounds[row - 1]), int(bounds[row])
        last_above, last = here, int(bounds[row + 1])
        while above < last_above and here < last:
            # Runs touch, corners included, when neither ends before the other begins.
            if starts[above] <= ends[here] and starts[here] <= ends[above]:
                parents[root(above)] = root(here)
            if ends[above] < ends[here]:
                above += 1
            else:
                here += 1
    numbers: dict[int, int] = {}
    labels = np.zeros((height, width), np.int64)
    for run, (row, start, end) in enumerate(zip(run_rows, starts, ends, strict=True)):
        labels[row, start:end] = numbers.setdefault(root(run), len(numbers) + 1)
    return labels


def differing_boxes(where: str, ours: Sequence[Box], theirs: Sequence[Box]) -> list[str]:
    """Return one sentence for every box that has no partner of the same place and score on the other side."""
    partners = match_boxes(ours, theirs)
    differing = []
    for index, box in enumerate(theirs):
        if index not in partners:
            differing.append(f"{where}: the box at ({box.left}, {box.top}) is missing")
        elif abs(ours[partners[index]].score - box.score) > SCORE_TOLERANCE:
            score = ours[partners[index]].score
            differing.append(
                f"{where}: the box at ({box.left}, {box.top}) has score {score:.3f} instead of {box.score:.3f}"
            )
    taken = set(partners.values())
    return differing + [
        f"{where}: there is a box at ({box.left}, {box.top}) too many"
        for index, box in enumerate(ours)
        if index not in taken
    ]


def match_boxes(ours: Sequence[Box], theirs: Sequence[Box]) -> dict[int, int]:
    """Return which of our boxes stands for which of theirs, one to one: their index to ours.

    The pair with the largest overlap is matched first, and of equal overlaps the one with the nearest scores: a frame
    and what it frames have nearly the same rectangle, and the order of the boxes must not decide between them.
    """
    shares = overlaps(ours, theirs)
    pairs = sorted(
        (-shares[one, other], abs(ours[one].score - theirs[other].score), int(other), int(one))
        for one, other in zip(*np.nonzero(shares >= MIN_OVERLAP), strict=True)
    )
    partners: dict[int, int] = {}
    taken: set[int] = set()
    for _, _, other, one in pairs:
        if other not in partners and one not in taken:
            partners[other] = one
            taken.add(one)
    return partners


def overlaps(ours: Sequence[Box], theirs: Sequence[Box]) -> NDArray[np.float64]:
    """Return the intersection over union of every pair of boxes, shape (ours, theirs), from 0 to 1."""

    def edges(boxes: Sequence[Box]) -> NDArray[np.float64]:
        return np.array([(box.top, box.left, box.bottom, box.right) for box in boxes], np.float64).reshape(-1, 4)

    a, b = edges(ours)[:, None], edges(theirs)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.prod(np.maximum(sides, 0.0), axis=-1)
    union = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1) - common
    found: NDArray[np.float64] = common / np.maximum(union, 1.0)
    return found


def _differing_texts(where: str, ours: NDArray[Any], theirs: NDArray[Any]) -> list[str]:
    pairs = zip(read_texts(ours), read_texts(theirs), strict=True)
    return [
        f"{where}, line {line + 1}: {len(one)} characters read otherwise than the reference's {len(other)}"
        for line, (one, other) in enumerate(pairs)
        if one != other
    ]


def _differing_classes(where: str, ours: NDArray[Any], theirs: NDArray[Any]) -> list[str]:
    differing = []
    for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        flat, flat_other = one.reshape(-1), other.reshape(-1)
        best, wanted = int(flat.argmax()), int(flat_other.argmax())
        if best != wanted:
            differing.append(f"{where}, picture {index + 1}: class {best} instead of {wanted}")
        elif abs(float(flat[best]) - float(flat_other[wanted])) > SCORE_TOLERANCE:
            scores = f"score {float(flat[best]):.3f} instead of {float(flat_other[wanted]):.3f}"
            differing.append(f"{where}, picture {index + 1}: {scores}")
    return differing


def _first(outputs: Outputs) -> NDArray[Any]:
    # Every family here has one output; models with more keep the one that counts in the first place.
    return next(iter(outputs.values()))


def _maps(array: NDArray[Any]) -> NDArray[Any]:
    """Return the maps of a detector's output, shape (batch, 1, height, width), as (batch, height, width)."""
    return array.reshape(-1, *array.shape[-2:])
