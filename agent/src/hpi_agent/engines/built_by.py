"""Write into an ONNX file which release of a runtime made it, and read it again before native code reads the rest."""

from __future__ import annotations

from typing import Final

from hpi_agent.engines.protobuf_wire import BYTES, Wire, as_span

KEY: Final = "hpi.built_by"
_METADATA: Final = 14
"""Field of `ModelProto` with the custom metadata; an entry has its key in field 1 and its value in field 2."""
_MAX_LENGTH: Final = 127
"""Longest field whose length takes one byte."""


def with_builder(onnx: bytes, builder: str) -> bytes:
    """Return the file with one more entry of custom metadata: a protobuf message may be continued at its end.

    Args:
        onnx: An ONNX file.
        builder: Such as `onnxruntime 1.31.1`, at most 100 bytes.
    """
    return onnx + _field(_METADATA, _field(1, KEY.encode()) + _field(2, builder.encode()))


def builder_of(onnx: bytes) -> str | None:
    """Return who made an ONNX file, None when it does not say.

    Raises:
        Malformed: The bytes are cut short or no ONNX file.
    """
    builder = None
    with memoryview(onnx) as data:
        wire = Wire(data)
        for number, value in wire.fields(range(len(onnx))):
            if number == _METADATA:
                entry = dict(wire.fields(as_span(value)))
                if 1 in entry and 2 in entry and wire.text(entry[1]) == KEY:
                    builder = wire.text(entry[2])
    return builder


def _field(number: int, content: bytes) -> bytes:
    if len(content) > _MAX_LENGTH:
        raise ValueError(f"a field must have at most {_MAX_LENGTH} bytes here, got {len(content)}")
    return bytes([number << 3 | BYTES, len(content)]) + content
