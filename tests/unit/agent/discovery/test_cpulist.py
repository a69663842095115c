"""Lists of processors: the text form and the numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.discovery.cpulist import MAX_CPU, format_cpulist, parse_cpulist


def test_ranges_and_single_numbers_are_expanded() -> None:
    cpus = parse_cpulist("0-3,8,10-11")

    assert cpus == (0, 1, 2, 3, 8, 10, 11)


def test_an_empty_list_names_no_processor() -> None:
    assert parse_cpulist("") == ()


@given(st.sets(st.integers(0, MAX_CPU), max_size=50))
def test_formatting_and_parsing_are_inverse(cpus: set[int]) -> None:
    text = format_cpulist(cpus)

    assert parse_cpulist(text) == tuple(sorted(cpus))


@given(st.text(max_size=30))
def test_any_text_is_a_list_in_range_or_a_value_error(text: str) -> None:
    try:
        cpus = parse_cpulist(text)
    except ValueError:
        return

    assert all(0 <= cpu <= MAX_CPU for cpu in cpus)


@pytest.mark.parametrize(
    "text", ["a", "0-", "-1", "1,,2", "3-0", "1,1", "0-3,2", "0x1", "0-7:2/4", "0-65536", "\u0661"]
)
def test_what_the_kernel_never_writes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is (no range|out of order)"):
        parse_cpulist(text)


def test_the_highest_number_is_still_read() -> None:
    assert parse_cpulist(str(MAX_CPU)) == (MAX_CPU,)
