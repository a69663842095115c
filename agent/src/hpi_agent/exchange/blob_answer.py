"""The bytes of one file of an entry as an HTTP answer, digested while they pass.

The last piece goes out when the digest of all is known: of a file that is damaged on the node's disk nobody ever gets
the whole, and the entry goes into quarantine.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from hpi_agent.exchange.limits import Limits
from hpi_agent.store.directory import Entry
from hpi_agent.store.manifest import Seal
from hpi_core.digest import PREFIX
from hpi_core.errors import Refused

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
InThread = Callable[..., Awaitable[Any]]

PIECE_BYTES: Final = 2**20

_RANGE: Final = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})")

log: Final = logging.getLogger(__name__)


class OutOfRange(Refused):
    """The range begins behind the end."""


@dataclass(frozen=True)
class Span:
    """Which bytes were asked for: `begin` up to `end`, exclusive."""

    begin: int
    end: int
    is_partial: bool


def span_of(header: str | None, size_bytes: int) -> Span:
    """Return what a Range header asks for; one that is not understood asks for everything (RFC 9110, 14.2).

    Raises:
        OutOfRange: It begins behind the end.
    """
    matched = None if header is None else _RANGE.fullmatch(header.strip())
    if matched is None:
        return Span(0, size_bytes, is_partial=False)
    begin = int(matched[1])
    last = int(matched[2]) if matched[2] else size_bytes - 1
    if last < begin and matched[2]:
        return Span(0, size_bytes, is_partial=False)
    if begin >= size_bytes:
        raise OutOfRange(f"the blob has {size_bytes} bytes, the range begins at {begin}")
    return Span(begin, min(last + 1, size_bytes), is_partial=True)


@dataclass(frozen=True)
class BlobAnswer:
    """One answer.

    Attributes:
        entry: In use until the answer is over.
        name: Of the file.
        seal: Its digest and size.
        span: Which bytes.
        limits: How slow the reader may be.
        in_thread: Runs what blocks.
    """

    entry: Entry
    name: str
    seal: Seal
    span: Span
    limits: Limits
    in_thread: InThread

    async def send(self, send: Send) -> None:
        """Send head and body.

        Raises:
            Damaged: The file cannot be had, before anything was sent.
        """
        descriptor = await self.in_thread(self.entry.open_file, self.name)
        try:
            await send({"type": "http.response.start", "status": 206 if self.span.is_partial else 200, **self._head()})
            await asyncio.wait_for(self._body(descriptor, send), self.limits.blob_seconds(self._size_bytes))
        except asyncio.TimeoutError:
            log.warning("a blob was given up: its reader is too slow", extra={"digest": self.seal.digest})
        finally:
            os.close(descriptor)

    @property
    def _size_bytes(self) -> int:
        return self.span.end - self.span.begin

    def _head(self) -> dict[str, Any]:
        headers = [
            (b"content-type", b"application/octet-stream"),
            (b"content-length", str(self._size_bytes).encode()),
            (b"accept-ranges", b"bytes"),
            (b"etag", f'"{self.seal.digest}"'.encode()),
        ]
        if self.span.is_partial:
            shown = f"bytes {self.span.begin}-{self.span.end - 1}/{self.seal.size_bytes}"
            headers.append((b"content-range", shown.encode()))
        return {"headers": headers}

    async def _body(self, descriptor: int, send: Send) -> None:
        state = hashlib.sha256()
        whole = not self.span.is_partial
        at, held = self.span.begin, b""
        while at < self.span.end:
            piece = await self.in_thread(_read, descriptor, min(PIECE_BYTES, self.span.end - at), at, state)
            if not piece:
                break
            if held:
                await send({"type": "http.response.body", "body": held, "more_body": True})
            at, held = at + len(piece), piece
        seen = PREFIX + state.hexdigest()
        if at < self.span.end or (whole and seen != self.seal.digest):
            problem = f"{self.name} has {seen}, the manifest says {self.seal.digest}"
            # The connection is cut by the missing end: a head that was sent cannot be taken back.
            log.warning("%s", await self.in_thread(self.entry.discard, problem))
            return
        await send({"type": "http.response.body", "body": held, "more_body": False})


def _read(descriptor: int, size_bytes: int, at: int, state: Any) -> bytes:
    piece = os.pread(descriptor, size_bytes, at)
    state.update(piece)
    return piece
