"""Who builds: the Lease of a resolution for a pod, and the status of its HPIEngine while and after it builds."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Final

from hpi_agent.exchange.answers import Lost
from hpi_agent.exchange.reports import Asked, DecisionReport, FailureReport, Granted, Held
from hpi_agent.exchange.roles import PodIdentity
from hpi_agent.node import engine_status, lease
from hpi_agent.node.api import Api, Document
from hpi_agent.node.api_errors import Answered, Conflict
from hpi_agent.node.engines import Engines, Name
from hpi_agent.node.events import Events
from hpi_agent.node.paths import engine_path, leases_path
from hpi_core.errors import HpiError, Refused, Retry
from hpi_core.moments import stamp

log: Final = logging.getLogger(__name__)

ASK_AGAIN_SECONDS: Final = 30
"""Longest that a pod waits before it asks again who builds: whoever builds may be done earlier than its Lease says."""
MAX_BUILDS_OF_A_POD: Final = 64
"""Resolutions of one pod in its life: a Lease stays when its build is over, because an agent deletes nothing."""
MAX_PODS: Final = 1_024
IS_HELD: Final = "is held by node"
"""Words of the admission policy on Leases where a holder lives by the API server's clock."""


class LeasedBuilds:
    """The builds of one node; safe from several threads."""

    def __init__(
        self,
        api: Api,
        node: str,
        engines: Engines,
        events: Events,
        changed: Callable[[], None],
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Hold none.

        Args:
            api: The connection.
            node: This node.
            engines: Finds the HPIEngine that a pod speaks of.
            events: Tells what came of builds.
            changed: Told when a build begins or ends.
            now: The time.
        """
        self._api = api
        self._node = node
        self._engines = engines
        self._events = events
        self._changed = changed
        self._now = now
        self._lock = threading.Lock()
        self._asked: OrderedDict[str, set[tuple[str, str]]] = OrderedDict()
        self._building: dict[tuple[str, str], tuple[datetime, str]] = {}

    def building(self) -> set[Name]:
        """Return the HPIEngines that pods of this node build now."""
        now = self._now()
        with self._lock:
            live = {key: one for key, one in self._building.items() if now < one[0]}
            self._building = live
            return {(namespace, engine) for (namespace, _), (_, engine) in live.items() if engine}

    def next_end_seconds(self) -> float | None:
        """Return in how many seconds the first build is over unless its pod speaks; None: nobody builds."""
        now = self._now()
        with self._lock:
            return min(((one[0] - now).total_seconds() for one in self._building.values()), default=None)

    def acquire(self, who: PodIdentity, name: str, asked: Asked) -> Granted | Held:
        """Let a pod build, or say who does. Whoever has the right already gets it again.

        Raises:
            Refused: The pod has asked for more resolutions than a pod can have, or the API server refuses.
            Retry: The API server does not answer.
        """
        self._count(who, name)
        path = f"{leases_path(who.namespace)}/{name}"
        found = self._api.find(path)
        now = self._now()
        if found is not None:
            holding = lease.read_lease(found)
            if holding.is_live(now) and not holding.is_of(self._node, who.pod_uid):
                return self._held(holding, now)
            if holding.is_live(now):
                return self.renew(who, name, holding.transitions)
        engine = self._engines.find(who.namespace, asked) or ""
        try:
            if found is None:
                made = lease.new_lease(who.namespace, name, self._node, who.pod_uid, engine, now)
                taken = self._api.create(leases_path(who.namespace), made)
            else:
                taken = self._api.merge(path, lease.taken(found, self._node, who.pod_uid, engine, now))
        except Conflict as error:
            raise Retry(f"somebody else asks for {name} at this moment; ask again") from error
        except Answered as error:
            if found is None or IS_HELD not in str(error):
                raise
            # By this node's clock it has expired; by the API server's, which counts, it has not.
            return Held(holder=lease.read_lease(found).node or self._node, here=False, seconds=1)
        self._hold(who, name, engine)
        log.info("a pod builds", extra=_words(who, name, engine))
        self._state_building(who, name, engine)
        return _granted(lease.read_lease(taken))

    def renew(self, who: PodIdentity, name: str, token: int) -> Granted:
        """Keep the right to build.

        Raises:
            Lost: Somebody else may build by now.
            Retry: The API server does not answer.
        """
        found = self._own(who, name, token)
        self._change(who, name, lease.renewed(found, self._now()))
        holding = lease.read_lease(found)
        self._hold(who, name, holding.engine)
        return _granted(holding)

    def release(self, who: PodIdentity, name: str, token: int) -> None:
        """Give the right back; one that was lost is no harm.

        Raises:
            Retry: The API server does not answer.
        """
        try:
            self._give_back(who, name, lease.released(self._own(who, name, token), self._now()))
        except Lost:
            self._drop(who, name)

    def decided(self, who: PodIdentity, name: str, report: DecisionReport) -> None:
        """State what was decided, and give the right back.

        Raises:
            Lost: Somebody else may build by now.
            Retry: The API server does not answer.
        """
        found = self._own(who, name, report.token)
        engine = self._live_engine(who, found)
        if engine is not None and engine_status.is_final(engine):
            log.info("a decision was on record already", extra=_words(who, name, engine["metadata"]["name"]))
        elif engine is not None:
            self._state(engine, engine_status.decided(engine, self._node, report, self._stamp()))
            self._events.tell(engine, "Build", "Decided", f"{report.chosen}, {report.quality.lower()}, on {self._node}")
        log.info("decided", extra={**_words(who, name, lease.read_lease(found).engine), "chosen": report.chosen})
        provisional = report.chosen_key if report.quality == engine_status.PROVISIONAL else None
        self._give_back(who, name, lease.decided(found, self._now(), provisional))

    def failed(self, who: PodIdentity, name: str, report: FailureReport) -> None:
        """State why nothing was decided, and give the right back.

        Raises:
            Lost: Somebody else may build by now.
            Retry: The API server does not answer.
        """
        found = self._own(who, name, report.token)
        engine = self._live_engine(who, found)
        if engine is not None and not engine_status.is_final(engine):
            self._state(engine, engine_status.failed(engine, self._node, report, self._stamp()))
            note = f"on {self._node}: {report.message or report.reason}"
            self._events.tell(engine, "Build", "EngineFailed", note, warning=True)
        words = _words(who, name, lease.read_lease(found).engine)
        log.warning("a build failed", extra={**words, "reason": report.reason, "cause": report.message})
        self._give_back(who, name, lease.released(found, self._now()))

    def _count(self, who: PodIdentity, name: str) -> None:
        with self._lock:
            names = self._asked.setdefault(who.pod_uid, set())
            self._asked.move_to_end(who.pod_uid)
            if len(self._asked) > MAX_PODS:
                self._asked.popitem(last=False)
            if len(names) >= MAX_BUILDS_OF_A_POD and (who.namespace, name) not in names:
                raise Refused(f"this pod has asked for {MAX_BUILDS_OF_A_POD} resolutions, which is the most")
            names.add((who.namespace, name))

    def _held(self, holding: lease.Holding, now: datetime) -> Held:
        left = (holding.expires_at - now).total_seconds()
        seconds = max(1, min(ASK_AGAIN_SECONDS, round(left) + 1))
        return Held(holder=holding.node, here=holding.node == self._node, seconds=seconds)

    def _own(self, who: PodIdentity, name: str, token: int) -> Document:
        """Return the Lease that a pod has.

        Raises:
            Lost: It has not.
        """
        found = self._api.find(f"{leases_path(who.namespace)}/{name}")
        holding = None if found is None else lease.read_lease(found)
        if found is None or holding is None or not holding.is_of(self._node, who.pod_uid):
            holder = "nobody" if holding is None or not holding.node else f"a pod of node {holding.node}"
            raise Lost(f"the right to build {name} was lost: {holder} has it")
        if holding.transitions != token:
            raise Lost(
                f"the right to build {name} with token {token} was lost: the one of now is {holding.transitions}"
            )
        return found

    def _change(self, who: PodIdentity, name: str, change: Document) -> Document:
        try:
            return self._api.merge(f"{leases_path(who.namespace)}/{name}", change)
        except Conflict as error:
            raise Retry(f"the Lease of {name} was changed at this moment; ask again") from error

    def _give_back(self, who: PodIdentity, name: str, change: Document) -> None:
        self._change(who, name, change)
        self._drop(who, name)

    def _hold(self, who: PodIdentity, name: str, engine: str) -> None:
        until = datetime.fromtimestamp(self._now().timestamp() + lease.LEASE_SECONDS, timezone.utc)
        with self._lock:
            is_new = (who.namespace, name) not in self._building
            self._building[who.namespace, name] = (until, engine)
        if is_new:
            self._changed()

    def _drop(self, who: PodIdentity, name: str) -> None:
        with self._lock:
            self._building.pop((who.namespace, name), None)
        self._changed()

    def _state_building(self, who: PodIdentity, name: str, engine_name: str) -> None:
        """Say that a pod builds: for people, and for whoever counts attempts. The build does not wait for it."""
        if not engine_name:
            return
        try:
            engine = self._api.find(engine_path(who.namespace, engine_name))
            if engine is not None and not engine_status.is_final(engine):
                self._state(engine, engine_status.building(engine, self._node, self._stamp()))
        except HpiError as error:
            log.warning("nobody is told of a build", extra={**_words(who, name, engine_name), "cause": str(error)})

    def _live_engine(self, who: PodIdentity, found: Document) -> Document | None:
        name = lease.read_lease(found).engine
        return self._api.find(engine_path(who.namespace, name)) if name else None

    def _state(self, engine: Document, statement: Document) -> None:
        metadata = engine["metadata"]
        try:
            self._engines.seen(
                self._api.apply(f"{engine_path(metadata['namespace'], metadata['name'])}/status", statement)
            )
        except Conflict as error:
            raise Retry(f"HPIEngine {metadata['name']} was replaced at this moment; tell it again") from error

    def _stamp(self) -> str:
        return stamp(self._now())


def _granted(holding: lease.Holding) -> Granted:
    told = {"token": holding.transitions, "seconds": lease.LEASE_SECONDS, "chosenBefore": holding.chosen_before}
    return Granted.model_validate(told)


def _words(who: PodIdentity, name: str, engine: str) -> dict[str, str]:
    return {"namespace": who.namespace, "pod": who.pod, "resolution": name, "engine": engine}
