"""A proxy between a client and the API server that does wrong what networks and busy servers do wrong.

    with ApiProxy(cluster, cluster.client("hpi-operator")) as proxy:     # proxy.kubeconfig leads through it
        proxy.answer(asks("list", "deployments", continued=True), 500, times=1)
        proxy.cut_watches(asks("watch", "pods"))

It takes TLS off and puts it on again, and speaks to the server in the name of one user, whoever connects to it; a token
that a client sends goes on as it is. A request costs it 2.6 ms of a processor (2026-11-27, two cores at load 6), so
figures are measured without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import threading
from collections import deque
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from hpi_core.errors import Bug
from support.api_calls import ApiCall, Matches, asks, read_call
from support.api_faults import Fault, Faults, status_object
from support.control_plane.clients import Client
from support.control_plane.cluster import ControlPlane
from support.control_plane.ports import LOOPBACK

Result = TypeVar("Result")

KEPT_CALLS: Final = 200_000
START_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0
HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "host"})
"""Headers of one connection, which each side writes itself."""


class ApiProxy(Faults):
    """A running proxy, between `with` and its end."""

    def __init__(self, cluster: ControlPlane, user: Client | None = None) -> None:
        """Describe it.

        Args:
            cluster: Whose API server it stands before.
            user: In whose name it asks. None: the admin's.
        """
        super().__init__()
        self._cluster = cluster
        self._user = user or cluster.admin
        self._calls: deque[ApiCall] = deque(maxlen=KEPT_CALLS)
        self._watches: dict[int, tuple[ApiCall, web.BaseRequest, web.StreamResponse]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api-proxy", daemon=True)
        self._flowing = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it answers, with the cluster's own certificate."""
        return f"https://{LOOPBACK}:{self._port}"

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of the user that leads through the proxy."""
        return self._cluster.folder / f"proxy-{self._port}.kubeconfig"

    @property
    def client(self) -> Client:
        """The user, through the proxy: for `cluster.kubectl(…, user=proxy.client)`."""
        return replace(self._user, kubeconfig=self.kubeconfig)

    @property
    def calls(self) -> list[ApiCall]:
        """What it was asked, in order."""
        return list(self._calls)

    def mend(self) -> None:
        """Do nothing wrong any more, and let everything flow."""
        self.forget()
        self.resume()

    def hold(self) -> None:
        """Stop answering: connections are taken and stay silent, watches too, until `resume`."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def resume(self) -> None:
        """Let everything flow again, what was asked meanwhile too."""
        self._loop.call_soon_threadsafe(self._flowing.set)

    def open_watches(self, matches: Matches | None = None) -> int:
        """Return how many such watches are open, of all unless told otherwise."""
        return self._do(self._each_watch(matches or asks(), lambda request, response: _nothing()))

    def cut_watches(self, matches: Matches | None = None) -> int:
        """Cut the connection of such open watches, of all unless told otherwise; return how many there were."""
        return self._do(self._each_watch(matches or asks(), lambda request, response: _abort(request)))

    def expire_watches(self, matches: Matches | None = None) -> int:
        """End such watches as the API server does when their version is gone (410); return how many there were."""
        event = json.dumps({"type": "ERROR", "object": status_object(410, None)}).encode() + b"\n"

        async def end(request: web.BaseRequest, response: web.StreamResponse) -> None:
            await response.write(event)
            await response.write_eof()
            await _abort(request)

        return self._do(self._each_watch(matches or asks(), end))

    def __enter__(self) -> ApiProxy:
        self._thread.start()
        try:
            self._do(self._start())
        except BaseException:
            self._end()
            raise
        self._write_kubeconfig()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        if not self._thread.is_alive():
            work.close()
            raise Bug("this proxy does not run")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    async def _start(self) -> None:
        self._flowing.set()
        upstream = ssl.create_default_context(cafile=str(self._cluster.authority))
        upstream.load_cert_chain(self._user.pair.certificate, self._user.pair.key)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=upstream, limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            auto_decompress=False,
            trust_env=False,
        )
        listening = socket.create_server((LOOPBACK, 0))
        self._port = listening.getsockname()[1]
        certificates = self._cluster.folder / "certificates"
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        # A client that goes away takes its request at the server with it, as a network would.
        self._runner = web.ServerRunner(web.Server(self._serve, handler_cancellation=True), shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, listening, ssl_context=own).start()

    async def _stop(self) -> None:
        for _, request, _ in list(self._watches.values()):
            await _abort(request)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()
        # A transport that was cut is gone after the next turns of the loop.
        await asyncio.sleep(0.01)

    async def _each_watch(self, matches: Matches, act: Any) -> int:
        chosen = [(request, response) for call, request, response in self._watches.values() if matches(call)]
        for request, response in chosen:
            await act(request, response)
        return len(chosen)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        call = read_call(request.method, request.path_qs, request.headers.get("User-Agent", ""))
        self._calls.append(call)
        fault = self.fault_of(call)
        if fault is not None:
            await asyncio.sleep(fault.delay_seconds)
            if fault.refuse:
                return await _abort(request)
            if fault.status is not None:
                return _error(fault)
        await self._flowing.wait()
        try:
            return await self._pass_on(request, call, fault)
        except (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError):
            # The server is away, or one of the two left in the middle: the other is left alone too.
            return await _abort(request)

    async def _pass_on(self, request: web.BaseRequest, call: ApiCall, fault: Fault | None) -> web.StreamResponse:
        if self._session is None:
            raise Bug("this proxy does not run")
        asked = self._session.request(
            request.method,
            # The path goes on as it came, percent signs included.
            URL(self._cluster.url + request.raw_path, encoded=True),
            headers=[(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP],
            data=request.content if request.body_exists else None,
            allow_redirects=False,
        )
        async with asked as answer:
            try:
                if fault is not None and fault.lose:
                    await answer.read()
                    return await _abort(request)
                return await self._relay(request, call, answer, fault)
            finally:
                self._watches.pop(id(request), None)
                # An answer that was not read to its end takes its connection with it.
                if answer.connection is not None and answer.connection.transport is not None:
                    answer.connection.transport.abort()

    async def _relay(
        self, request: web.BaseRequest, call: ApiCall, answer: aiohttp.ClientResponse, fault: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP:
                response.headers.add(name, value)
        await response.prepare(request)
        if call.verb == "watch":
            self._watches[id(request)] = call, request, response
        left = None if fault is None else fault.cut_after_bytes
        async for piece in answer.content.iter_any():
            await self._flowing.wait()
            if left is not None and len(piece) >= left:
                await response.write(piece[:left])
                return await _abort(request)
            left = None if left is None else left - len(piece)
            await response.write(piece)
        await response.write_eof()
        return response

    def _write_kubeconfig(self) -> None:
        document = yaml.safe_load(self._user.kubeconfig.read_text(encoding="utf-8"))
        document["clusters"][0]["cluster"]["server"] = self.url
        with os.fdopen(os.open(self.kubeconfig, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
            yaml.safe_dump(document, stream)


async def _nothing() -> None:
    return None


async def _abort(request: web.BaseRequest) -> web.StreamResponse:
    """Cut a connection: what was written before arrives, then it is reset."""
    if request.transport is not None:
        with contextlib.suppress(OSError):
            request.transport.abort()
    return web.Response()


def _error(fault: Fault) -> web.Response:
    headers = {} if fault.retry_after_seconds is None else {"Retry-After": str(fault.retry_after_seconds)}
    return web.json_response(
        status_object(fault.status or 500, fault.retry_after_seconds), status=fault.status or 500, headers=headers
    )
