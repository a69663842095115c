from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.text_error import CharacterError, Quad, TextLine, assign, character_error, joined

HEIGHT = 20.0
PITCH = 30.0

words = st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
texts = st.lists(words, min_size=1, max_size=8).map(" ".join)
page_texts = st.lists(texts, min_size=1, max_size=8)


def box(left: float, top: float, right: float, bottom: float, fall: float = 0.0) -> Quad:
    """Return a box whose right end lies `fall` pixels lower than its left end."""
    return (left, top), (right, top + fall), (right, bottom + fall), (left, bottom)


def a_line(text: str, row: int, left: float = 0.0, right: float = 400.0) -> TextLine:
    return TextLine(text, box(left, row * PITCH, right, row * PITCH + HEIGHT))


def a_page(lines: list[str]) -> list[TextLine]:
    return [a_line(text, row) for row, text in enumerate(lines)]


@given(page_texts)
def test_a_perfect_reading_has_no_error(lines: list[str]) -> None:
    reference = a_page(lines)

    error = character_error(reference, reference)

    assert error == CharacterError(0, sum(map(len, lines)))


@given(page_texts, st.randoms(use_true_random=False))
def test_the_order_of_recognised_lines_does_not_matter(lines: list[str], random: Random) -> None:
    reference = a_page(lines)
    shuffled = [a_line(text[::-1], row) for row, text in enumerate(lines)]
    expected = character_error(reference, shuffled)

    random.shuffle(shuffled)

    assert character_error(reference, shuffled) == expected


@given(page_texts, st.data())
def test_a_missing_line_costs_its_characters(lines: list[str], data: st.DataObject) -> None:
    reference = a_page(lines)
    missing = data.draw(st.integers(0, len(lines) - 1))

    error = character_error(reference, reference[:missing] + reference[missing + 1 :])

    assert error.edits == len(lines[missing])


@given(page_texts, texts)
def test_a_stray_line_costs_its_characters(lines: list[str], stray: str) -> None:
    reference = a_page(lines)

    error = character_error(reference, [*reference, a_line(stray, row=100)])

    assert error.edits == len(stray)


@given(page_texts, st.data())
def test_one_wrong_character_costs_one(lines: list[str], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[row]) - 1).filter(lambda index: lines[row][index] != " "))
    # No generated text holds this character, so it is wrong wherever it stands.
    wrong = lines[row][:place] + "é" + lines[row][place + 1 :]

    error = character_error(a_page(lines), a_page([*lines[:row], wrong, *lines[row + 1 :]]))

    assert error.edits == 1


@given(st.lists(words, min_size=2, max_size=8), st.data())
def test_a_line_read_in_two_boxes_costs_nothing(found: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(found) - 1))
    left = a_line(" ".join(found[:cut]), 0, right=200)
    right = a_line(" ".join(found[cut:]), 0, left=210)

    error = character_error(a_page([" ".join(found)]), [right, left])

    assert error.edits == 0


@given(page_texts, page_texts)
def test_edits_never_exceed_what_it_takes_to_write_both_texts(lines: list[str], others: list[str]) -> None:
    error = character_error(a_page(lines), a_page(others))

    assert 0 <= error.edits <= sum(map(len, lines)) + sum(map(len, others))


def test_runs_of_white_space_count_as_one_space() -> None:
    error = character_error([a_line(" two  words ", 0)], [a_line("two\twords", 0)])

    assert error == CharacterError(0, 9)


def test_case_and_look_alikes_count() -> None:
    error = character_error([a_line("Look, a.l", 0)], [a_line("look，a.1", 0)])

    assert error.edits == 4  # L, the comma, the space and l


@pytest.mark.parametrize(
    ("offset", "belongs"), [(10.0, True), (10.1, False), (-10.0, True), (-10.1, False)], ids=lambda value: str(value)
)
def test_a_centre_belongs_to_a_line_up_to_half_a_height_from_its_axis(offset: float, belongs: bool) -> None:
    found = TextLine("x", box(0, offset, 400, HEIGHT + offset))

    assert (assign(found, [a_line("x", 0)]) == 0) is belongs


@pytest.mark.parametrize(
    ("centre", "belongs"), [(-20.0, True), (-20.1, False), (420.0, True), (420.1, False)], ids=lambda value: str(value)
)
def test_a_centre_belongs_to_a_line_up_to_one_height_beside_its_ends(centre: float, belongs: bool) -> None:
    found = TextLine("x", box(centre - 5, 0, centre + 5, HEIGHT))

    assert (assign(found, [a_line("x", 0)]) == 0) is belongs


def test_the_end_of_a_slanted_line_belongs_to_it_and_not_to_its_neighbour() -> None:
    slanted = [TextLine(str(row), box(0, row * PITCH, 1000, row * PITCH + HEIGHT, fall=PITCH)) for row in range(3)]
    last_word = TextLine("word", box(900, 57, 1000, 77, fall=3))

    assert assign(last_word, slanted) == 1


def test_boxes_on_one_line_are_joined_from_left_to_right() -> None:
    lines = [a_line("second", 0, left=210), a_line("first", 0, right=200)]

    assert joined(lines) == "first second"


def test_errors_add_up_over_pages() -> None:
    total = CharacterError(1, 100) + CharacterError(2, 50)

    assert (total, total.rate) == (CharacterError(3, 150), 0.02)


def test_a_reference_without_characters_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one character"):
        character_error([], [a_line("text", 0)])
