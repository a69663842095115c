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
from collections.abc import Callable
from typing import Final, NoReturn

from hpi_core.names import AGENT_PORT, NODE_FOLDER, OPERATOR_NAMESPACE
from hpi_operator.commands.process import Operator
from hpi_operator.kube.api import Api
from hpi_operator.kube.bucket import Bucket
from hpi_operator.kube.election import Election, Pace
from hpi_operator.logs import log_to_stderr
from hpi_operator.plan.observed import Settings
from hpi_operator.rights import LEASE

log: Final = logging.getLogger(__name__)

SHORTEST_LEASE_SECONDS: Final = 3


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of `run`."""
    parser = subparsers.add_parser(
        "run",
        help="reconcile HPIPipelines, nodes and runtimes",
        description="Reconcile HPIPipelines into workloads, nodes into HPINodes. Of several that run, one acts.",
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="$KUBECONFIG where not given, else the pod's own rights")
    parser.add_argument(
        "--namespace", default=os.environ.get("HPI_NAMESPACE", OPERATOR_NAMESPACE), help="the operator's own"
    )
    parser.add_argument("--writes-per-second", type=_positive(float), default=50.0, metavar="N")
    parser.add_argument("--write-burst", type=_positive(int), default=100, metavar="N")
    parser.add_argument("--workers", type=_positive(int), default=8, metavar="N")
    parser.add_argument(
        "--lease-seconds",
        type=_at_least(SHORTEST_LEASE_SECONDS),
        default=60,
        metavar="N",
        help="after so long without a renewal another operator acts; an API server may be away for half of it",
    )
    parser.add_argument("--health-host", default="127.0.0.1", metavar="HOST")
    parser.add_argument("--health-port", type=_at_least(0), default=8081, metavar="N", help="0: any free port")
    parser.add_argument("--agent-port", type=_positive(int), default=AGENT_PORT, metavar="N")
    parser.add_argument(
        "--node-folder", default=NODE_FOLDER, metavar="DIR", help="folder of every node that its agent owns"
    )
    parser.add_argument("--image-pull-policy", choices=("IfNotPresent", "Always", "Never"), default="IfNotPresent")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    parser.set_defaults(run=run)


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"must be greater than 0, got {text}")
        return value

    read.__name__ = "number"
    return read


def _at_least(lowest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if value < lowest:
            raise argparse.ArgumentTypeError(f"must be at least {lowest}, got {text}")
        return value

    read.__name__ = "number"
    return read


def run(arguments: argparse.Namespace) -> int:
    """Run until a signal, and return 0; where leadership is lost, the process ends at once with 1."""
    log_to_stderr(arguments.log_level)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    api = Api.connect(Bucket(arguments.writes_per_second, arguments.write_burst), kubeconfig=arguments.kubeconfig)
    identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    election = Election(api, arguments.namespace, LEASE, identity, Pace.of(arguments.lease_seconds))
    api.may_write = lambda: election.is_leader
    operator = Operator(
        api,
        election,
        Settings(
            namespace=arguments.namespace,
            agent_port=arguments.agent_port,
            image_pull_policy=arguments.image_pull_policy,
            node_folder=arguments.node_folder,
        ),
        kubeconfig=arguments.kubeconfig,
        workers=arguments.workers,
        health=(arguments.health_host, arguments.health_port),
    )
    if not operator.run(stopping):
        _end_at_once()
    return 0


def _end_at_once() -> NoReturn:
    """End without waiting for any thread: another operator may act by now, and nothing begun here must be finished."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(1)
