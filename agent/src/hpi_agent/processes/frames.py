"""Frames between a process and its child: a JSON header and raw bytes, over one Unix socket pair.

Written by ourselves because `multiprocessing` pickles what it sends, and nothing here may be unpickled. Layout of one
frame: 4 bytes header length, 8 bytes payload length (both big-endian), the header as JSON, the payload. It needs numpy
and the standard library alone: children run in environments that have little more.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_core.errors import Bug

LENGTHS: Final = struct.Struct(">IQ")
MAX_HEADER_BYTES: Final = 16 * 2**20
MAX_PAYLOAD_BYTES: Final = 2**33
"""Both bounds only stop a broken peer from asking for absurd memory; requests are bounded long before. Unit: bytes."""

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Frame:
    """One message."""

    header: dict[str, Any]
    payload: memoryview


def encode(header: dict[str, Any], buffers: Sequence[Buffer] = ()) -> list[Buffer]:
    """Return the pieces of one frame, to be written one after the other; no buffer is copied."""
    text = json.dumps(header, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    views = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
    return [LENGTHS.pack(len(text), sum(view.nbytes for view in views)) + text, *views]


def check_lengths(prefix: Buffer) -> tuple[int, int]:
    """Return header and payload length of a frame from its first 12 bytes.

    Raises:
        Bug: A length is out of bounds: the peer does not speak this protocol.
    """
    header, payload = LENGTHS.unpack(prefix)
    if header > MAX_HEADER_BYTES or payload > MAX_PAYLOAD_BYTES:
        raise Bug(f"a frame announces {header} + {payload} bytes; at most {MAX_HEADER_BYTES} + {MAX_PAYLOAD_BYTES}")
    return header, payload


def pack_tensors(arrays: Mapping[str, NDArray[Any]]) -> tuple[list[dict[str, Any]], list[Buffer]]:
    """Return what a header says of named arrays, and their bytes as a payload; contiguous arrays are not copied."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    described = [
        {"name": name, "dtype": array.dtype.name, "shape": list(arrays[name].shape), "bytes": array.nbytes}
        for name, array in whole.items()
    ]
    # A zero-dimensional array has no view of bytes; flattening gives it one without copying.
    return described, [array.reshape(-1).view(np.uint8).data for array in whole.values()]


def unpack_tensors(described: Sequence[Mapping[str, Any]], payload: memoryview) -> dict[str, NDArray[Any]]:
    """Return the arrays that `pack_tensors` was given; they share the memory of the payload."""
    arrays: dict[str, NDArray[Any]] = {}
    offset = 0
    for tensor in described:
        end = offset + tensor["bytes"]
        array = np.frombuffer(payload[offset:end], dtype=tensor["dtype"])
        arrays[tensor["name"]] = array.reshape(tensor["shape"])
        offset = end
    return arrays


class BlockingChannel:
    """The end of a process without an event loop: one thread reads, any thread writes."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._writing = threading.Lock()

    def send(self, header: dict[str, Any], buffers: Sequence[Buffer] = ()) -> None:
        """Write one frame.

        Raises:
            OSError: The peer is gone.
        """
        pieces = encode(header, buffers)
        with self._writing:
            for piece in pieces:
                self._socket.sendall(piece)

    def receive(self) -> Frame | None:
        """Return the next frame, or None when the peer has closed its end."""
        prefix = self._read(LENGTHS.size)
        if prefix is None:
            return None
        header_length, payload_length = check_lengths(prefix)
        header = self._read(header_length)
        payload = self._read(payload_length)
        if header is None or payload is None:
            return None
        return Frame(json.loads(bytes(header)), payload)

    def _read(self, count: int) -> memoryview | None:
        view = memoryview(bytearray(count))
        done = 0
        while done < count:
            received = self._socket.recv_into(view[done:])
            if received == 0:
                return None
            done += received
        return view
