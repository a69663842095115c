"""One server: the HTTP face, the supervisor of the worker, and what people and programs are told about both."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from hpi_agent.serve.app import Serve, create_app
from hpi_agent.serve.background_build import BackgroundBuild, BuildCommand
from hpi_agent.serve.metrics import Metrics
from hpi_agent.serve.process import Worker, WorkerCommand
from hpi_agent.serve.reporter import Reporter, Reporting
from hpi_agent.serve.supervisor import Supervisor
from hpi_core.api.v1alpha1.pipeline import Serving
from hpi_core.errors import Stop

MAX_HEAD_BYTES: Final = 65_536
"""Most bytes of a request line and its headers together."""

Announce = Callable[[str, dict[str, Any]], None]
"""Tells people and programs of one event: its name and its facts."""


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int
    """0 takes any free port."""


def bind(address: Address) -> socket.socket:
    """Return a listening socket; requests that come before a worker is ready wait or are told to come back.

    Raises:
        Stop: The address cannot be used.
    """
    try:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        return socket.create_server((address.host, address.port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise Stop(
            f"cannot listen on {address.host} port {address.port}: {error}; choose another with --port"
        ) from error


@dataclass(frozen=True)
class Setup:
    """Everything that one server is made of."""

    listening: socket.socket
    """From `bind`."""
    first: Worker
    """The first worker, already loading."""
    command: WorkerCommand
    """How it is replaced."""
    serving: Serving
    visualize: bool
    """Whether answers carry pictures when a request does not say."""
    announce: Announce
    """Receives `ready` and `engines` (with the engines), `building`, `built`, `kept`, `replaced`, `agent` and
    `draining`."""
    build: BuildCommand | None = None
    """How engines are built beside the server; None builds nothing."""
    reporting: Reporting | None = None
    """Whom it reports to; None: there is no agent."""


def run_server(setup: Setup) -> int:
    """Serve until SIGTERM or SIGINT, then drain; return the exit code.

    Raises:
        Stop: The first worker could not start.
    """
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        code: int = loop.run_until_complete(_serve(setup))
        return code
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _serve(setup: Setup) -> int:
    metrics = Metrics()
    serving, announce = setup.serving, setup.announce

    builder = None if setup.build is None else BackgroundBuild(setup.build, announce)
    building: list[asyncio.Task[None]] = []
    reporter = None
    if setup.reporting is not None:
        metrics.watch_agent()
        reporter = Reporter(setup.reporting, agent_changed(announce, metrics), metrics.count_report)

    def show(description: dict[str, Any]) -> None:
        if reporter is not None:
            # Before the first look a builder is about to begin.
            is_building = builder is not None and not (building and building[0].done())
            reporter.show(description, is_building=is_building)
        serve.description = description
        serve.models = {model["name"]: model for model in description["models"]}
        metrics.show_engines(description["models"])

    def ready(description: dict[str, Any]) -> None:
        show(description)
        announce("ready", description)
        # One builder for the life of the server: a worker that is replaced finds what it has published.
        if builder is not None and not building:
            building.append(asyncio.create_task(builder.run(description)))
            if reporter is not None:
                building[0].add_done_callback(lambda _: reporter.built())

    def told(event: dict[str, Any]) -> None:
        name = event.pop("event")
        if name == "engines":
            show({key: value for key, value in event.items() if key != "changed"})
        announce(name, event)

    def restarted() -> None:
        metrics.restarts.inc()
        announce("replaced", {"restarts": supervisor.restarts})

    supervisor = Supervisor(
        setup.command, serving.queue.length, serving.timeouts.request_seconds, ready, restarted, told
    )
    serve = Serve(supervisor, serving, setup.visualize, metrics, agent=None if reporter is None else reporter.describe)

    def draining() -> None:
        # What is being built serves nobody any more; the requests that are left get the cores.
        if builder is not None:
            builder.end()
        announce("draining", {"requests": supervisor.waiting + supervisor.in_service})

    server = _DrainingServer(create_app(serve), serving.timeouts.drain_seconds, draining)
    workers = asyncio.create_task(supervisor.run(setup.first))
    workers.add_done_callback(lambda _: server.stop())
    reports = None if reporter is None else asyncio.create_task(reporter.run())
    try:
        await server.serve(sockets=[setup.listening])
    finally:
        if builder is not None:
            builder.end()
        for task in building:
            task.cancel()
        # Each waits for the end of its builder.
        await asyncio.gather(*building, return_exceptions=True)
        await supervisor.close(workers)
        if reporter is not None and reports is not None:
            reports.cancel()
            await asyncio.gather(reports, return_exceptions=True)
            await reporter.leave()
    if supervisor.failure is not None:
        raise supervisor.failure
    return 0


def agent_changed(announce: Announce, metrics: Metrics) -> Callable[[dict[str, Any]], None]:
    """Return what is done when the agent of the node answers otherwise than before."""

    def changed(description: dict[str, Any]) -> None:
        metrics.show_agent(description["state"])
        announce("agent", description)

    return changed


class _DrainingServer(uvicorn.Server):
    """uvicorn, which on a signal closes the port, finishes what it has accepted and then ends."""

    def __init__(self, app: Any, drain_seconds: int, draining: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                # WebSockets are not spoken here; the lifespan protocol is not used.
                ws="none",
                lifespan="off",
                # h11 bounds the bytes of a request's head; httptools does not.
                http="h11",
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                timeout_graceful_shutdown=drain_seconds,
                timeout_keep_alive=75,
            )
        )
        self._draining = draining

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals on the event loop; uvicorn would raise them again at its end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to drain; a second signal ends at once."""
        if not self.should_exit:
            self._draining()
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """End without a signal: there is nothing to serve with."""
        self.should_exit = True
