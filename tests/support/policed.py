"""A cluster in which the admission policies hold: two nodes, their agents, and objects that agents write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import Any, Final

from hpi_core.api.base import API_VERSION, GROUP
from hpi_core.names import AGENT_FIELD_MANAGER, AGENT_REPORTER, FIELD_MANAGER, RESOLUTION
from support.cluster_client import MERGE, ApiError, ClusterClient
from support.control_plane.cluster import ControlPlane
from support.eventually import eventually
from support.installation import a_token, install, run_on
from support.kinds import manifest
from support.manifests import Document
from support.nodes import a_node
from support.resolution_lease import lease_path

OWN: Final = f"/apis/{GROUP}/v1alpha1"
EVENTS: Final = "/apis/events.k8s.io/v1/namespaces/{}/events"
ONE: Final = "policed-1"
OTHER: Final = "policed-2"
DENIED: Final = "denied request: "
NUMBERS: Final = count(1)


class Policed:
    """The cluster, for one module of tests."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        """Install accounts and policies, and return when they hold."""
        self.cluster = cluster
        self.namespace = namespace
        self.admin = ClusterClient(cluster)
        self._clients = [self.admin]
        self.installation = install(cluster, "rbac", "policies")
        self.uids: dict[str, str] = {}
        for node in (ONE, OTHER):
            made = self.admin.request("POST", "/api/v1/nodes", a_node(node).manifest)
            self.uids[node] = made["metadata"]["uid"]
            self.make_hpi_node(node, self.uids[node])
        self.agent = self.agent_on(ONE)
        self.other_agent = self.agent_on(OTHER)
        self.unbound = self.holder_of(a_token(self.admin, self.installation.agent))
        operator = self.installation.operator
        self.operator = self.holder_of(a_token(self.admin, operator))
        eventually(self._hold)

    def __enter__(self) -> Policed:
        return self

    def __exit__(self, *_: object) -> None:
        """Take away what other tests would meet."""
        for node in (ONE, OTHER):
            self.admin.request("DELETE", f"{OWN}/hpinodes/{node}")
            self.admin.request("DELETE", f"/api/v1/nodes/{node}")
        for client in self._clients:
            client.close()

    def holder_of(self, token: str) -> ClusterClient:
        """Return the connection of whoever holds a token."""
        self._clients.append(ClusterClient(self.cluster, token=token))
        return self._clients[-1]

    def agent_on(self, node: str) -> ClusterClient:
        """Return the connection of an agent whose pod runs on a node."""
        pod = run_on(self.admin, self.installation.agent, node, f"agent-{next(NUMBERS)}")
        return self.holder_of(a_token(self.admin, self.installation.agent, pod=pod))

    def make_hpi_node(self, name: str, uid: str) -> str:
        """Create an HPINode; return the path of its status."""
        metadata = {"name": name}
        body = {"apiVersion": API_VERSION, "kind": "HPINode", "metadata": metadata, "spec": {"nodeUid": uid}}
        self.admin.request("POST", f"{OWN}/hpinodes", body)
        return f"{OWN}/hpinodes/{name}/status"

    def engine(self, **status: object) -> str:
        """Create an HPIEngine with a status; return the path of that."""
        document = manifest("HPIEngine")
        name = engine_name()
        document["metadata"] = {"name": name, "namespace": self.namespace}
        path = f"{OWN}/namespaces/{self.namespace}/hpiengines"
        self.admin.request("POST", path, document)
        if status:
            self.admin.request("PATCH", f"{path}/{name}/status", {"status": status}, content_type=MERGE)
        return f"{path}/{name}/status"

    def lease(self, path: str = "", **fields: Any) -> Document:
        """Return a Lease of a new resolution as the agent on `ONE` writes it, or the one of a path, changed."""
        if path:
            found = self.admin.request("GET", path)
            return {**found, "spec": {**found["spec"], "renewTime": moment(), **fields}}
        name = engine_name()
        spec = {"holderIdentity": ONE, "renewTime": moment(), "leaseDurationSeconds": 15, "leaseTransitions": 0}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {RESOLUTION: name}},
            "spec": {**spec, **fields},
        }

    def held_lease(self, holder: str = OTHER, *, seconds_ago: float = 0.0, **fields: Any) -> str:
        """Create a Lease that a node has held since; return its path."""
        lease = self.lease(holderIdentity=holder, renewTime=moment(-seconds_ago), leaseTransitions=4, **fields)
        self.admin.request("POST", lease_path(self.namespace), lease, query={"fieldManager": AGENT_FIELD_MANAGER})
        return f"{lease_path(self.namespace)}/{lease['metadata']['name']}"

    def _hold(self) -> bool:
        # Policies and bindings reach the server's memory one after another.
        name = engine_name()
        body: Document = {"status": {"observedGeneration": 7}}
        engine = self.engine()
        event = an_event(self.namespace)
        for send in (
            lambda: self.unbound.request("PATCH", f"{OWN}/hpinodes/{ONE}/status", body, content_type=MERGE),
            lambda: self.unbound.request("PATCH", engine, body, content_type=MERGE),
            lambda: self.operator.request("PATCH", engine, body, content_type=MERGE),
            lambda: self.unbound.request("POST", EVENTS.format(self.namespace), event),
            lambda: self.unbound.request("POST", lease_path(self.namespace), {"metadata": {"name": name}, "spec": {}}),
        ):
            assert DENIED in refusal(send)
        return True


def engine_name() -> str:
    """Return a name that no other test gives an HPIEngine or its Lease."""
    return f"e-{next(NUMBERS):040x}"


def moment(seconds: float = 0.0) -> str:
    """Return a moment so many seconds from now as a Lease words it."""
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def an_event(namespace: str, **fields: object) -> Document:
    """Return an event about an HPIEngine as the agent on `ONE` tells it."""
    return {
        "metadata": {"name": engine_name(), "namespace": namespace},
        "eventTime": moment(),
        "reportingController": AGENT_REPORTER,
        "reportingInstance": ONE,
        "action": "Build",
        "reason": "Decided",
        "type": "Normal",
        "regarding": {"kind": "HPIEngine", "namespace": namespace, "name": "e"},
        **fields,
    }


def state(client: ClusterClient, path: str, kind: str, status: Document) -> Document:
    """State a status by server-side apply, as an agent does."""
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {}, "status": status}
    return client.apply(path, body, manager=AGENT_FIELD_MANAGER, force=True)


def say_wanted(client: ClusterClient, path: str, **more: object) -> Document:
    """State the condition `Wanted`, as the operator does."""
    told = [a_condition("Wanted")]
    body = {"apiVersion": API_VERSION, "kind": "HPIEngine", "metadata": {}, "status": {"conditions": told, **more}}
    return client.apply(path, body, manager=FIELD_MANAGER, force=True)


def a_condition(type_: str, status: str = "True") -> Document:
    """Return a condition."""
    return {"type": type_, "status": status, "reason": "InUse", "lastTransitionTime": "2026-03-01T10:00:00Z"}


def refusal(send: Callable[[], object]) -> str:
    """Return what the API server says against a request; an assertion fails where it does as asked."""
    try:
        done = send()
    except ApiError as error:
        refused = error
    else:
        raise AssertionError(f"it was done: {done}")
    assert refused.code in (401, 403, 422), refused
    return str(refused)


def denial(send: Callable[[], object]) -> str:
    """Return what a policy says against a request: its own words alone."""
    said = refusal(send)
    assert DENIED in said, said
    return said.partition(DENIED)[2]
