"""The routes of entries and decisions: what a tenant has in the node's cache, and what it brings."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from hpi_agent.exchange.answers import Unknown, body_of
from hpi_agent.exchange.blob_answer import BlobAnswer, OutOfRange, span_of
from hpi_agent.exchange.endpoint import json_answer, read_body, read_value
from hpi_agent.exchange.listing import EntryListing
from hpi_agent.exchange.plain_json import plain
from hpi_agent.exchange.reports import write
from hpi_agent.exchange.roles import PodIdentity
from hpi_agent.exchange.service import Exchange
from hpi_agent.exchange.staging import Incoming
from hpi_core.digest import PREFIX
from hpi_core.errors import HpiError, InvalidManifest, Refused

TAKE_IN_BYTES: Final = 2**20
"""Pieces of an upload are gathered up to this size before a thread writes them."""
DRAINED_BYTES: Final = 64 * 2**20
"""Most that is read of a refused upload, so that its sender finds the answer and not a closed connection."""

_DIGITS: Final = re.compile(r"[0-9a-f]{64}")


class LengthRequired(Refused):
    """An upload does not say how long it is."""


async def listing(kind: str, exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Tell what an entry is."""
    opened = exchange.cache.opened(exchange.tenant(who), kind, _key(request))
    async with exchange.held(opened) as found:
        if found is None:
            raise Unknown("no such entry")
        return json_answer(200, write(found[1]))


async def publish(kind: str, exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Make an entry of what was sent."""
    listing = await read_value(exchange, request, EntryListing)
    made = await exchange.in_thread(exchange.cache.publish, exchange.tenant(who), kind, _key(request), listing)
    exchange.full = None
    return json_answer(201 if made else 200, json.dumps({"digest": listing.content_digest}).encode())


async def blob(kind: str, exchange: Exchange, request: Request, who: PodIdentity) -> Response | BlobAnswer:
    """Give one file of an entry."""
    digest = PREFIX + _checked(request.path_params["blob"])
    opened = exchange.cache.opened(exchange.tenant(who), kind, _key(request))
    found = await request.state.stack.enter_async_context(exchange.held(opened))
    name = None
    if found is not None:
        name = next((one for one, seal in found[0].files.items() if seal.digest == digest), None)
    if found is None or name is None:
        raise Unknown("no such blob")
    seal = found[0].files[name]
    try:
        span = span_of(request.headers.get("range"), seal.size_bytes)
    except OutOfRange as error:
        return Response(body_of(error), 416, {"Content-Range": f"bytes */{seal.size_bytes}"}, "application/json")
    return BlobAnswer(found[0], name, seal, span, exchange.limits, exchange.in_thread)


async def upload(kind: str, exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Take one file of an entry."""
    digest, key = PREFIX + _checked(request.path_params["blob"]), _key(request)
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        return Response(body_of(LengthRequired("an upload says how long it is: Content-Length")), 411)
    try:
        return await _received(exchange, request, who, (kind, key, digest, int(length)))
    except HpiError:
        await _drain(exchange, request)
        raise


async def _received(
    exchange: Exchange, request: Request, who: PodIdentity, blob: tuple[str, str, str, int]
) -> Response:
    kind, key, digest, size_bytes = blob
    tenant = exchange.tenant(who)
    async with exchange.uploads_of(who):
        receiving = exchange.cache.staging.receive(tenant.key(kind, key), tenant.to_json(), digest, size_bytes)
        async with exchange.held(receiving) as incoming:
            if incoming is None:
                # It is there.
                await _drain(exchange, request)
                return Response(b"", 200, {"Connection": "close"})
            await asyncio.wait_for(_take_in(exchange, request, incoming), exchange.limits.blob_seconds(size_bytes))
            await exchange.in_thread(incoming.finish)
    return Response(b"", 201)


async def _drain(exchange: Exchange, request: Request) -> None:
    async def read() -> None:
        left = DRAINED_BYTES
        async for piece in request.stream():
            left -= len(piece)
            if left < 0:
                return

    # What was taken in already cannot be read again, which Starlette says by a RuntimeError.
    with contextlib.suppress(asyncio.TimeoutError, RuntimeError):
        await asyncio.wait_for(read(), exchange.limits.body_seconds)


async def _take_in(exchange: Exchange, request: Request, incoming: Incoming) -> None:
    gathered = bytearray()
    pieces = request.stream()
    try:
        while True:
            piece = await asyncio.wait_for(anext(pieces), exchange.limits.silence_seconds)
            gathered += piece
            if len(gathered) >= TAKE_IN_BYTES:
                await exchange.in_thread(incoming.write, bytes(gathered))
                gathered.clear()
    except StopAsyncIteration:
        await exchange.in_thread(incoming.write, bytes(gathered))


async def decision(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Tell what was decided."""
    found = await exchange.in_thread(exchange.cache.decision, exchange.tenant(who), _key(request))
    if found is None:
        raise Unknown("no such decision")
    return json_answer(200, json.dumps(found).encode())


async def keep_decision(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Remember what was decided."""
    document = _object(await read_body(exchange, request))
    is_new = await exchange.in_thread(exchange.cache.keep_decision, exchange.tenant(who), _key(request), document)
    exchange.full = None
    return Response(b"", 201 if is_new else 200)


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError(f"it must be an object, got {type(document).__name__}")
        return plain(document)
    except (ValueError, RecursionError) as error:
        raise InvalidManifest("decision", [str(error)]) from error


def _key(request: Request) -> str:
    return PREFIX + _checked(request.path_params["digits"])


def _checked(digits: str) -> str:
    if not _DIGITS.fullmatch(digits):
        raise Unknown("no key")
    return digits
