"""One build among many pods: take what others have decided, be the only one who builds, tell what came of it.

Everything goes on without the agent of the node: then a pod builds for itself, says so, and does not ask again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from hpi_agent.building.progress import ModelProgress
from hpi_agent.building.reported import asked_of, report_of
from hpi_agent.building.resolution import Resolution
from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.connection import AgentFull, AgentRefuses
from hpi_agent.exchange.pull import pull_decision
from hpi_agent.exchange.push import deliver
from hpi_agent.exchange.reports import Asked, FailureReport, Granted
from hpi_agent.models.sources.patience import Patience as Attempts
from hpi_agent.select.decision import Decision
from hpi_core.errors import HpiError, Refused, Retry

AGENT: Final = "agent"
HELD: Final = "held"

MAX_MESSAGE: Final = 1_024
RENEWALS: Final = 3
"""Renewals within the time that a right lasts: two of them may fail."""

PATIENT: Final = Attempts(attempts=10, first_pause_seconds=1.0, longest_pause_seconds=20.0, longest_wait_seconds=60)
"""For a build that nobody stands beside: what is not told before its process ends is lost. About two minutes."""

_UNHEARD: Final = (Retry, AgentRefuses, AgentFull)
"""What is no reason to stop a build."""


@dataclass
class Turn:
    """The turn of one build.

    Attributes:
        resolution: What is to be decided.
        client: The agent; None: there is none, and nothing is asked or told.
        progress: Where is said what the agent has to do with it.
        seconds: How long another builder is followed before this one builds for itself.
        final: Returns the decision of the store if it is one to be kept.
        again: Whether what was decided before is decided again.
        is_alone: Whether nobody stands beside this build who tells later what could not be told now.
        known: What was decided elsewhere, in the store by now; None: this one builds.
    """

    resolution: Resolution
    client: AgentClient | None
    progress: ModelProgress
    seconds: float
    final: Callable[[], Decision | None]
    again: bool = False
    is_alone: bool = False
    known: Decision | None = None
    sleep: Callable[[float], None] = time.sleep
    _granted: Granted | None = None
    _is_over: threading.Event = field(default_factory=threading.Event)

    def begin(self) -> None:
        """Take what is there, or the right to build, or wait for whoever has it."""
        if self.client is None:
            return
        try:
            self._begin(self.client, asked_of(self.resolution))
        except _UNHEARD as error:
            self.progress.step(AGENT, f"{error}; this pod builds for itself")

    def _begin(self, client: AgentClient, asked: Asked) -> None:
        end = time.monotonic() + self.seconds
        while not self._is_taken(client):
            answer = client.acquire(asked)
            if isinstance(answer, Granted):
                self._granted = answer
                threading.Thread(target=self._keep, args=(client, answer), name="lease", daemon=True).start()
                return
            left = end - time.monotonic()
            who = "another pod of this node" if answer.here else f"a pod of node {answer.holder}"
            if left <= 0:
                self.progress.step(AGENT, f"{who} builds for {self.seconds:.0f} s already; this pod builds for itself")
                return
            self.progress.step(HELD, who)
            # Those who wait do not all ask at once.
            self.sleep(min(left, answer.seconds * (0.75 + 0.5 * random.random())))  # noqa: S311 - spreads load

    def _is_taken(self, client: AgentClient) -> bool:
        if self.again or pull_decision(client, self.resolution.site.store, self.resolution.key) is None:
            return False
        # Under another driver it may have to be verified first, by building it again.
        self.known = self.final()
        return self.known is not None

    def _keep(self, client: AgentClient, granted: Granted) -> None:
        while not self._is_over.wait(granted.seconds / RENEWALS):
            try:
                client.renew(self.resolution.key, granted.token)
            except AgentRefuses:
                # Somebody else may build by now; whoever is complete first has decided, and that shows at the end.
                return
            except Retry:
                continue

    @property
    def chosen_before(self) -> str | None:
        """Key of the engine that another pod chose last on busy cores, as far as the agent knows."""
        return None if self._granted is None else self._granted.chosen_before

    def decided(self, decision: Decision) -> Decision:
        """Tell what was decided and send what others can use; return what counts: what was complete first."""
        if self.client is None:
            return decision
        try:
            return self._tell(self._teller(self.client), decision)
        except _UNHEARD as error:
            self.progress.step(AGENT, f"{error}; what was decided stays here, and is told later")
            return decision

    def _teller(self, client: AgentClient) -> AgentClient:
        return AgentClient(client.address, PATIENT, client.patience) if self.is_alone else client

    def _tell(self, client: AgentClient, decision: Decision) -> Decision:
        store, key = self.resolution.site.store, self.resolution.key
        full = None
        try:
            # Before the right is given back: whoever follows finds it.
            if deliver(client, store, key) == "Other" and not self.again:
                decision = pull_decision(client, store, key) or decision
        except AgentFull as error:
            # What was decided is true all the same.
            full = error
        if self._granted is not None and decision.chosen is not None:
            client.decided(key, report_of(decision, store, self._granted.token))
        elif self._granted is not None:
            told = "; ".join(f"{one.candidate.name}: {one.reason}" for one in decision.outcomes)
            client.failed(key, FailureReport(token=self._granted.token, message=told[:MAX_MESSAGE]))
        self._granted = None
        if full is not None:
            raise full
        return decision

    def end(self, error: BaseException | None) -> None:
        """Give the right back, and say why nothing was decided."""
        self._is_over.set()
        if self.client is None or self._granted is None:
            return
        try:
            if isinstance(error, HpiError):
                told = FailureReport(token=self._granted.token, message=str(error)[:MAX_MESSAGE])
                self.client.failed(self.resolution.key, told)
            else:
                self.client.release(self.resolution.key, self._granted.token)
        except (Retry, Refused, AgentFull) as failure:
            self.progress.step(AGENT, f"{failure}; the right to build ends by itself")


def announce(resolution: Resolution, client: AgentClient | None, decision: Decision, progress: ModelProgress) -> None:
    """Tell of a decision that was there before: the node's cache, or the HPIEngine, may not know it yet."""
    if client is None:
        return
    store, key = resolution.site.store, resolution.key
    try:
        deliver(client, store, key)
        answer = client.acquire(asked_of(resolution))
        if isinstance(answer, Granted):
            client.decided(key, report_of(decision, store, answer.token))
    except _UNHEARD as error:
        progress.step(AGENT, f"{error}; what was decided stays here, and is told later")


@contextmanager
def turn(
    resolution: Resolution,
    client: AgentClient | None,
    progress: ModelProgress,
    seconds: float,
    final: Callable[[], Decision | None],
    *,
    again: bool = False,
    is_alone: bool = False,
) -> Iterator[Turn]:
    """Have one's turn until the block ends; see `Turn`."""
    one = Turn(resolution, client, progress, seconds, final, again, is_alone)
    one.begin()
    try:
        yield one
    except BaseException as error:
        one.end(error)
        raise
    one.end(None)
