"""The one thread that writes HPINode.status: when something changed, and only then."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from hpi_agent.node.access import Access, own_node
from hpi_agent.node.api import Api, Document
from hpi_agent.node.api_errors import Answered, Away, Conflict, NotThere
from hpi_agent.node.builds import LeasedBuilds
from hpi_agent.node.cache import LOOK_SECONDS, CacheLook, NodeCache
from hpi_agent.node.cache_room import CacheRoom
from hpi_agent.node.engines import Engines, Name
from hpi_agent.node.events import Events
from hpi_agent.node.hardware import faults, hardware
from hpi_agent.node.on_disk import FAILED as NOT_INSTALLED
from hpi_agent.node.on_disk import INSTALLING
from hpi_agent.node.paths import HPI_NODES
from hpi_agent.node.reports import PodReports
from hpi_agent.node.runtimes import Runtimes
from hpi_agent.node.status import Cache, CacheProblem, Sight, is_news, node_status, read_spec, statement
from hpi_agent.node.watch import OwnHpiNode
from hpi_agent.profile import Machine
from hpi_core import reasons
from hpi_core.errors import HpiError, Retry, Stop
from hpi_core.moments import stamp
from hpi_core.reasons import REASONS

log: Final = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 0.5
"""How long news wait for more news: pods that start together are one write."""
DETECT_SECONDS: Final = 600.0
"""How often the hardware is looked at: slices of a GPU come and go, and devices break."""
YOUNG_SECONDS: Final = 90.0
"""How long an agent that begins waits for the word of pods that were counted before; each speaks once a minute."""
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0
WARNINGS: Final = frozenset({"HardwareFaulty", "SelfTestFailed", "CacheFull", "CacheUnusable", "RuntimeInstallFailed"})
"""Reasons for which somebody should look."""


@dataclass(frozen=True)
class Sources:
    """Where the reporter takes from what it writes."""

    own: OwnHpiNode
    reports: PodReports
    builds: LeasedBuilds
    engines: Engines
    cache: NodeCache
    room: CacheRoom
    runtimes: Runtimes
    events: Events
    detect: Callable[[], Machine]
    agent_version: str | None


class Reporter:
    """Keeps HPINode.status true; its thread ends with the process."""

    def __init__(
        self,
        api: Api,
        access: Access,
        wake: threading.Event,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Prepare.

        Args:
            api: The connection.
            access: Whose token says which Node this is.
            wake: Set by whoever has news.
            clock: Seconds that never go back.
            now: The time.
        """
        self._api = api
        self._access = access
        self._wake = wake
        self._clock = clock
        self._now = now
        self._stopping = threading.Event()
        self._machine: Machine | None = None
        self._detected_at = 0.0
        self._begun_at = clock()
        self._inherited: Sequence[Document] | None = None
        self._cause = ""
        self.thread = threading.Thread(target=lambda: None)

    def start(self, sources: Sources) -> None:
        """Begin, in a thread of its own."""
        self.thread = threading.Thread(target=self._run, args=(sources,), name="reporter", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End after what is being written."""
        self._stopping.set()
        self._wake.set()

    def _run(self, sources: Sources) -> None:
        failures = 0
        pause: float | None = 0.0
        while True:
            self._wake.wait(pause)
            # What comes meanwhile is of this turn; what comes later sets it again.
            self._stopping.wait(SETTLE_SECONDS)
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                pause = self._turn(sources)
                failures, self._cause = 0, ""
            except HpiError as error:
                failures += 1
                self._failed(error)
                longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures - 1, 10))
                pause = random.uniform(longest / 2, longest)  # noqa: S311 - spreads callers, guards nothing
                if isinstance(error, Away) and error.after_seconds:
                    pause = max(pause, min(error.after_seconds, LONGEST_PAUSE_SECONDS))
                # News do not shorten the pause of a server that is away.
                self._stopping.wait(pause)
                pause = 0.0

    def _failed(self, error: HpiError) -> None:
        if str(error) != self._cause:
            self._cause = str(error)
            level = logging.WARNING if isinstance(error, Retry) else logging.ERROR
            log.log(level, "the status cannot be written now", extra={"cause": self._cause})

    def _turn(self, sources: Sources) -> float:
        """Look, write what changed; return in how many seconds something may have changed without a word."""
        machine, next_look = self._detect(sources)
        hpi_node = sources.own.current
        if hpi_node is None:
            # The watch tells when the operator has made it.
            return next_look
        spec = read_spec(hpi_node)
        if self._inherited is None:
            self._inherited = (hpi_node.get("status") or {}).get("workloads") or ()
        sources.engines.want(spec)
        found, problem = self._look_at_cache(sources, spec.cache_quota_bytes)
        states = self._states_of_engines(sources, found)
        words, silent_seconds = sources.reports.workloads.current(self._clock())
        age = self._clock() - self._begun_at
        sources.runtimes.want(spec)
        on_disk = sources.runtimes.states()
        sources.reports.drop(name for name, one in on_disk.items() if one.state in (INSTALLING, NOT_INSTALLED))
        results = sources.reports.results
        sight = Sight(
            hardware=hardware(machine),
            faults=faults(machine),
            results=results,
            on_disk=on_disk,
            words=words,
            inherited=self._inherited if age < YOUNG_SECONDS else (),
            engines=states,
            cache=found.cache,
            cache_problem=problem,
            agent_version=sources.agent_version,
        )
        self._state(sources, hpi_node, node_status(hpi_node, sight, stamp(self._now())))
        sources.reports.recorded(results)
        waits = [next_look, LOOK_SECONDS, silent_seconds, sources.builds.next_end_seconds()]
        waits += [YOUNG_SECONDS - age] if age < YOUNG_SECONDS else []
        return max(SETTLE_SECONDS, min(wait for wait in waits if wait is not None))

    def _detect(self, sources: Sources) -> tuple[Machine, float]:
        now = self._clock()
        if self._machine is None or now - self._detected_at >= DETECT_SECONDS:
            self._machine, self._detected_at = sources.detect(), now
        return self._machine, DETECT_SECONDS - (now - self._detected_at)

    def _states_of_engines(self, sources: Sources, found: CacheLook) -> dict[Name, str]:
        try:
            return sources.engines.states(found.engines, sources.builds.building())
        except Answered as error:
            # Without the right to read them the rest is told all the same; the log has the right's name.
            self._failed(error)
            return {}

    def _look_at_cache(self, sources: Sources, quota: int | None) -> tuple[CacheLook, CacheProblem | None]:
        try:
            found = sources.cache.look(quota, sources.engines.kept())
        except Stop as error:
            # A volume that cannot be read must not keep the rest from being told.
            self._failed(error)
            return CacheLook(Cache(quota or 0), frozenset()), CacheProblem("CacheUnusable", str(error))
        full = sources.room.full()
        return found, None if full is None else CacheProblem("CacheFull", full)

    def _state(self, sources: Sources, hpi_node: Document, status: Document) -> None:
        if not is_news(status, hpi_node):
            return
        node = own_node(self._access.token())
        if hpi_node["spec"].get("nodeUid") != node.uid:
            raise Retry(
                f"HPINode {node.name} is of the Node with UID {hpi_node['spec'].get('nodeUid')}, this agent's token of "
                f"that with UID {node.uid}: one of the two is about to be replaced"
            )
        path = f"{HPI_NODES}/{node.name}"
        try:
            written = self._api.apply(f"{path}/status", statement(hpi_node, status))
        except (Conflict, NotThere):
            # Another HPINode has the name since, or none: the watch may be late.
            sources.own.put(self._api.find(path))
            raise
        changed = [key for key, value in status.items() if value != (hpi_node.get("status") or {}).get(key)]
        log.info("the status was written", extra={"generation": status["observedGeneration"], "changed": changed})
        sources.own.put(written)
        self._tell(sources, hpi_node, written)

    def _tell(self, sources: Sources, before: Document, written: Document) -> None:
        """Tell an event for each condition that holds or does not hold since, or for another reason."""
        known = {one["type"]: one for one in (before.get("status") or {}).get("conditions") or ()}
        for one in written["status"]["conditions"]:
            was = known.get(one["type"])
            if was is not None and (was["status"], was["reason"]) == (one["status"], one["reason"]):
                continue
            if one["type"] == reasons.CACHE_READY and was is None and one["status"] == "True":
                # That nothing is wrong with it is no news.
                continue
            note = one["message"] or REASONS[one["reason"]].meaning
            sources.events.tell(written, "Report", one["reason"], note, warning=one["reason"] in WARNINGS)
