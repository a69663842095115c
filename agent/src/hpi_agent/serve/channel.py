"""The server's end of the frames between it and its worker, on an event loop."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Sequence
from typing import Any

from hpi_agent.processes.frames import LENGTHS, Buffer, Frame, check_lengths, encode


class StreamChannel:
    """The server's end, on an event loop; one task reads, writes are serialised by the caller."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, connection: socket.socket) -> StreamChannel:
        """Return a channel over a connected socket."""
        reader, writer = await asyncio.open_connection(sock=connection, limit=2**20)
        return cls(reader, writer)

    async def send(self, header: dict[str, Any], buffers: Sequence[Buffer] = ()) -> None:
        """Write one frame.

        Raises:
            OSError: The peer is gone.
        """
        for piece in encode(header, buffers):
            self._writer.write(piece)
        await self._writer.drain()

    async def receive(self) -> Frame | None:
        """Return the next frame, or None when the peer is gone."""
        try:
            lengths = check_lengths(await self._reader.readexactly(LENGTHS.size))
            header = await self._reader.readexactly(lengths[0])
            payload = await self._reader.readexactly(lengths[1])
        except (asyncio.IncompleteReadError, OSError):
            return None
        return Frame(json.loads(header), memoryview(payload))

    def close(self) -> None:
        """Close this end; the peer reads the end of the stream."""
        self._writer.close()
