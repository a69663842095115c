"""Handlers of the kinds that people write; sole importer of kopf.

kopf lists without pages and keeps no selectors, so it watches the kinds with few objects alone. Its handlers keep
nothing: no annotations, no finalizers, no events of its own. Peering stays off: it is no lock, the election is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import kopf

from hpi_core.api.base import GROUP, VERSION
from hpi_operator.kube.configuration import login_facts

log: Final = logging.getLogger(__name__)

Ask = Callable[[str, str, str], None]

SERVER_SECONDS: Final = 290
CLIENT_SECONDS: Final = 320
CONNECT_SECONDS: Final = 10
REQUEST_SECONDS: Final = 60
ERROR_PAUSES: Final = (0.5, 1, 2, 5, 10)
PAGE_ENTRIES: Final = 200
LOGIN_SECONDS: Final = 600
"""kopf reads the credentials again this often: a token in a file is replaced about once an hour."""
RESTART_SECONDS: Final = (0.5, 15.0)
"""How long to wait before kopf is started again: twice as long each time, within these bounds."""
STEADY_SECONDS: Final = 60.0
"""After so long without an end, the next one is the first again."""

KINDS: Final = {"hpipipelines": "HPIPipeline", "hpiruntimes": "HPIRuntime", "hpinodepools": "HPINodePool"}
"""What is watched, by its plural."""


NOISE: Final = {
    # This program handles signals itself.
    "kopf._core.reactor.running": "OS signals are ignored",
    # An API server that is away is told once by each picture; kopf would tell it at every try.
    "kopf._cogs.clients.api": "Request attempt #",
    "kopf._cogs.clients.watching": "Request attempt #",
    "kopf._cogs.clients.fetching": "Request attempt #",
}
"""What kopf says that nobody needs: beginnings of messages, by logger."""


class _Quiet(logging.Filter):
    """Drops what begins with some words."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith(self._beginning)


class Watcher:
    """kopf's operator in a thread of its own; it ends for good only when it is told to.

    kopf gives up where it meets an error that it does not expect in a watch, or a right that is missing: it is started
    again then, because a process that ends instead would lose the election, its pictures, and the passes under way.
    """

    def __init__(self, ask: Ask, kubeconfig: str | None) -> None:
        """Prepare; `start` begins.

        Args:
            ask: Asks for the pass of an object that somebody changed.
            kubeconfig: Path of a kubeconfig file; None: as `kube.configuration`.
        """
        self._ask = ask
        self._kubeconfig = kubeconfig or os.environ.get("KUBECONFIG")
        self._seen: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._stop_flag = threading.Event()
        self.fault: str | None = None
        """Why it ended last, None as long as it runs."""

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop_flag.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end after `stop`."""
        self._thread.join(timeout_seconds)

    @property
    def is_alive(self) -> bool:
        """Whether its thread lives."""
        return self._thread.is_alive()

    def _run(self) -> None:
        for logger, beginning in NOISE.items():
            logging.getLogger(logger).addFilter(_Quiet(beginning))
        pause = RESTART_SECONDS[0]
        while not self._stop_flag.is_set():
            begun = time.monotonic()
            try:
                asyncio.run(self._watch())
                self.fault = "it ended without a word"
            except Exception as error:
                self.fault = f"{type(error).__name__}: {error}"
            if self._stop_flag.is_set():
                return
            if time.monotonic() - begun > STEADY_SECONDS:
                pause = RESTART_SECONDS[0]
            log.warning("kopf ended, and is started again", extra={"cause": self.fault, "pause_seconds": pause})
            self._stop_flag.wait(pause)
            pause = min(2 * pause, RESTART_SECONDS[1])

    async def _watch(self) -> None:
        self._seen.clear()
        registry = kopf.OperatorRegistry()
        self._register(registry)
        await kopf.operator(
            registry=registry, settings=_settings(), clusterwide=True, standalone=True, stop_flag=self._stop_flag
        )

    def _register(self, registry: kopf.OperatorRegistry) -> None:
        @kopf.on.login(registry=registry, backoff=2.0)
        def log_in(**_: Any) -> kopf.ConnectionInfo:
            facts = login_facts(self._kubeconfig)
            expiration = datetime.now(timezone.utc) + timedelta(seconds=LOGIN_SECONDS) if facts["token"] else None
            return kopf.ConnectionInfo(**facts, expiration=expiration)

        for plural, kind in KINDS.items():
            self._watch_kind(registry, plural, kind)

    def _watch_kind(self, registry: kopf.OperatorRegistry, plural: str, kind: str) -> None:
        # A coroutine runs in the loop itself; a function would run in a pool of threads that the end waits for.
        @kopf.on.event(GROUP, VERSION, plural, registry=registry)
        async def changed(
            name: str | None,
            namespace: str | None,
            type: str | None,  # noqa: A002 - the name is kopf's
            body: kopf.Body,
            **_: Any,
        ) -> None:
            self.fault = None
            if self.is_news((kind, namespace or "", name or ""), type, body.get("metadata", {})):
                self._ask(kind, namespace or "", name or "")

    def is_news(self, key: tuple[str, str, str], event: str | None, metadata: Any) -> bool:
        """Return whether an event tells of more than a status, which the operator wrote itself.

        Args:
            key: Kind, namespace and name.
            event: ADDED, MODIFIED, DELETED; None: the object was listed.
            metadata: Of the object.
        """
        if event == "DELETED":
            self._seen.pop(key, None)
            return True
        now = (metadata.get("uid"), metadata.get("generation"), metadata.get("deletionTimestamp"))
        known, self._seen[key] = self._seen.get(key), now
        return event is None or known != now


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # A watch that the server, or the network, has forgotten ends by itself; kopf's own default is never.
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.client_timeout = CLIENT_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.watching.chunk_size = PAGE_ENTRIES
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.error_backoffs = ERROR_PAUSES
    settings.posting.enabled = False
    settings.peering.standalone = True
    # The kinds are there before kopf starts, and nothing is looked for that comes and goes.
    settings.scanning.disabled = True
    # kopf would end the whole process when it cannot end itself.
    settings.process.ultimate_exiting_timeout = None
    # Handlers of events take no time: many objects at once are one burst, and an idle worker ends soon.
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 1.0
    return settings
