"""Taking a request in: its body within limits, and whether its client is still there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

from fastapi import Request

from hpi_agent.serve.outcome import ClientGone, DeadlinePassed
from hpi_core.api.v1alpha1.pipeline import Serving
from hpi_core.errors import TooLarge

T = TypeVar("T")


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Return what the work returns; a client that hangs up ends its work, wherever it waits."""
    request.state.body_read = asyncio.Event()
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone("the client hung up before its answer")
        return task.result()
    finally:
        for one in (task, watch):
            one.cancel()
        with contextlib.suppress(BaseException):
            await asyncio.gather(task, watch, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    """Return when the client hangs up; the work itself reads the body, so watching begins after it."""
    await request.state.body_read.wait()
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def read_body(request: Request, serving: Serving) -> bytes:
    """Return the body of a request.

    Raises:
        TooLarge: The body is larger than `spec.serving.limits.bodyBytes`; reading stops there.
        DeadlinePassed: It did not arrive within `spec.serving.timeouts.requestSeconds`.
        ClientGone: The client hung up.
    """
    limit = serving.limits.body_bytes
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(f"the body has {announced} bytes; at most {limit} are read (spec.serving.limits.bodyBytes)")
    try:
        body = await asyncio.wait_for(_collect(request, limit), serving.timeouts.request_seconds)
    except asyncio.TimeoutError:
        raise DeadlinePassed(
            f"the body did not arrive in {serving.timeouts.request_seconds} s (spec.serving.timeouts.requestSeconds)"
        ) from None
    request.state.body_read.set()
    return body


async def _collect(request: Request, limit: int) -> bytes:
    # One growing buffer: a body in chunks of one byte each would cost forty times its size as a list of pieces.
    body = bytearray()
    async for piece in _pieces(request):
        if len(body) + len(piece) > limit:
            raise TooLarge(f"the body has more than {limit} bytes (spec.serving.limits.bodyBytes)")
        body += piece
    return bytes(body)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("the client hung up while it sent its body")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return
