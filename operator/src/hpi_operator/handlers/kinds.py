"""Handlers of the kinds that people write; sole importer of kopf.

kopf lists without pages and keeps no selectors, so it watches the kinds with few objects alone. Its handlers keep
nothing: no annotations, no finalizers, no events of its own. Peering stays off: it is no lock, the election is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
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
ERROR_PAUSES: Final = (0.5, 1, 2, 5, 10, 20, 30)

KINDS: Final = {"hpipipelines": "HPIPipeline", "hpiruntimes": "HPIRuntime", "hpinodepools": "HPINodePool"}
"""What is watched, by its plural."""


class Watcher:
    """kopf's operator in a thread of its own."""

    def __init__(self, ask: Ask, kubeconfig: str | None) -> None:
        self._ask = ask
        self._kubeconfig = kubeconfig
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._stop_flag = threading.Event()
        self.fault: BaseException | None = None
        """Why it ended, None as long as it runs."""

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop_flag.set()
        self._thread.join(timeout=10)

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except BaseException as error:
            self.fault = error
            log.exception("kopf ended")

    async def _watch(self) -> None:
        registry = kopf.OperatorRegistry()
        self._register(registry)
        await kopf.operator(
            registry=registry,
            settings=_settings(),
            clusterwide=True,
            standalone=True,
            stop_flag=self._stop_flag,
            ready_flag=self._ready,
        )

    def _register(self, registry: kopf.OperatorRegistry) -> None:
        kubeconfig = self._kubeconfig or os.environ.get("KUBECONFIG")

        @kopf.on.login(registry=registry)
        def log_in(**_: Any) -> kopf.ConnectionInfo:
            return kopf.ConnectionInfo(**login_facts(kubeconfig))

        for plural, kind in KINDS.items():
            self._watch_kind(registry, plural, kind)

    def _watch_kind(self, registry: kopf.OperatorRegistry, plural: str, kind: str) -> None:
        @kopf.on.event(GROUP, VERSION, plural, registry=registry)
        def changed(name: str | None, namespace: str | None, **_: Any) -> None:
            self._ask(kind, namespace or "", name or "")


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    # A watch that the server, or the network, has forgotten ends by itself; kopf's own default is never.
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.client_timeout = CLIENT_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.networking.connect_timeout = CONNECT_SECONDS
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.error_backoffs = ERROR_PAUSES
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    # Handlers of events take no time: many objects at once are one burst, and an idle worker ends soon.
    settings.queueing.idle_timeout = 1.0
    settings.queueing.exit_timeout = 1.0
    return settings
