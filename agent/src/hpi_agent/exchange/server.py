"""The HTTP server of an agent, in a thread of its own; the only importer of uvicorn on this side."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hpi_agent.exchange.app import create_app
from hpi_agent.exchange.service import Exchange
from hpi_core.errors import Stop

MAX_HEAD_BYTES: Final = 32_768
"""Most bytes of a request line and its headers together: a token has about a thousand."""

STOP_SECONDS: Final = 5
START_SECONDS: Final = 30.0


class ExchangeServer:
    """Serves pods until it is stopped."""

    def __init__(self, exchange: Exchange, listening: socket.socket) -> None:
        """Prepare.

        Args:
            exchange: What the routes share; closed with the server.
            listening: From `socket.create_server`.
        """
        self._exchange = exchange
        self._listening = listening
        limits = exchange.limits
        self._server = _Server(
            uvicorn.Config(
                create_app(exchange),
                log_config=None,
                access_log=False,
                server_header=False,
                # It would have to be made anew each second.
                date_header=False,
                ws="none",
                lifespan="off",
                # h11 bounds the bytes of a request's head; ours bounds its time, too.
                http=partial(_HeadInTime, head_seconds=limits.head_seconds),  # type: ignore[arg-type]
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                # uvicorn counts the connection itself: the one that is one too many is answered 503.
                limit_concurrency=limits.connections + 1,
                timeout_keep_alive=limits.idle_seconds,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._run, name="exchange-server", daemon=True)
        self._ended: BaseException | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listening.getsockname()[1]
        return port

    @property
    def is_serving(self) -> bool:
        """Whether its thread lives."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin, and return when it answers.

        Raises:
            Stop: It could not begin.
        """
        self._thread.start()
        if not self._server.answering.wait(START_SECONDS) or not self._thread.is_alive():
            raise Stop(f"the server for pods did not begin: {self._ended or 'it takes too long'}")

    def stop(self) -> None:
        """End, after what is in service or some seconds."""
        self._server.end()
        self._thread.join(STOP_SECONDS * 2)
        self._exchange.close()
        self._listening.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._listening]))
        except BaseException as error:
            self._ended = error
            raise
        finally:
            self._server.answering.set()


class _Server(uvicorn.Server):
    """uvicorn without its handlers of signals: the program around has its own, and this is not its main thread."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn looks ten times a second whether it has come, which costs 2 millicores at rest."""
        await self.on_tick(0)
        await self._end.wait()

    def end(self) -> None:
        """End, from any thread; a second time does nothing."""
        self.should_exit = True
        if self._loop is not None:
            # The loop may be over already.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._end.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        await super().startup(sockets)
        self.answering.set()


class _HeadInTime(H11Protocol):
    """uvicorn's protocol, which ends a connection whose request's head takes too long; uvicorn waits for ever."""

    def __init__(self, *arguments: Any, head_seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head_seconds = head_seconds
        self._head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a head."""
        super().connection_made(transport)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_expecting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Expect the rest of a head that has begun."""
        super().data_received(data)
        # Idle: between two requests, of which the next has begun and is not whole.
        if self.conn.their_state is h11.IDLE:
            if self._head is None:
                self._expect()
        else:
            self._stop_expecting()

    def _expect(self) -> None:
        self._head = self.loop.call_later(self._head_seconds, self.transport.close)

    def _stop_expecting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None
