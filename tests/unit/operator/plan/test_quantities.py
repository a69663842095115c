"""Quantities in the spelling of the API server; `tests/cluster/test_planned_objects.py` asks a real one."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_operator.plan.quantities import canonical, canonical_bytes, whole_units

SPELLINGS = [
    ("1000m", "1"),
    ("999m", "999m"),
    ("0.5", "500m"),
    ("1.0", "1"),
    ("1500m", "1500m"),
    ("1000", "1k"),
    ("1024", "1024"),
    ("1500", "1500"),
    ("1000k", "1M"),
    ("0", "0"),
    ("0Gi", "0"),
    ("0m", "0"),
    ("1024Mi", "1Gi"),
    ("1023Mi", "1023Mi"),
    ("1025Mi", "1025Mi"),
    ("1024Ki", "1Mi"),
    ("1.5Gi", "1536Mi"),
    ("0.5Gi", "512Mi"),
    ("0.5Ki", "512"),
    ("1Ki", "1Ki"),
    ("1023.5Ki", "1048064"),
    ("1.1Ki", "1126400m"),
    ("0.0001", "1m"),
    ("1.00001Ki", "1024011m"),
    ("20000000000", "20G"),
    ("21474836480", "21474836480"),
    ("16384Pi", "9223372036854775807"),
    ("8191Pi", "8191Pi"),
    ("99999999999P", "99999999999P"),
    ("9223372036854775808", "9223372036854775808"),
    ("007", "7"),
]


@pytest.mark.parametrize(("written", "stored"), SPELLINGS)
def test_a_quantity_is_written_as_the_api_server_stores_it(written: str, stored: str) -> None:
    assert canonical(written) == stored


quantities = st.builds(
    lambda number, suffix: f"{number}{suffix}",
    st.one_of(st.integers(0, 10**7).map(str), st.decimals(0, 10**6, places=4).map(str)),
    st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi"]),
)


@given(quantities)
def test_the_spelling_of_a_spelling_is_itself(written: str) -> None:
    once = canonical(written)

    assert canonical(once) == once


@given(st.integers(0, 2**50))
def test_bytes_keep_their_number(size: int) -> None:
    assert whole_units(canonical_bytes(size)) == size


@given(quantities)
def test_an_amount_is_never_made_smaller_and_never_larger_by_a_thousandth(written: str) -> None:
    before, after = whole_units(f"{written}"), canonical(written)

    assert Fraction(before) <= Fraction(whole_units(after)) <= before + 1


@pytest.mark.parametrize(
    ("written", "whole"),
    [("1500m", 1), ("999m", 0), ("1Gi", 2**30), ("1e3", 1000), ("2E", 2 * 10**18), ("5u", 0), ("+3", 3), (".5", 0)],
)
def test_whole_units_are_rounded_down_in_every_spelling_that_an_api_server_has(written: str, whole: int) -> None:
    assert whole_units(written) == whole


@pytest.mark.parametrize("written", ["", "1 Gi", "-1", "Gi", "1GB", "one"])
def test_what_is_no_quantity_is_refused_with_the_way_to_write_one(written: str) -> None:
    with pytest.raises(ValueError, match="write it like 500m, 2 or 4Gi"):
        canonical(written)
