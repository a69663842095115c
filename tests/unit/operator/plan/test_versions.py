"""Versions are compared as people mean them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_operator.plan.versions import satisfies, sortable

IN_ORDER = [
    "0.9",
    "1.0.0.dev1",
    "1.0.0-alpha2",
    "1.0.0.rc1",
    "1.0",
    "1.0+cu118",
    "1.0.post1",
    "1.0.1",
    "1.2",
    "1.10",
    "8.0.RC3",
    "8.0.0",
    "8.0.1.rc2",
    "8.0.1",
    "24.1.rc2",
    "24.1.0.3",
    "535.104.05",
    "550.54.15",
    "550.127.5",
]

versions = st.builds(
    lambda numbers, word: ".".join(map(str, numbers)) + word,
    st.lists(st.integers(0, 30), min_size=1, max_size=4),
    st.sampled_from(["", ".RC1", ".rc2", "-beta", ".post1", "+cu118", ".dev3"]),
)


@pytest.mark.parametrize(("earlier", "later"), list(itertools.pairwise(IN_ORDER)))
def test_versions_sort(earlier: str, later: str) -> None:
    assert sortable(earlier) < sortable(later)


@given(versions)
def test_zeros_at_the_end_of_the_numbers_do_not_count(version: str) -> None:
    numbers = "".join(itertools.takewhile(lambda letter: letter.isdigit() or letter == ".", version)).rstrip(".")
    rest = version[len(numbers) :]

    assert sortable(f"{numbers}.0{rest}") == sortable(version)


@given(versions, versions, versions)
def test_the_order_is_total(one: str, other: str, third: str) -> None:
    a, b, c = sortable(one), sortable(other), sortable(third)

    assert (a < b) + (a == b) + (a > b) == 1
    assert not (a <= b <= c) or a <= c


@given(versions, versions)
def test_a_version_satisfies_exactly_one_of_less_equal_and_more(version: str, bound: str) -> None:
    held = [satisfies(version, f"{sign}{bound}") for sign in ("<", "==", ">")]

    assert sum(held) == 1
    assert satisfies(version, f">={bound}") == (held[1] or held[2])
    assert satisfies(version, f"<={bound}") == (held[0] or held[1])
    assert satisfies(version, f"!={bound}") != held[1]


@pytest.mark.parametrize(
    ("version", "constraint", "holds"),
    [
        ("1.4.0", ">=1.2,<2", True),
        ("2.0", ">=1.2,<2", False),
        ("1.2.0", ">=1.2, <2", True),
        ("1.2.5", "~=1.2.3", True),
        ("1.2.2", "~=1.2.3", False),
        ("1.3.0", "~=1.2.3", False),
        ("1.9", "~=1.2", True),
        ("2.0", "~=1.2", False),
        ("1.2.0", "==1.2", True),
    ],
)
def test_constraints(version: str, constraint: str, holds: bool) -> None:
    assert satisfies(version, constraint) is holds


def test_a_malformed_constraint_is_refused_with_an_example() -> None:
    with pytest.raises(ValueError, match=r"write it like '>=1\.2'"):
        satisfies("1.0", "1.2")
