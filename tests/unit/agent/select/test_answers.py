"""The answers of model families: texts, classes and boxes, and when two engines answer alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from hpi_agent.select.answers import (
    MIN_BOX_SIDE,
    MIN_OVERLAP,
    SCORE_TOLERANCE,
    Box,
    Settings,
    TaskFamily,
    agreement,
    count_answers,
    differing_boxes,
    family_of,
    label_components,
    match_boxes,
    overlaps,
    read_boxes,
    read_texts,
    settings_of,
)

CLASSES: Final = 8

masks = npst.arrays(np.bool_, npst.array_shapes(min_dims=2, max_dims=2, max_side=12))
edges = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(3, 30), st.integers(3, 30), st.floats(0, 1))
boxes = edges.map(lambda e: Box(e[0], e[1], e[0] + e[2], e[1] + e[3], e[4]))
pages = st.lists(boxes, max_size=6)
families: st.SearchStrategy[TaskFamily] = st.sampled_from(["text_detection", "text_recognition", "classification"])


def spelled(*lines: list[int], sure: float = 0.9) -> NDArray[np.float32]:
    """Return the scores of a recogniser that reads these class indices, one step each."""
    scores = np.full((len(lines), max(map(len, lines)), CLASSES), (1 - sure) / CLASSES, np.float32)
    for row, line in enumerate(lines):
        for step, index in enumerate(line):
            scores[row, step, index] = sure
    return scores


def a_map(*regions: tuple[slice, slice], score: float = 0.9, side: int = 32) -> NDArray[np.float32]:
    """Return a detector's output with regions of text, shape (1, 1, side, side)."""
    array = np.zeros((1, 1, side, side), np.float32)
    for rows, columns in regions:
        array[0, 0, rows, columns] = score
    return array


def differences(family: TaskFamily, ours: NDArray[Any], theirs: NDArray[Any]) -> list[str]:
    """Return what differs between two answers to one sample."""
    return agreement(family, [{"x": ours}], [{"x": theirs}], Settings())


