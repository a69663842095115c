from __future__ import annotations

import random
from itertools import islice

import numpy as np
import pytest
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from support.pages import (
    BODY_FONTS,
    CODE_FONTS,
    HEIGHT,
    MAX_ROTATION_DEGREES,
    MIN_LINES,
    SEED,
    WIDTH,
    Page,
    font_file,
    pages,
    render_page,
    small_page,
)
from support.prose import code_lines, headings, sentences

FIRST_PAGES = 6
TWO_COLUMNS = 2
CLEAN_AND_ROTATED = 9
"""Index of a page with neither blur nor noise, rotated by 0.8 degrees."""
PRINTABLE = {chr(code) for code in range(0x20, 0x7F)}


@pytest.fixture(scope="module")
def rendered() -> list[Page]:
    return list(pages(FIRST_PAGES))


def slope_degrees(page: Page) -> float:
    """Return how much the longest line rises to the right."""
    (left, left_y), (right, right_y), _, _ = max(page.boxes, key=lambda quad: quad[1][0] - quad[0][0])
    return float(np.degrees(np.arctan2(left_y - right_y, right - left)))


def mask_of_boxes(page: Page, grown_by: int) -> NDArray[np.bool_]:
    """Return the pixels that lie in a box or at most some pixels beside one."""
    canvas = Image.new("L", (page.image.shape[1], page.image.shape[0]))
    draw = ImageDraw.Draw(canvas)
    for quad in page.boxes:
        draw.polygon(list(quad), fill=255)
    return np.array(canvas.filter(ImageFilter.MaxFilter(2 * grown_by + 1))) > 0


def test_a_seed_and_an_index_always_give_the_same_page() -> None:
    first, second = render_page(SEED, 5), render_page(SEED, 5)

    assert first.text_lines == second.text_lines
    assert np.array_equal(first.image, second.image)


def test_another_seed_gives_another_text(rendered: list[Page]) -> None:
    other = render_page(SEED + 1, 0)

    assert set(other.lines).isdisjoint(rendered[0].lines)


def test_pages_have_the_size_and_the_lines_that_figures_are_stated_for(rendered: list[Page]) -> None:
    shapes = {(page.image.shape, page.image.dtype.name) for page in rendered}

    assert shapes == {((HEIGHT, WIDTH, 3), "uint8")}
    assert all(len(page.lines) >= MIN_LINES for page in rendered)


def test_every_box_lies_on_the_page(rendered: list[Page]) -> None:
    corners = [corner for page in rendered for quad in page.boxes for corner in quad]

    assert all(0 <= x < WIDTH and 0 <= y < HEIGHT for x, y in corners)


def test_pages_are_rotated_by_at_most_one_degree_and_some_are(rendered: list[Page]) -> None:
    slopes = [abs(slope_degrees(page)) for page in rendered]

    assert max(slopes) <= MAX_ROTATION_DEGREES + 1e-9
    assert sum(slope > 0.1 for slope in slopes) >= 2


def test_columns_are_read_one_after_the_other(rendered: list[Page]) -> None:
    left_edges = [quad[0][0] for quad in rendered[TWO_COLUMNS].boxes]
    in_left_column = [x < WIDTH / 2 for x in left_edges]

    assert in_left_column == sorted(in_left_column, reverse=True)
    assert len(set(in_left_column)) == 2


def test_all_ink_of_a_rotated_page_lies_in_its_boxes() -> None:
    page = render_page(SEED, CLEAN_AND_ROTATED)
    paper = int(np.median(page.image))

    ink = page.image[:, :, 0] < paper - 20

    assert abs(slope_degrees(page)) > 0.5
    assert not np.any(ink & ~mask_of_boxes(page, grown_by=2))


def test_every_box_of_a_page_holds_ink() -> None:
    page = render_page(SEED, CLEAN_AND_ROTATED)
    ink = page.image[:, :, 0] < int(np.median(page.image)) - 60

    shares = []
    for quad in page.boxes:
        (left, top), (right, bottom) = np.min(quad, axis=0).astype(int), np.max(quad, axis=0).astype(int)
        shares.append(ink[top:bottom, left:right].mean())

    assert min(shares) > 0.05


@pytest.mark.parametrize("name", sorted({*sum(BODY_FONTS, ()), *CODE_FONTS}))
def test_every_font_comes_in_the_wheel_and_has_all_printable_characters(name: str) -> None:
    path = font_file(name)

    characters = {chr(code) for code in TTFont(path).getBestCmap()}

    assert characters >= PRINTABLE


@given(st.integers(0, 2**32))
def test_generated_text_is_printable_and_has_no_outer_or_double_spaces(seed: int) -> None:
    random_ = random.Random(seed)

    texts = [text for source in (sentences, headings, code_lines) for text in islice(source(random_), 5)]

    assert all(set(text) <= PRINTABLE for text in texts)
    assert all(text and text == " ".join(text.split()) for text in texts)


def test_the_small_page_is_the_scan_with_seven_lines() -> None:
    page = small_page()

    assert page.image.shape == (191, 384, 3)
    assert page.lines[0] == "Region-based segmentation"
    assert (len(page.lines), sum(map(len, page.lines))) == (7, 293)


def test_every_box_of_the_small_page_holds_ink() -> None:
    page = small_page()
    grey = page.image[:, :, 0].astype(int)

    contrasts = []
    for (left, top), _, (right, bottom), _ in page.boxes:
        part = grey[int(top) : int(bottom), int(left) : int(right)]
        contrasts.append(np.percentile(part, 90) - part.min())

    assert min(contrasts) > 60
