"""What the node's cache has for the models of a worker, brought while the worker loads everything else.

A worker waits for it only while bytes are coming. An agent that is away, or hangs, costs a start nothing: what comes
later is taken up by the change-over, as every decision is.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hpi_agent.building.choice import find_decision
from hpi_agent.building.resolution import Resolution
from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.pull import pull_decision
from hpi_core.errors import HpiError

SETTLE_SECONDS: Final = 8.0
"""Longest that a start waits for engines that are coming: less than building one takes."""

log: Final = logging.getLogger("hpi.worker")


@dataclass
class Prefetch:
    """Brings decisions and engines into the store, in a thread.

    Attributes:
        client: The agent.
        resolutions: What is wanted.
    """

    client: AgentClient
    resolutions: Sequence[Resolution]
    _coming: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def settle(self, seconds: float = SETTLE_SECONDS) -> None:
        """Wait for what is coming; return at once where nothing is, or nobody has answered yet."""
        if self._coming.is_set():
            self._thread.join(seconds)
        if self._thread.is_alive():
            log.warning("the agent %s has not given engines yet; this pod starts without", self.client.address)

    def _run(self) -> None:
        try:
            for resolution in self.resolutions:
                self._bring(resolution)
        except HpiError as error:
            log.warning("engines of the node's cache are not had: %s; this pod starts without", error)
        except Exception:
            # Nothing that goes wrong here may end a start: what is in the store is whole or not there.
            log.exception("engines of the node's cache are not had; this pod starts without")

    def _bring(self, resolution: Resolution) -> None:
        known = find_decision(resolution)
        if known is not None and known.provisional is None and resolution.is_verified(known):
            return
        began = time.monotonic()
        found = pull_decision(self.client, resolution.site.store, resolution.key, coming=lambda _: self._coming.set())
        if found is not None:
            seconds = time.monotonic() - began
            log.info("model %s: its engine came from the node's cache in %.2f s", resolution.model.name, seconds)
