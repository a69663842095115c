"""The routes of reports and builds: what pods tell of themselves, and who of them builds."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from hpi_agent.exchange.answers import Lost, NotYours, Unknown
from hpi_agent.exchange.endpoint import json_answer, read_value
from hpi_agent.exchange.reports import (
    RESOLUTION_NAME,
    Asked,
    DecisionReport,
    FailureReport,
    Granted,
    SelfTestReport,
    Token,
    WorkloadReport,
    resolution_name,
    write,
)
from hpi_agent.exchange.roles import PodIdentity
from hpi_agent.exchange.service import Exchange
from hpi_core.errors import Refused

T = TypeVar("T")


async def workload(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Take what a pod serves."""
    report = await read_value(exchange, request, WorkloadReport)
    await _allowed(exchange.in_thread(exchange.reports.take, who, report))
    return Response(b"", 204)


async def gone(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Forget a pod that ends."""
    await exchange.in_thread(exchange.reports.gone, who.pod_uid)
    return Response(b"", 204)


async def self_test(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Take how a self-test ended."""
    report = await read_value(exchange, request, SelfTestReport)
    await _allowed(exchange.in_thread(exchange.reports.self_tested, who, report))
    return Response(b"", 204)


async def acquire(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Let a pod build, or say who does."""
    asked, name = await read_value(exchange, request, Asked), request.path_params["name"]
    if resolution_name(asked.key) != name:
        raise Refused(f"the resolution of {asked.key} is {resolution_name(asked.key)}, not {name}")
    answer = await _allowed(exchange.in_thread(exchange.builds.acquire, who, name, asked))
    return json_answer(200 if isinstance(answer, Granted) else 423, write(answer))


async def renew(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Keep the right to build."""
    token = (await read_value(exchange, request, Token)).token
    answer = await _still(exchange.in_thread(exchange.builds.renew, who, _name(request), token))
    return json_answer(200, write(answer))


async def release(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Take the right back."""
    token = (await read_value(exchange, request, Token)).token
    await exchange.in_thread(exchange.builds.release, who, _name(request), token)
    return Response(b"", 204)


async def decided(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Take what was decided."""
    report = await read_value(exchange, request, DecisionReport)
    await _still(exchange.in_thread(exchange.builds.decided, who, _name(request), report))
    return Response(b"", 204)


async def failed(exchange: Exchange, request: Request, who: PodIdentity) -> Response:
    """Take why nothing was decided."""
    report = await read_value(exchange, request, FailureReport)
    await _still(exchange.in_thread(exchange.builds.failed, who, _name(request), report))
    return Response(b"", 204)


async def _allowed(work: Awaitable[T]) -> T:
    try:
        return await work
    except Refused as error:
        raise NotYours(str(error)) from error


async def _still(work: Awaitable[T]) -> T:
    try:
        return await work
    except Refused as error:
        raise Lost(str(error)) from error


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not RESOLUTION_NAME.fullmatch(name):
        raise Unknown("no resolution")
    return name
