"""The agent of one node, put together: one connection to the API server, a watch, a reporter, a server for pods."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Final

from hpi_agent.discovery import detect
from hpi_agent.exchange.server import ExchangeServer
from hpi_agent.exchange.service import Exchange
from hpi_agent.node.access import Access, OwnNode, own_node
from hpi_agent.node.api import Api
from hpi_agent.node.builds import LeasedBuilds
from hpi_agent.node.cache import NodeCache
from hpi_agent.node.cache_room import CacheRoom
from hpi_agent.node.engines import Engines
from hpi_agent.node.events import Events
from hpi_agent.node.identify import TokenReviews
from hpi_agent.node.reporter import Reporter, Sources
from hpi_agent.node.reports import PodReports
from hpi_agent.node.runtimes import Keeping, Runtimes
from hpi_agent.node.watch import OwnHpiNode
from hpi_agent.store.directory import Store
from hpi_core.errors import Retry, Stop

log: Final = logging.getLogger(__name__)

DISTRIBUTION: Final = "hpi"
LOOK_SECONDS: Final = 5.0
"""How often the main thread looks whether the others live, and whether pods have brought something."""
TOKEN_SECONDS: Final = 30.0
"""How long a kubelet may take to mount the token."""
JOIN_SECONDS: Final = 15.0


@dataclass(frozen=True)
class Settings:
    """What an agent is told when it starts."""

    access: Access
    node: OwnNode
    """From `find_own_node`."""
    store: Path
    """The node's cache volume."""
    cache_bytes: int
    """Most that it may hold where the HPINode names no quota. Unit: bytes."""
    host_root: Path
    """Where the host's `/` is found."""
    operator_namespace: str
    """Where self-test pods run."""
    keeping: Keeping
    """How runtimes are kept that this agent installs."""


def run_agent(settings: Settings, listening: socket.socket, started: Callable[[int], None]) -> int:
    """Serve the node until SIGTERM or SIGINT; return the exit code.

    Leases of pods that build are left as they are: the pods go on, and the next agent of the node goes on with them.

    Args:
        settings: What to do.
        listening: Where pods speak to it.
        started: Told the port when pods are answered.

    Raises:
        Refused: The API server's authority cannot be read.
        Stop: A thread of the agent ended, which none may; the kubelet starts the agent anew.
    """
    ending = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ending.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    node = settings.node
    api, wake = Api(settings.access), threading.Event()
    store = Store(settings.store)
    own = OwnHpiNode(api, node.name, wake.set)
    engines, events = Engines(api), Events(api, node.name)
    builds = LeasedBuilds(api, node.name, engines, events, wake.set)
    reports = PodReports(engines, lambda: own.current, settings.operator_namespace, wake.set)
    exchange = Exchange(store, TokenReviews(api, node.name), reports, builds)
    server = ExchangeServer(exchange, listening)
    reporter = Reporter(api, settings.access, wake)
    server.start()
    own.thread.start()
    cache, room = NodeCache(store, settings.cache_bytes), CacheRoom(exchange)
    runtimes = Runtimes(settings.keeping, wake.set)
    runtimes.thread.start()
    reporter.start(
        Sources(
            own=own,
            reports=reports,
            builds=builds,
            engines=engines,
            cache=cache,
            room=room,
            runtimes=runtimes,
            events=events,
            detect=lambda: detect(settings.host_root),
            agent_version=_version(),
        )
    )
    log.info("the agent serves its node", extra={"port": server.port, "store": str(settings.store), "pid": os.getpid()})
    started(server.port)
    threads: dict[str, Callable[[], bool]] = {
        "watch": own.thread.is_alive,
        "reporter": reporter.thread.is_alive,
        "runtimes": runtimes.thread.is_alive,
        "server": lambda: server.is_serving,
    }
    dead = ""
    while not dead and not ending.wait(LOOK_SECONDS):
        dead = next((name for name, lives in threads.items() if not lives()), "")
        # Pods bring entries past the reporter.
        if cache.has_changed() or room.has_changed():
            wake.set()
    log.info("the agent ends")
    runtimes.stop()
    reporter.stop()
    own.stop()
    server.stop()
    reporter.thread.join(JOIN_SECONDS)
    api.close()
    if dead:
        raise Stop(f"the thread {dead} of the agent has ended, which it must not; its last words are in the log")
    return 0


def find_own_node(access: Access) -> OwnNode:
    """Return the node that the agent's token names, as soon as a kubelet has mounted one.

    Raises:
        Refused: The token names no node.
        Retry: There is none after half a minute.
    """
    until = time.monotonic() + TOKEN_SECONDS
    while True:
        try:
            return own_node(access.token())
        except Retry:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _version() -> str | None:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return None
