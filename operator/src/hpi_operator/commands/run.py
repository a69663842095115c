"""`hpi-operator run`: wait for the election, see the cluster, make passes until told to stop."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import threading
import uuid
from datetime import datetime, timezone
from typing import Final

from hpi_core.errors import HpiError
from hpi_operator.act.events import Recorder
from hpi_operator.act.perform import Performer
from hpi_operator.configuration import accelerators_document
from hpi_operator.handlers.kinds import Watcher
from hpi_operator.kube.api import Api
from hpi_operator.kube.bucket import Bucket
from hpi_operator.kube.election import Election, Pace
from hpi_operator.kube.resources import ROUTES
from hpi_operator.kube.rights import missing_rights
from hpi_operator.logs import log_to_stderr
from hpi_operator.observe.world import World
from hpi_operator.passes.base import Tools
from hpi_operator.passes.health import Health, HealthServer
from hpi_operator.passes.loop import FULL_PASS_SECONDS, Loop
from hpi_operator.passes.metrics import Metrics
from hpi_operator.passes.queue import WorkQueue
from hpi_operator.plan.accelerators import read_classes
from hpi_operator.plan.observed import Settings
from hpi_operator.rights import needed_rights, route_rights

log: Final = logging.getLogger(__name__)

LEASE: Final = "hpi-operator"
STUCK_SECONDS: Final = 180.0
"""A loop that has work and has ended no pass for so long is stuck."""
SILENT_SECONDS: Final = 420.0
"""A picture of which the server has said nothing for so long is dead; watches end by themselves well before."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of `run`."""
    parser = subparsers.add_parser(
        "run",
        help="reconcile HPIPipelines, nodes and runtimes",
        description="Reconcile HPIPipelines into workloads, nodes into HPINodes. Of several that run, one acts.",
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="default: $KUBECONFIG, else the pod's own rights")
    parser.add_argument("--namespace", default=os.environ.get("HPI_NAMESPACE", "hpi-system"), help="the operator's own")
    parser.add_argument("--writes-per-second", type=float, default=50.0, metavar="N")
    parser.add_argument("--write-burst", type=int, default=100, metavar="N")
    parser.add_argument("--workers", type=int, default=4, metavar="N")
    parser.add_argument("--lease-seconds", type=int, default=15, metavar="N")
    parser.add_argument("--health-host", default="127.0.0.1", metavar="HOST")
    parser.add_argument("--health-port", type=int, default=8081, metavar="N", help="0: any free port")
    parser.add_argument("--agent-port", type=int, default=8470, metavar="N")
    parser.add_argument("--image-pull-policy", choices=("IfNotPresent", "Always", "Never"), default="IfNotPresent")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until a signal; return 0 then, 1 when leadership was lost or a watch ended for good."""
    log_to_stderr(arguments.log_level)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    api = Api.connect(Bucket(arguments.writes_per_second, arguments.write_burst), kubeconfig=arguments.kubeconfig)
    pace = Pace(arguments.lease_seconds, arguments.lease_seconds * 2 / 3, arguments.lease_seconds / 7)
    identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    election = Election(api, arguments.namespace, LEASE, identity, pace)
    return Operator(arguments, api, election, stopping).run()


class Operator:
    """One process: its parts, wired."""

    def __init__(self, arguments: argparse.Namespace, api: Api, election: Election, stopping: threading.Event) -> None:
        self._arguments = arguments
        self._api = api
        self._election = election
        self._stopping = stopping
        self._metrics = Metrics()
        self._missing: tuple[str, ...] = ()
        classes = read_classes(accelerators_document())
        queue, recorder = WorkQueue(), Recorder(api)
        labels = frozenset().union(*(one.label_keys for one in classes.values()))
        self._world = World(api, arguments.namespace, self._ask, labels)
        self._tools = Tools(
            api=api,
            world=self._world,
            queue=queue,
            performer=Performer(api, recorder, lambda: election.is_leader, self._world.note),
            recorder=recorder,
            classes=classes,
            settings=Settings(
                namespace=arguments.namespace,
                agent_port=arguments.agent_port,
                image_pull_policy=arguments.image_pull_policy,
            ),
            now=lambda: datetime.now(timezone.utc),
        )
        self._loop = Loop(self._tools, self._metrics, arguments.workers)
        self._watcher = Watcher(self._ask, arguments.kubeconfig)
        self._health = HealthServer(
            Health(self._alive, self._ready, self._metrics.text), arguments.health_host, arguments.health_port
        )

    def run(self) -> int:
        """Run until told to stop, or until leadership is lost."""
        self._metrics.gauge(
            "hpi_operator_leader", "Whether this operator acts.", lambda: float(self._election.is_leader)
        )
        self._metrics.gauge("hpi_operator_queue_length", "Passes that wait.", lambda: float(len(self._tools.queue)))
        self._metrics.gauge("hpi_operator_writes_waiting", "Writes that wait.", lambda: float(self._api.bucket.waiting))
        self._health.start()
        print(f"health on {self._arguments.health_host}:{self._health.port}", file=sys.stderr, flush=True)
        if not self._election.wait_until_leader(self._stopping):
            self._health.stop()
            return 0
        held = self._lead()
        self._health.stop()
        return 0 if held else 1

    def _lead(self) -> bool:
        with_routes = self._prepare()
        self._world.start(with_routes=with_routes)
        self._watcher.start()
        self._loop.start()
        threading.Thread(target=self._tick, name="ticker", daemon=True).start()
        held = self._election.hold(self._stopping)
        self._watcher.stop()
        self._world.stop()
        if held:
            self._loop.stop()
        # Whoever lost the election must not finish what it began: the process ends here.
        return held

    def _prepare(self) -> bool:
        """Name every right that is missing; return whether the cluster has HTTPRoutes."""
        try:
            with_routes = self._api.has_api(ROUTES)
            rights = (*needed_rights(self._arguments.namespace), *(route_rights() if with_routes else ()))
            self._missing = tuple(str(one) for one in missing_rights(self._api, rights))
        except HpiError as error:
            log.warning("rights cannot be asked for", extra={"cause": str(error)})
            return False
        for one in self._missing:
            log.error("a right is missing: grant it to the operator's service account", extra={"right": one})
        self._metrics.gauge(
            "hpi_operator_rights_missing", "Rights that are missing.", lambda: float(len(self._missing))
        )
        return with_routes

    def _tick(self) -> None:
        while not self._stopping.wait(FULL_PASS_SECONDS):
            self._loop.ask_for_everything()

    def _ask(self, kind: str, namespace: str, name: str) -> None:
        self._loop.ask(kind, namespace, name)

    def _alive(self) -> str | None:
        if not self._election.is_leader:
            return None
        if self._loop.idle_seconds > STUCK_SECONDS:
            return f"no pass has ended for {self._loop.idle_seconds:.0f} s"
        if not self._watcher.is_running and self._watcher.fault is not None:
            return f"kopf has ended: {self._watcher.fault}"
        silent = {one.selection.resource.plural: one.silent_seconds for one in self._world.reflectors()}
        worst = max(silent, key=lambda name: silent[name])
        return f"nothing was heard of {worst} for {silent[worst]:.0f} s" if silent[worst] > SILENT_SECONDS else None

    def _ready(self) -> str | None:
        # A second operator that waits for the election is as ready as the first.
        return None
