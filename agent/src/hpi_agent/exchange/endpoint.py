"""One route as an ASGI application: who asks, within which limits, what was sent, and what an error is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hpi_agent.exchange.answers import body_of, headers_of, status_of
from hpi_agent.exchange.blob_answer import BlobAnswer
from hpi_agent.exchange.reports import MAX_JSON_BYTES, read
from hpi_agent.exchange.roles import PodIdentity
from hpi_agent.exchange.service import Exchange
from hpi_agent.exchange.staging import is_full
from hpi_core.api.base import ApiModel
from hpi_core.errors import HpiError, Retry, Stop, TooLarge

Value = TypeVar("Value", bound=ApiModel)

Work = Callable[[Exchange, Request, PodIdentity], Awaitable[Response | BlobAnswer]]
"""What is done for a request whose pod is known."""

log: Final = logging.getLogger(__name__)


class Endpoint:
    """One route as an ASGI application: who asks, within which limits, and what an error is."""

    def __init__(self, exchange: Exchange, work: Work, *, is_upload: bool) -> None:
        self._exchange = exchange
        self._work = work
        self._is_upload = is_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        async with AsyncExitStack() as stack:
            # What an answer is read from is in use until the answer is over.
            request.state.stack = stack
            try:
                answer = await self._answer(request, stack)
                if isinstance(answer, BlobAnswer):
                    await answer.send(send)
                    return
            except HpiError as error:
                answer = self._refused(error)
            except ClientDisconnect:
                return
            except asyncio.TimeoutError:
                answer = self._refused(Retry("the request took too long and was given up; try again"))
            await answer(scope, receive, send)

    async def _answer(self, request: Request, stack: AsyncExitStack) -> Response | BlobAnswer:
        seconds = self._exchange.limits.answer_seconds
        who = await asyncio.wait_for(self._exchange.known(request.headers.get("authorization", "")), seconds)
        await stack.enter_async_context(self._exchange.requests_of(who))
        work = self._work(self._exchange, request, who)
        # Uploads have limits of their own, which grow with their size.
        return await (work if self._is_upload else asyncio.wait_for(work, seconds))

    def _refused(self, error: HpiError) -> Response:
        if isinstance(error, Stop):
            if is_full(error):
                self._exchange.full = str(error)
            log.warning("%s", error)
        answer = refusal(error)
        # What is left of a body that was not read would be taken for the next request.
        answer.headers["Connection"] = "close"
        return answer


async def read_value(exchange: Exchange, request: Request, kind: type[Value]) -> Value:
    """Return what was sent.

    Raises:
        InvalidManifest: It is no such value.
        TooLarge: It has more bytes than a JSON body may have.
        asyncio.TimeoutError: It does not come.
    """
    return read(kind, await read_body(exchange, request))


async def read_body(exchange: Exchange, request: Request) -> bytes:
    """Return the bytes of a JSON body.

    Raises:
        TooLarge: It has more than one may have.
        asyncio.TimeoutError: It does not come.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > MAX_JSON_BYTES:
        raise TooLarge(f"the body has {announced} bytes; at most {MAX_JSON_BYTES} are read")
    return await asyncio.wait_for(_collect(request), exchange.limits.body_seconds)


async def _collect(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        if len(body) + len(piece) > MAX_JSON_BYTES:
            raise TooLarge(f"the body has more than {MAX_JSON_BYTES} bytes")
        body += piece
    return bytes(body)


def refusal(error: HpiError) -> Response:
    """Return the answer that tells of an error."""
    return Response(body_of(error), status_of(error), headers_of(error), "application/json")


def json_answer(status: int, body: bytes) -> Response:
    """Return an answer with a body in JSON."""
    return Response(body, status, media_type="application/json")
