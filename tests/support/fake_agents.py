"""Node agents that are played: they speak the status protocol of real ones, for as many nodes as there are.

    with FakeAgents(cluster, [a_node("n1", gpus=2)]) as agents:      # of Nodes that exist, or come later
        agents.fail_self_test("hpi-gpu-cu126-1.4.0", "libnvinfer.so.10 is missing", node="n1")

A real agent watches one HPINode. These share four watches among them, because a thousand connections are more than a
test needs; what each of them writes, and when, is the same: nothing where nothing has changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import Final
from zlib import crc32

import httpx2

from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.node import Hardware
from hpi_core.names import AGENT_FIELD_MANAGER, RESOLUTION
from support.agent_builds import Builds, Order, stamp
from support.agent_reports import Active, Sight, Told, node_status
from support.agent_world import OWN, AgentWorld
from support.cluster_client import ApiError, ClusterClient
from support.control_plane.clients import Client
from support.control_plane.cluster import ControlPlane
from support.manifests import Document
from support.mirror import Key
from support.nodes import PlayedNode
from support.worker import Worker

WORKERS: Final = 4
RETRY_SECONDS: Final = 0.5
PASSING: Final = frozenset({429, 500, 503, 504})
"""Answers after which the same request may succeed."""
AGENT: Final = "hpi-agent-player"
"""What they call themselves; the audit log has it."""


@dataclass
class _Agent:
    """What one agent knows that the cluster does not tell it."""

    hardware: Hardware
    stated: Document | None = None
    """The status that it stated last."""
    stated_of: str = ""
    """UID of the HPINode that it stated it of."""
    failing: dict[str, str] = field(default_factory=dict)
    asked: dict[Key, datetime] = field(default_factory=dict)
    """Resolutions that a serving pod asks it to build, with the time since."""


class FakeAgents:
    """Agents on some nodes, between `with` and its end."""

    def __init__(
        self,
        cluster: ControlPlane,
        nodes: Iterable[PlayedNode] = (),
        *,
        user: Client | None = None,
        url: str | None = None,
        settle_seconds: float = 0.0,
        build_seconds: float = 0.0,
        lease_seconds: int = 15,
    ) -> None:
        """Describe them.

        Args:
            cluster: Where; it must serve our kinds.
            nodes: Each gets an agent.
            user: In whose name they speak. None: the admin's.
            url: Where they ask: a proxy's. None: the API server itself.
            settle_seconds: How long a ready pod is told as building before its engines count as measured.
            build_seconds: How long a build takes that `build` asks for.
            lease_seconds: How long a Lease is its holder's without a renewal.
        """
        self._lock = threading.Lock()
        self._agents = {node.name: _Agent(node.hardware) for node in nodes}
        self._told: dict[Key, Told] = {}
        self._settle = timedelta(seconds=settle_seconds)
        self._build = timedelta(seconds=build_seconds)
        self._workers = [Worker(self._look) for _ in range(WORKERS)]
        self._client = ClusterClient(cluster, user, agent=AGENT, url=url)
        self._builds = Builds(self._client, lease_seconds, self._wake)
        self._world = AgentWorld(lambda: ClusterClient(cluster, user, agent=AGENT, url=url), self._wake, self._wake_all)
        self.problems: list[Exception] = []
        """What an agent met that no honest one may meet: a status that is refused, an object against the contract. The
        end of the `with` block raises the first."""

    def __enter__(self) -> FakeAgents:
        # Whoever has not seen everything says nothing: half a picture would be told as a node without pods.
        try:
            self._world.start()
        except BaseException:
            self._world.stop()
            raise
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._world.stop()
        for worker in self._workers:
            worker.stop()
        self._client.close()
        if kind is None and self.problems:
            raise self.problems[0]

    def add(self, node: PlayedNode) -> None:
        """Start an agent, or let it find other hardware than before."""
        with self._lock:
            self._agents.setdefault(node.name, _Agent(node.hardware)).hardware = node.hardware
        self._wake(node.name)

    def kill(self, node: str) -> None:
        """End an agent without a word: it reports no more, and its Leases expire."""
        with self._lock:
            del self._agents[node]
        self._builds.leases.forget(node)

    def fail_self_test(self, runtime: str, message: str, *, node: str | None = None) -> None:
        """Report failed self-tests of a runtime, on one node or on all, whatever their pods say."""
        with self._lock:
            for name, agent in self._agents.items():
                if node in (None, name):
                    agent.failing[runtime] = message
        self._wake_all()

    def tell(
        self,
        namespace: str,
        pipeline: str,
        active: Active = "measured",
        *,
        message: str = "",
        engines: Iterable[str] = (),
        models: Iterable[Document] = (),
    ) -> None:
        """Report the ready pods of a pipeline as such from now on, with the HPIEngines and the models that they use."""
        with self._lock:
            self._told[namespace, pipeline] = Told(active, message, tuple(engines), models=tuple(models))
        self._wake_all()

    def build(self, node: str, namespace: str, engine: str) -> None:
        """Let a serving pod on a node ask its agent to build an HPIEngine."""
        with self._lock:
            self._agents[node].asked[namespace, engine] = datetime.now(timezone.utc)
        self._wake(node)

    def fail_build(self, namespace: str, engine: str, message: str) -> None:
        """Let every build of an HPIEngine fail from now on."""
        self._builds.failing[namespace, engine] = message

    def _wake(self, node: str, after_seconds: float = 0.0) -> None:
        # One node is always the same worker's, so that no agent does two things at once.
        self._workers[crc32(node.encode()) % WORKERS].put(node, after_seconds)

    def _wake_all(self) -> None:
        with self._lock:
            names = list(self._agents)
        for name in names:
            self._wake(name)

    def _look(self, node: str) -> None:
        """Do what the agent of one node does when something changed, and come back when the server is away."""
        with self._lock:
            agent = self._agents.get(node)
        if agent is None:
            return
        try:
            self._see_to_builds(node, agent)
            self._report(node, agent)
        except httpx2.TransportError:
            self._wake(node, RETRY_SECONDS)
        except ApiError as error:
            if error.code in PASSING:
                self._wake(node, RETRY_SECONDS)
            elif error.code != 404:  # The object is gone since.
                self.problems.append(error)
        except Exception as error:
            # A thread has nobody to raise it to; the end of the block does it.
            self.problems.append(error)

    def _see_to_builds(self, node: str, agent: _Agent) -> None:
        now = datetime.now(timezone.utc)
        orders = [
            Order(
                (pod["metadata"]["namespace"], pod["metadata"]["labels"][RESOLUTION]),
                pod["metadata"]["uid"],
                pod["status"].get("phase", "Pending"),
                "the pod of the build failed",
            )
            for pod in self._world.pods_on(node, "prebuild")
            if RESOLUTION in pod["metadata"]["labels"]
        ]
        with self._lock:
            asked = list(agent.asked.items())
        for key, since in asked:
            left = (since + self._build - now).total_seconds()
            orders.append(Order(key, since.isoformat(), "Running" if left > 0 else "Succeeded"))
            if left > 0:
                self._wake(node, left)
        driver = next((one.version for one in agent.hardware.drivers if one.version), None)
        for order in orders:
            engine = self._world.engines.get(order.engine[1], order.engine[0])
            if engine is not None:
                self._builds.advance(node, order, engine, driver)
            elif order.engine in agent.asked:
                # The watch has not come as far as what it was asked for: nothing else would have it look again.
                self._wake(node, RETRY_SECONDS)

    def _report(self, node: str, agent: _Agent) -> None:
        hpi_node = self._world.hpi_nodes.get(node)
        if hpi_node is None:
            return
        uid = hpi_node["metadata"]["uid"]
        if agent.stated_of == uid:
            # The watch may not have come as far as what this agent said itself.
            hpi_node = {**hpi_node, "status": agent.stated}
        status = node_status(self._sight(node, agent, hpi_node))
        # An agent that starts anew and finds what it would say writes nothing either.
        if any(hpi_node.get("status", {}).get(name) != value for name, value in status.items()):
            self._state(node, uid, status)
        agent.stated, agent.stated_of = status, uid

    def _state(self, node: str, uid: str, status: Document) -> None:
        path, metadata = f"{OWN}/hpinodes/{node}", {"name": node, "uid": uid}
        body = {"apiVersion": API_VERSION, "kind": "HPINode", "metadata": metadata, "status": status}
        try:
            self._client.apply(f"{path}/status", body, manager=AGENT_FIELD_MANAGER)
        except ApiError as error:
            live = self._client.find(path) if error.code == 409 else None
            if error.code != 409 or (live is not None and live["metadata"]["uid"] == uid):
                raise
            # Another HPINode has the name since, which the watch will tell of.

    def _sight(self, node: str, agent: _Agent, hpi_node: Document) -> Sight:
        now = datetime.now(timezone.utc)
        ready = [(pod, since) for pod in self._world.pods_on(node, "serving") if (since := _ready_since(pod))]
        ages = [(pod, now - since) for pod, since in ready]
        for _, age in ages:
            if age < self._settle:
                self._wake(node, (self._settle - age).total_seconds())
        wanted = [(one["namespace"], one["name"]) for one in hpi_node["spec"].get("engines", ())]
        with self._lock:
            told, failing = dict(self._told), dict(agent.failing)
        return Sight(
            hardware=agent.hardware,
            hpi_node=hpi_node,
            runtimes={one["metadata"]["name"]: one for one in self._world.runtimes.all()},
            self_tests=self._world.pods_on(node, "self-test"),
            serving=[pod for pod, age in ages if age >= self._settle],
            settling=[pod for pod, age in ages if age < self._settle],
            engines=self._builds.states(node, {key: self._world.engines.get(key[1], key[0]) for key in wanted}),
            told=told,
            failing=failing,
            now=stamp(now),
        )


def _ready_since(pod: Document) -> datetime | None:
    """Return since when a pod is ready, None when it is not, or ends."""
    if "deletionTimestamp" in pod["metadata"]:
        return None
    for one in pod["status"].get("conditions", ()):
        if one["type"] == "Ready" and one["status"] == "True":
            return datetime.fromisoformat(one["lastTransitionTime"].replace("Z", "+00:00"))
    return None