def flooded(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the 8-connected components of a mask by filling each from its first pixel."""
    labels, count = np.zeros(mask.shape, np.int64), 0
    for seed in zip(*np.nonzero(mask), strict=True):
        if labels[seed]:
            continue
        count, todo = count + 1, [seed]
        while todo:
            row, column = todo.pop()
            if mask[row, column] and not labels[row, column]:
                labels[row, column] = count
                rows = range(max(row - 1, 0), min(row + 2, mask.shape[0]))
                todo += [(r, c) for r in rows for c in range(max(column - 1, 0), min(column + 2, mask.shape[1]))]
    return labels


@given(masks)
def test_components_are_those_of_a_flood_fill(mask: NDArray[np.bool_]) -> None:
    ours, theirs = label_components(mask), flooded(mask)

    pairs = {(int(a), int(b)) for a, b in zip(ours.ravel(), theirs.ravel(), strict=True)}

    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert np.array_equal(ours > 0, mask)


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_a_map_without_pixels_has_no_components(shape: tuple[int, int]) -> None:
    assert label_components(np.zeros(shape, bool)).max(initial=0) == 0


@given(pages, st.randoms(use_true_random=False))
def test_the_order_of_boxes_does_not_matter(page: list[Box], random: Any) -> None:
    shuffled = random.sample(page, len(page))

    assert differing_boxes("here", page, shuffled) == []


@given(pages, pages, st.randoms(use_true_random=False))
def test_how_many_boxes_differ_does_not_depend_on_their_order(ours: list[Box], theirs: list[Box], random: Any) -> None:
    once = differing_boxes("here", ours, theirs)

    again = differing_boxes("here", random.sample(ours, len(ours)), random.sample(theirs, len(theirs)))

    assert sorted(again) == sorted(once)


@given(pages, pages)
def test_boxes_are_matched_one_to_one_and_never_below_the_smallest_overlap(ours: list[Box], theirs: list[Box]) -> None:
    partners = match_boxes(ours, theirs)

    assert len(set(partners.values())) == len(partners)
    shares = overlaps(ours, theirs)
    assert all(shares[one, other] >= MIN_OVERLAP for other, one in partners.items())


@given(boxes, boxes)
def test_overlap_is_symmetric_from_0_to_1_and_1_for_the_box_itself(a: Box, b: Box) -> None:
    share = overlaps([a], [b])[0, 0]

    assert 0 <= share <= 1
    assert share == overlaps([b], [a])[0, 0]
    assert overlaps([a], [a])[0, 0] == 1


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert overlaps([Box(0, 0, 10, 10, 1)], [Box(0, 10, 10, 20, 1)])[0, 0] == 0


def test_of_two_boxes_in_one_place_the_nearer_score_is_the_partner() -> None:
    frame, framed = Box(0, 0, 100, 100, 0.7), Box(1, 1, 99, 99, 0.95)

    assert differing_boxes("here", [framed, frame], [frame, framed]) == []


@given(families, st.integers(0, 2**32 - 1))
def test_an_answer_agrees_with_itself(family: TaskFamily, seed: int) -> None:
    shape = {"text_detection": (2, 1, 24, 24), "text_recognition": (3, 6, CLASSES), "classification": (4, CLASSES)}
    answer = np.random.default_rng(seed).random(shape[family], np.float32)

    assert differences(family, answer, answer.copy()) == []


def test_a_text_is_the_best_path_without_repeats_and_blanks() -> None:
    scores = spelled([0, 3, 3, 0, 3, 5, 5, 0], [0, 0, 0, 0, 0, 0, 0, 0], [1, 2, 1, 2, 2, 2, 0, 1])

    assert read_texts(scores) == [(3, 3, 5), (), (1, 2, 1, 2, 1)]


def test_lines_that_are_read_as_nothing_are_not_counted() -> None:
    scores = spelled([0, 3, 0], [0, 0, 0], [1, 0, 1])

    assert count_answers("text_recognition", {"x": scores}, Settings()) == 2


def test_scores_may_move_as_long_as_the_text_stays() -> None:
    assert differences("text_recognition", spelled([1, 0, 2], sure=0.8), spelled([1, 0, 2])) == []


def test_a_text_that_is_read_otherwise_is_named_by_its_line() -> None:
    found = differences("text_recognition", spelled([1, 0, 2], [1, 3, 0]), spelled([1, 0, 2], [1, 3, 4]))

    assert found == ["sample 1, line 2: 2 characters read otherwise than the reference's 3"]


def test_a_class_that_changes_is_named() -> None:
    reference = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)

    found = differences("classification", reference[:, ::-1], reference)

    assert found == ["sample 1, picture 1: class 1 instead of 0", "sample 1, picture 2: class 0 instead of 1"]


@pytest.mark.parametrize(("moved", "count"), [(0.9 * SCORE_TOLERANCE, 0), (1.1 * SCORE_TOLERANCE, 1)])
def test_a_score_may_move_by_the_tolerance_and_no_further(moved: float, count: int) -> None:
    reference = np.array([[0.8, 0.2]], np.float64)
    detected = a_map((slice(4, 12), slice(4, 28))).astype(np.float64)

    classes = differences("classification", reference - np.array([[moved, 0]]), reference)
    found = differences("text_detection", np.where(detected > 0, detected - moved, 0), detected)

    assert (len(classes), len(found)) == (count, count)


def test_a_box_is_the_rectangle_around_a_region_and_its_mean_score() -> None:
    page = a_map((slice(4, 10), slice(3, 20)))[0, 0]
    page[4, 3] = 0.0

    [box] = read_boxes(page, Settings())

    assert (box.top, box.left, box.bottom, box.right) == (4, 3, 10, 20)
    assert box.score == pytest.approx(0.9, abs=1e-6)


@pytest.mark.parametrize(("score", "count"), [(0.59, 0), (0.61, 1)])
def test_a_box_below_the_box_threshold_is_dropped(score: float, count: int) -> None:
    assert len(read_boxes(a_map((slice(4, 12), slice(4, 20)), score=score)[0, 0], Settings())) == count


@pytest.mark.parametrize(("score", "count"), [(0.29, 0), (0.31, 1)])
def test_a_pixel_below_the_threshold_belongs_to_no_box(score: float, count: int) -> None:
    page = a_map((slice(4, 12), slice(4, 20)), score=score)[0, 0]

    assert len(read_boxes(page, Settings(box_threshold=0.0))) == count


@pytest.mark.parametrize(("side", "count"), [(MIN_BOX_SIDE - 1, 0), (MIN_BOX_SIDE, 1)])
def test_a_tiny_box_is_dropped(side: int, count: int) -> None:
    assert len(read_boxes(a_map((slice(4, 4 + side), slice(4, 20)))[0, 0], Settings())) == count


def test_a_page_without_text_has_no_boxes() -> None:
    assert read_boxes(np.zeros((32, 32), np.float32), Settings()) == []


def test_the_boxes_of_every_page_are_counted() -> None:
    page = a_map((slice(2, 8), slice(2, 20)), (slice(20, 28), slice(2, 20)))

    assert count_answers("text_detection", {"x": np.concatenate([page, page])}, Settings()) == 4


def test_a_box_that_is_missing_and_one_too_many_are_both_named() -> None:
    first, second, third = (slice(2, 8), slice(2, 20)), (slice(12, 18), slice(2, 20)), (slice(22, 30), slice(5, 20))

    found = differences("text_detection", a_map(first, third), a_map(first, second))

    assert found == ["sample 1: the box at (2, 12) is missing", "sample 1: there is a box at (5, 22) too many"]


@pytest.mark.parametrize(("grown", "count"), [(1, 0), (3, 2)])
def test_a_box_may_be_a_pixel_larger_and_no_other_box(grown: int, count: int) -> None:
    region, larger = (slice(4, 20), slice(2, 30)), (slice(4, 20 + grown), slice(2, 30))

    assert len(differences("text_detection", a_map(larger), a_map(region))) == count


@pytest.mark.parametrize("family", ["text_detection", "text_recognition", "classification"])
def test_answers_of_another_shape_differ(family: TaskFamily) -> None:
    assert differences(family, np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 4, 5))) == [
        "sample 1: shape (1, 1, 4, 4) instead of (1, 1, 4, 5)"
    ]


@pytest.mark.parametrize(
    ("inference", "family"),
    [
        ({"PostProcess": {"name": "DBPostProcess", "thresh": 0.3}}, "text_detection"),
        ({"PostProcess": {"name": "CTCLabelDecode", "character_dict": []}}, "text_recognition"),
        ({"PostProcess": {"Topk": {"topk": 5}}}, "classification"),
        ({"PostProcess": {"name": "UnknownDecode"}}, None),
        ({"PostProcess": "DBPostProcess"}, None),
        ({"PostProcess": {"name": ["DBPostProcess"]}}, None),
        ({}, None),
    ],
)
def test_the_family_is_the_one_that_inference_yml_names(inference: dict[str, Any], family: TaskFamily | None) -> None:
    assert family_of(inference) == family


@pytest.mark.parametrize(
    ("written", "settings"),
    [
        ({"thresh": 0.2, "box_thresh": 0.45}, Settings(0.2, 0.45)),
        ({"thresh": 1}, Settings(1.0, 0.6)),
        ({"thresh": "0.2", "box_thresh": True}, Settings()),
        ({}, Settings()),
    ],
)
def test_thresholds_are_those_of_inference_yml_or_paddlexs(written: dict[str, Any], settings: Settings) -> None:
    assert settings_of({"PostProcess": {"name": "DBPostProcess", **written}}) == settings
    assert settings_of({"PostProcess": []}) == Settings()


def test_a_lower_box_threshold_finds_more() -> None:
    page = a_map((slice(4, 12), slice(4, 20)), score=0.5)[0, 0]

    found = [len(read_boxes(page, replace(Settings(), box_threshold=at))) for at in (0.6, 0.4)]

    assert found == [0, 1]
