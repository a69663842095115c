"""Frames between server and worker."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from hpi_agent.processes.frames import (
    LENGTHS,
    MAX_HEADER_BYTES,
    BlockingChannel,
    check_lengths,
    pack_tensors,
    unpack_tensors,
)
from hpi_agent.serve.channel import StreamChannel
from hpi_core.errors import Bug

headers = st.dictionaries(st.text(max_size=8), st.integers(0, 2**53) | st.text(max_size=20) | st.none(), max_size=5)
payloads = st.lists(st.binary(max_size=200), max_size=4)


@given(headers, payloads)
def test_what_one_end_sends_the_other_receives(header: dict[str, Any], buffers: list[bytes]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        BlockingChannel(ours).send(header, buffers)

        frame = BlockingChannel(theirs).receive()

    assert frame is not None
    assert frame.header == header
    assert bytes(frame.payload) == b"".join(buffers)


def test_a_payload_larger_than_the_socket_buffer_arrives_whole() -> None:
    ours, theirs = socket.socketpair()
    payload = bytes(range(256)) * 40_000
    with ours, theirs:
        sender = threading.Thread(target=BlockingChannel(ours).send, args=({"a": 1}, [payload]))
        sender.start()

        frame = BlockingChannel(theirs).receive()
        sender.join()

    assert frame is not None
    assert bytes(frame.payload) == payload


@pytest.mark.parametrize("cut", [0, 5, LENGTHS.size, LENGTHS.size + 3], ids=["nothing", "lengths", "header", "inside"])
def test_a_peer_that_goes_away_is_the_end_of_the_stream(cut: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall((LENGTHS.pack(7, 100) + b'{"a":1}')[:cut])

        assert BlockingChannel(theirs).receive() is None


def test_a_length_out_of_bounds_is_a_bug_and_allocates_nothing() -> None:
    assert check_lengths(LENGTHS.pack(MAX_HEADER_BYTES, 0)) == (MAX_HEADER_BYTES, 0)

    with pytest.raises(Bug, match="announces"):
        check_lengths(LENGTHS.pack(MAX_HEADER_BYTES + 1, 0))
    with pytest.raises(Bug, match="announces"):
        check_lengths(LENGTHS.pack(2, 2**63))


def test_the_event_loops_end_speaks_the_same_frames() -> None:
    async def exchange() -> tuple[Any, Any]:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        with ours:
            channel = await StreamChannel.open(theirs)
            await channel.send({"question": 1}, [b"abc", memoryview(b"def")])
            received = await asyncio.to_thread(BlockingChannel(ours).receive)
            await asyncio.to_thread(BlockingChannel(ours).send, {"answer": 2}, [b"xyz"])
            answered = await channel.receive()
            channel.close()
        return received, answered

    received, answered = asyncio.run(exchange())

    assert (received.header, bytes(received.payload)) == ({"question": 1}, b"abcdef")
    assert (answered.header, bytes(answered.payload)) == ({"answer": 2}, b"xyz")


@given(
    st.dictionaries(
        st.text(max_size=5),
        npst.arrays(st.sampled_from(["float32", "int64", "uint8", "bool"]), npst.array_shapes(min_dims=0, max_side=3)),
        max_size=3,
    )
)
def test_packed_tensors_unpack_to_the_same(arrays: dict[str, NDArray[Any]]) -> None:
    described, buffers = pack_tensors(arrays)

    found = unpack_tensors(described, memoryview(b"".join(buffers)))

    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
