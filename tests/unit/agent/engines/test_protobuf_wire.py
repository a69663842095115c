from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.engines.protobuf_wire import Malformed, Wire, as_integer, as_span


def fields(data: bytes, budget: int = 100) -> list[tuple[int, int | range]]:
    return list(Wire(memoryview(data), budget).fields(range(len(data))))


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded + bytes([value]))


def test_the_four_kinds_of_field_are_read() -> None:
    data = b"\x08\x96\x01" + b"\x12\x02ab" + b"\x1d\x01\x00\x00\x00" + b"\x21" + bytes([2] + [0] * 7)

    assert fields(data) == [(1, 150), (2, range(5, 7)), (3, 1), (4, 2)]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 2**29 - 1))
def test_signed_integers_survive(value: int, number: int) -> None:
    [(got_number, got)] = fields(varint(number << 3) + varint(value))

    assert (got_number, as_integer(got)) == (number, value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x08", "ends inside a field"),
        (b"\x08\x80", "ends inside a field"),
        (b"\x12\x05ab", "5 bytes are announced at byte 2, 2 are there"),
        (b"\x1d\x01\x00", "4 bytes are announced"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "more than 10 bytes"),
        (b"\x0b", "wire type 3"),
        (b"\x02\x00", "field number 0"),
        (b"\x12" + b"\xff" * 9 + b"\x01", "bytes are announced"),
    ],
)
def test_what_is_no_message_is_told(data: bytes, text: str) -> None:
    with pytest.raises(Malformed, match=text):
        fields(data)


def test_fields_are_counted_over_the_whole_file() -> None:
    data = b"\x08\x01" * 3

    assert len(fields(data, budget=3)) == 3
    with pytest.raises(Malformed, match="more than"):
        fields(data, budget=2)


def test_a_message_where_a_number_belongs_is_told() -> None:
    with pytest.raises(Malformed, match="bytes stand where an integer"):
        as_integer(range(2))
    with pytest.raises(Malformed, match="an integer stands where"):
        as_span(2)


def test_text_that_is_not_utf8_is_told() -> None:
    with pytest.raises(Malformed, match="at byte 0 is not UTF-8"):
        Wire(memoryview(b"\xff\xfe")).text(range(2))
