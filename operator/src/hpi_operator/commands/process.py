"""One operator process: its parts, wired; its life from the election to the end."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timezone
from typing import Final

from hpi_core.errors import HpiError
from hpi_operator.act.events import Recorder, Subject
from hpi_operator.act.perform import Performer
from hpi_operator.configuration import accelerators_document
from hpi_operator.handlers.kinds import Watcher
from hpi_operator.kube.api import Api
from hpi_operator.kube.election import Election
from hpi_operator.kube.resources import LEASES, OWN, ROUTES
from hpi_operator.kube.rights import missing_rights
from hpi_operator.observe.world import EVERY, World
from hpi_operator.passes.base import Tools
from hpi_operator.passes.health import Health, HealthServer
from hpi_operator.passes.loop import FULL_PASS_SECONDS, Loop, Ticker
from hpi_operator.passes.metrics import Metrics
from hpi_operator.passes.queue import WorkQueue
from hpi_operator.plan.accelerators import read_classes
from hpi_operator.plan.intent import Event
from hpi_operator.plan.observed import Settings
from hpi_operator.rights import LEASE, needed_rights, route_rights

log: Final = logging.getLogger(__name__)

SILENT_SECONDS: Final = 300.0
"""A thread of a picture, or of the election, that came to no end of anything for so long hangs."""
KINDS_SECONDS: Final = 2.0
"""How often it is asked whether the kinds are there."""
RIGHTS_SECONDS: Final = 60.0
"""How often it is asked whether rights that are missing have been granted."""
APIS_SECONDS: Final = 30.0
"""How often it is asked whether optional APIs have come or gone."""
GAPS_SECONDS: Final = 10.0
"""How often it is asked whether a picture of the cluster has not been whole for long."""
STOP_SECONDS: Final = 10.0


class Operator:
    """One process."""

    def __init__(
        self,
        api: Api,
        election: Election,
        settings: Settings,
        *,
        kubeconfig: str | None = None,
        workers: int = 8,
        health: tuple[str, int] = ("127.0.0.1", 0),
    ) -> None:
        """Wire the parts; `run` begins.

        Args:
            api: The connection; it must ask the election before it writes.
            election: Decides whether this one acts.
            settings: What decisions depend on.
            kubeconfig: Path of a kubeconfig file for kopf; None: as the connection.
            workers: How many passes run at once.
            health: Host and port of the probes.
        """
        self._api = api
        self._election = election
        self._settings = settings
        self._metrics = Metrics()
        self._missing: tuple[str, ...] = ()
        self._absent: tuple[str, ...] = ()
        self._gap = ""
        self._leads = threading.Event()
        self._cannot_begin = False
        api.transport.sent = self._metrics.sent
        classes = read_classes(accelerators_document())
        labels = frozenset().union(*(one.label_keys for one in classes.values()))
        self._world = World(api, settings.namespace, lambda *what: self._loop.ask(*what), labels)
        recorder = Recorder(api)
        self._tools = Tools(
            api=api,
            world=self._world,
            queue=WorkQueue(),
            performer=Performer(api, recorder),
            recorder=recorder,
            classes=classes,
            settings=settings,
            now=lambda: datetime.now(timezone.utc),
        )
        self._loop = Loop(self._tools, self._metrics, workers)
        self._watcher = Watcher(self._loop.ask_at_once, kubeconfig)
        self._ticker = Ticker(
            {
                FULL_PASS_SECONDS: self._loop.ask_for_everything,
                RIGHTS_SECONDS: self._look_at_missing_rights,
                APIS_SECONDS: self._look_at_apis,
                GAPS_SECONDS: self._look_at_gaps,
            }
        )
        self._health = HealthServer(Health(self.not_alive, self.not_ready, self._metrics.text), *health)
        self._show()

    def run(self, stopping: threading.Event) -> bool:
        """Run until told to stop, and return True; return False when leadership was lost, or nothing could begin."""
        self._health.start()
        log.info("health is served", extra={"port": self._health.port})
        try:
            return not self._election.wait_until_leader(stopping) or self._lead(stopping)
        finally:
            self._health.stop()

    def _lead(self, stopping: threading.Event) -> bool:
        # What is asked before the pictures are begun may take long: the Lease is renewed from the first moment on.
        begin = threading.Thread(target=self._begin, args=(stopping,), name="begin", daemon=True)
        begin.start()
        if not self._election.hold(stopping):
            return False
        begin.join(STOP_SECONDS)
        if self._leads.is_set():
            self._end()
        # Only now: whoever leads next must not meet a write of this one's.
        self._election.release()
        log.info("stopped")
        return not self._cannot_begin

    def _end(self) -> None:
        """Stop everything that `_begin` has started; what has not begun cannot be ended."""
        self._ticker.stop()
        self._watcher.stop()
        if not self._loop.stop(STOP_SECONDS):
            log.warning("passes were still under way at the end")
        self._world.pictures.stop()
        self._watcher.join(STOP_SECONDS)

    def _begin(self, stopping: threading.Event) -> None:
        """Wait for the kinds, name missing rights, and start everything."""
        try:
            if not self._wait_for_kinds(stopping):
                return
            self._look_at_rights()
            self._world.pictures.start()
            self._look_at_apis()
            self._watcher.start()
            self._loop.start()
            self._loop.ask_for_everything()
            self._ticker.start()
            self._leads.set()
        except Exception:
            log.exception("the operator cannot begin")
            self._cannot_begin = True
            stopping.set()

    def _wait_for_kinds(self, stopping: threading.Event) -> bool:
        """Wait until the cluster serves our kinds; say which are missing once, and whenever that changes."""
        while not stopping.is_set():
            try:
                absent = tuple(sorted(one.crd for one in OWN.values() if not self._api.has_api(one)))
            except HpiError as error:
                log.warning("the API server cannot be asked for its kinds", extra={"cause": str(error)})
            else:
                if absent and absent != self._absent:
                    log.error(
                        "kinds are missing: apply the CustomResourceDefinitions of this release (crds/)",
                        extra={"kinds": list(absent)},
                    )
                    self._complain("ApiMissing", f"the cluster does not serve {', '.join(absent)}")
                self._absent = absent
                if not absent:
                    return True
            stopping.wait(KINDS_SECONDS)
        return False

    def _look_at_rights(self) -> None:
        """Name every right that is missing, where it was not named before."""
        try:
            rights = (*needed_rights(self._settings.namespace), *(route_rights() if self._has_routes else ()))
            missing = tuple(str(one) for one in missing_rights(self._api, rights))
        except HpiError as error:
            log.warning("rights cannot be asked for", extra={"cause": str(error)})
            return
        for one in sorted(set(missing) - set(self._missing)):
            log.error("a right is missing: grant it to the operator's service account", extra={"right": one})
        if missing and missing != self._missing:
            self._complain("PermissionMissing", f"the operator may not: {'; '.join(missing)}")
        if self._missing and not missing:
            log.info("no right is missing any more")
        self._missing = missing

    def _look_at_missing_rights(self) -> None:
        if self._missing:
            before = self._missing
            self._look_at_rights()
            if self._missing != before:
                self._loop.ask_for_everything()

    def _look_at_apis(self) -> None:
        """Begin to look at HTTPRoutes when the cluster has them, and end when it has not."""
        pictures = self._world.pictures
        if pictures.routes is None and self._api.has_api(ROUTES):
            log.info("the cluster has HTTPRoutes")
            pictures.start_routes()
            # Those on HTTPRoutes are needed from now on.
            self._look_at_rights()
            self._loop.ask("HPIPipeline", EVERY, EVERY)
        elif pictures.routes_are_gone() and not self._api.has_api(ROUTES):
            log.info("the cluster has no HTTPRoutes any more")
            pictures.stop_routes()
            self._loop.ask("HPIPipeline", EVERY, EVERY)

    def _look_at_gaps(self) -> None:
        """Let every pipeline say that something is not seen when that lasts, and that it is over when it is.

        Nothing else does: what is not seen wakes nobody.
        """
        pictures = self._world.pictures
        lack = pictures.lack(pictures.for_pipelines)
        gap = lack.message if lack is not None and lack.is_lasting else ""
        if gap != self._gap:
            self._gap = gap
            self._loop.ask("HPIPipeline", EVERY, EVERY)

    @property
    def _has_routes(self) -> bool:
        return self._world.pictures.routes is not None

    def _complain(self, reason: str, message: str) -> None:
        """Tell people in an event about the election's Lease, the one object that is the operator's own."""
        namespace = self._settings.namespace
        try:
            lease = self._api.get(LEASES, LEASE, namespace)
            if lease is not None:
                subject = Subject(LEASES.key(LEASE, namespace), lease["metadata"]["uid"])
                self._tools.recorder.tell(subject, Event(reason, message, "Warning"))
        except HpiError as error:
            log.warning("an event cannot be told", extra={"reason": reason, "cause": str(error)})

    # Probes and metrics.

    def not_alive(self) -> str | None:
        """Return why the process should be started anew, None where it makes progress."""
        if self._election.idle_seconds > SILENT_SECONDS:
            return f"the election has not been looked at for {self._election.idle_seconds:.0f} s"
        if not self._leads.is_set():
            return None
        if not self._watcher.is_alive:
            return "the thread of kopf ended"
        if (stuck := self._loop.stuck) is not None:
            return stuck
        idle = {one.selection.resource.plural: one.idle_seconds for one in self._world.pictures.all()}
        worst = max(idle, key=lambda name: idle[name])
        return f"the watch of {worst} has hung for {idle[worst]:.0f} s" if idle[worst] > SILENT_SECONDS else None

    def not_ready(self) -> str | None:
        """Return why it is not ready; one that waits for the election is as ready as the one that acts."""
        return self._election.fault

    def _show(self) -> None:
        show, queue, pictures = self._metrics.gauge, self._tools.queue, self._world.pictures
        show("hpi_operator_leader", "Whether this operator acts.", lambda: float(self._election.is_leader))
        show("hpi_operator_queue_length", "Passes that wait.", lambda: float(len(queue)))
        show("hpi_operator_queue_oldest_seconds", "How long the oldest pass waits.", lambda: queue.oldest_seconds)
        show("hpi_operator_passes_running", "Passes that run.", lambda: float(queue.running))
        show("hpi_operator_writes_waiting", "Writes that wait.", lambda: float(self._api.bucket.waiting))
        show(
            "hpi_operator_pictures_missing",
            "Pictures of the cluster that are not whole.",
            lambda: float(sum(not one.is_whole for one in pictures.all())),
        )
        self._metrics.gauges(
            "hpi_operator_picture_objects",
            "Objects in a picture of the cluster.",
            "resource",
            lambda: {one.selection.resource.plural: float(len(one)) for one in pictures.all()},
        )
        self._metrics.gauges(
            "hpi_operator_right_missing",
            "Rights that the operator needs and does not have.",
            "right",
            lambda: dict.fromkeys(self._missing, 1.0),
        )
        self._metrics.gauges(
            "hpi_operator_kind_missing",
            "Kinds that the cluster does not serve.",
            "kind",
            lambda: dict.fromkeys(self._absent, 1.0),
        )
        self._metrics.gauges(
            "hpi_operator_pipelines",
            "HPIPipelines by the status of their condition Ready.",
            "ready",
            lambda: {state: float(count) for state, count in self._tools.ledger.by_readiness().items()},
        )
