"""Lines on a terminal: aligned, cut where they must be, and never obeyed."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_operator.kubectl.text.terminal import Cell, Style, clean, folded, table
from hpi_operator.kubectl.text.words import age, milliseconds, size
from support.people_sights import NOW

words = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), max_size=12)
tables = st.integers(1, 5).flatmap(
    lambda columns: st.lists(st.lists(words, min_size=columns, max_size=columns), min_size=1, max_size=6)
)


@given(tables)
def test_columns_begin_at_the_same_place_in_every_line(rows: list[list[str]]) -> None:
    marked = [[f"{number}:{text}" for number, text in enumerate(row)] for row in rows]

    lines = table([f"{number}:" for number in range(len(rows[0]))], marked, Style())

    for number in range(len(rows[0])):
        found = {re.search(rf"(^|  ){number}:", line) for line in lines}
        assert len({one.end() for one in found if one is not None}) == 1


@given(st.text(max_size=200))
def test_a_text_of_anybody_is_one_line_that_no_terminal_obeys(text: str) -> None:
    shown = clean(text)

    assert not [sign for sign in shown if unicodedata.category(sign)[0] == "C"]
    assert clean(shown) == shown


@given(tables, st.integers(20, 80))
def test_colour_changes_no_place(rows: list[list[str]], width: int) -> None:
    header = ["H"] * len(rows[0])
    painted = [[Cell(text, "red") for text in row] for row in rows]

    plain = table(header, rows, Style(width=width))
    coloured = table(header, painted, Style(width=width, colour=True))

    assert [re.sub(r"\x1b\[\d+m", "", line).rstrip() for line in coloured] == plain


def test_the_last_column_alone_is_cut_to_the_terminal() -> None:
    row = ("name", "x" * 200)

    [_, cut] = table(("A", "B"), [row], Style(width=60))
    [_, whole] = table(("A", "B"), [row], Style())

    assert (len(cut), cut[-1]) == (60, "…")
    assert whole.endswith("x" * 200)


def test_a_column_without_content_is_left_out() -> None:
    assert table(("A", "B", "C"), [("1", "", "3")], Style()) == ["A  C", "1  3"]


@given(st.text(st.characters(codec="ascii", categories=["L", "Zs"]), max_size=400))
def test_folding_loses_no_word(text: str) -> None:
    lines = list(folded(text, Style(width=40), "  "))

    assert " ".join(line.strip() for line in lines).split() == text.split()
    assert all(len(line) <= 40 for line in lines if " " in line.strip())


@pytest.mark.parametrize(
    ("microseconds", "text"),
    [(None, ""), (0, "0.00 ms"), (999, "1.00 ms"), (1_000, "1.0 ms"), (14_200, "14.2 ms"), (142_900, "143 ms")],
)
def test_a_time_has_three_digits_at_least(microseconds: int | None, text: str) -> None:
    assert milliseconds(microseconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, ""), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * 2**30, "3.0 GiB"), (2**50, "1024 TiB")],
)
def test_a_size_has_the_largest_unit_that_fits(number: int | None, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("", ""),
        ("soon", ""),
        ("2026-03-01T10:00:05Z", "0 s"),
        ("2026-03-01T09:58:01Z", "119 s"),
        ("2026-03-01T09:58:00Z", "2 min"),
        ("2026-03-01T08:00:00Z", "2 h"),
        ("2026-02-20T10:00:00Z", "9 d"),
    ],
)
def test_an_age_is_told_in_the_largest_unit_that_says_enough(moment: str, text: str) -> None:
    assert age(moment, NOW) == text
