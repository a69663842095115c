"""Walk a protobuf message by its wire format, without a schema and without copying what is skipped.

Source:
    The protocol buffers encoding guide, https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_FIELDS: Final = 5_000_000
"""Fields read of one file. The recogniser of PP-OCRv6 has about 20,000; a file of tiny fields would take hours."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES: Final = {FIXED64: 8, FIXED32: 4}
_MAX_VARINT_BITS: Final = 70


class Malformed(ValueError):
    """The bytes are not a protobuf message."""


@dataclass
class Wire:
    """The reader of one file, and how many fields it may still read.

    Attributes:
        data: The whole file.
        budget: Fields left.
    """

    data: memoryview
    budget: int = MAX_FIELDS

    def fields(self, span: range) -> Iterator[tuple[int, int | range]]:
        """Yield the number and the value of every field of the message in `data[span.start:span.stop]`.

        A value is an integer (all fixed sizes and varints, unsigned) or, for bytes, text and messages, the span they
        take in `data`.

        Raises:
            Malformed: A field does not end inside its message, or the file has too many.
        """
        data, position, end = self.data, span.start, span.stop
        while position < end:
            self.budget -= 1
            if self.budget < 0:
                raise Malformed(f"it has more than {MAX_FIELDS} fields")
            # Most tags and lengths are one byte, and a call for each would be a third of the time.
            tag = data[position]
            if tag < 0x80:
                position += 1
            else:
                tag, position = self._varint(position, end)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise Malformed(f"field number 0 before byte {position}")
            if kind == VARINT:
                value, position = self._varint(position, end)
                yield number, value
            elif kind == BYTES:
                if position < end and data[position] < 0x80:
                    start = position + 1
                    position = start + data[position]
                else:
                    length, start = self._varint(position, end)
                    position = start + length
                if position > end:
                    raise Malformed(f"{position - start} bytes are announced at byte {start}, {end - start} are there")
                yield number, range(start, position)
            elif kind in _FIXED_SIZES:
                size = _FIXED_SIZES[kind]
                position = self._forward(position, size, end)
                yield number, int.from_bytes(self.data[position - size : position], "little")
            else:
                raise Malformed(f"wire type {kind} before byte {position}")

    def text(self, value: int | range) -> str:
        """Return a field as text.

        Raises:
            Malformed: It is an integer, or not UTF-8.
        """
        span = as_span(value)
        try:
            return bytes(self.data[span.start : span.stop]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise Malformed(f"text at byte {span.start} is not UTF-8") from error

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, _MAX_VARINT_BITS, 7):
            if position >= end:
                raise Malformed(f"it ends inside a field, at byte {position}")
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), position
        raise Malformed(f"an integer of more than 10 bytes ends at byte {position}")

    def _forward(self, position: int, size: int, end: int) -> int:
        if size > end - position:
            raise Malformed(f"{size} bytes are announced at byte {position}, {end - position} are there")
        return position + size


def as_span(value: int | range) -> range:
    """Return the span of a bytes field.

    Raises:
        Malformed: The field is an integer.
    """
    if isinstance(value, int):
        raise Malformed("an integer stands where a message or text is expected")
    return value


def as_integer(value: int | range) -> int:
    """Return an integer field, read as signed 64-bit.

    Raises:
        Malformed: The field is not an integer.
    """
    if not isinstance(value, int):
        raise Malformed("bytes stand where an integer is expected")
    return value - 2**64 if value >= 2**63 else value
