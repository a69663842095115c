"""`hpi-agent node` as a process of its own against a control plane, with the token of a pod on its node.

with NodeAgent(site, "n1") as agent:
    agent.port, agent.lines("the status was written"), agent.kill(), agent.stop()
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx2

from hpi_core.api.base import API_VERSION
from hpi_core.names import AGENT_AUDIENCE
from hpi_operator.install.installation import Account
from hpi_operator.plan.workload.pod import CONTAINER_SECURITY, pod_security
from support.cluster_client import MERGE, ApiError, ClusterClient
from support.control_plane.cluster import ControlPlane
from support.control_plane.process import Process
from support.eventually import eventually
from support.installation import INSTALLATION, a_token, install, run_on
from support.manifests import Document
from support.nodes import a_node
from support.pods import a_pod
from support.process_usage import processor_seconds, resident_bytes

OWN: Final = "/apis/hpi.paddlex.io/v1alpha1"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
NUMBERS: Final = count(1)


class AgentSite:
    """A cluster with the accounts, rights and policies of an installation, and nodes for agents."""

    def __init__(self, cluster: ControlPlane, folder: Path) -> None:
        """Install accounts and policies; `folder` holds tokens, stores and logs."""
        self.cluster = cluster
        self.folder = folder
        self.admin = ClusterClient(cluster)
        install(cluster, "rbac", "policies")
        eventually(self._policies_hold)

    def __enter__(self) -> AgentSite:
        return self

    def __exit__(self, *_: object) -> None:
        self.admin.close()

    def _policies_hold(self) -> bool:
        # They reach the server's memory one after another; a token that says no node is refused by each.
        token = a_token(self.admin, INSTALLATION.agent)
        lease = {"metadata": {"name": f"e-{next(NUMBERS):040x}"}, "spec": {}}
        node = f"unbound-{next(NUMBERS)}"
        self.admin.request("POST", "/api/v1/nodes", a_node(node).manifest)
        self.make_hpi_node(node)
        with ClusterClient(self.cluster, token=token) as unbound:
            for method, path, body in (
                ("PATCH", f"{OWN}/hpinodes/{node}/status", {"status": {"observedGeneration": 7}}),
                ("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases", lease),
            ):
                try:
                    unbound.request(method, path, body, content_type=MERGE if method == "PATCH" else "application/json")
                except ApiError as error:
                    if "denied request" in str(error):
                        continue
                return False
        return True

    def make_node(self, **spec: Any) -> str:
        """Make a Node and, unless `hpi_node=False`, its HPINode; return the name."""
        name = f"agent-node-{next(NUMBERS)}"
        self.admin.request("POST", "/api/v1/nodes", a_node(name).manifest)
        if spec.pop("hpi_node", True):
            self.make_hpi_node(name, **spec)
        return name

    def node_uid(self, name: str) -> str:
        """Return the UID of a Node."""
        uid: str = self.admin.request("GET", f"/api/v1/nodes/{name}")["metadata"]["uid"]
        return uid

    def make_hpi_node(self, name: str, **spec: Any) -> str:
        """Make the HPINode of a Node, as the operator does; return its UID."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "HPINode",
            "metadata": {"name": name},
            "spec": {"nodeUid": self.node_uid(name), **spec},
        }
        uid: str = self.admin.request("POST", f"{OWN}/hpinodes", body)["metadata"]["uid"]
        return uid

    def hpi_node(self, name: str) -> Document:
        """Return an HPINode."""
        return self.admin.request("GET", f"{OWN}/hpinodes/{name}")

    def status(self, name: str) -> Document:
        """Return what its agent has said."""
        found: Document = self.hpi_node(name).get("status", {})
        return found

    def agent_token(self, node: str) -> Path:
        """Return a file with the token of an agent's pod on a node, as a kubelet mounts it."""
        pod = run_on(self.admin, INSTALLATION.agent, node, f"node-agent-{next(NUMBERS)}")
        path = self.folder / f"token-{node}"
        path.write_text(a_token(self.admin, INSTALLATION.agent, pod=pod), encoding="ascii")
        return path

    def serving_pod(self, namespace: str, node: str, account: str = "ocr", *, audience: str = AGENT_AUDIENCE) -> str:
        """Run a pod of an account on a node; return its token for an audience."""
        return self.token_of(namespace, node, account, f"pod-{next(NUMBERS)}", audience=audience)

    def token_of(self, namespace: str, node: str, account: str, pod: str, *, audience: str = AGENT_AUDIENCE) -> str:
        """Run a pod of a name; return its token for an audience."""
        document = a_pod(pod, node=node)
        document["metadata"]["namespace"] = namespace
        document["spec"] |= {"serviceAccountName": account, "securityContext": pod_security(group=False)}
        document["spec"]["containers"][0]["securityContext"] = CONTAINER_SECURITY
        return self.token_of_pod(document, audience=audience)

    def token_of_pod(self, pod: Document, *, audience: str = AGENT_AUDIENCE) -> str:
        """Run a pod; return its token for an audience."""
        namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        if self.admin.find(f"{accounts}/{account}") is None:
            self.admin.request("POST", accounts, {"metadata": {"name": account}})
        made = self.admin.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
        return a_token(self.admin, Account(namespace, account), pod=made, audience=audience)


class NodeAgent:
    """One running agent, between `with` and its end."""

    def __init__(
        self, site: AgentSite, node: str, *arguments: str, url: str | None = None, within: Sequence[str] = ()
    ) -> None:
        """Describe it.

        Args:
            site: Where.
            node: Which node it is of.
            arguments: More of `hpi-agent node`.
            url: Where it asks: a proxy's. None: the API server itself.
            within: Words of another command that the agent is run by.
        """
        self._site = site
        self.node = node
        self.store = site.folder / f"store-{node}"
        self._token = site.agent_token(node)
        self._url = url or site.cluster.url
        self._arguments = arguments
        self._within = within
        self._process: Process | None = None
        self.log = site.folder / f"{node}.log"
        self.port = 0

    def __enter__(self) -> NodeAgent:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.stop(STOP_SECONDS)
        if kind is not None and self.log.exists():
            print(self.log.read_text(encoding="utf-8")[-8_000:])

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None, "this agent does not run"
        return self._process.pid

    def start(self) -> NodeAgent:
        """Start it, and return when pods are answered."""
        begun = len(self.lines("the agent serves its node"))
        self._process = Process(
            f"agent-{self.node}",
            [
                *self._within,
                *(sys.executable, "-m", "hpi_agent", "node", "--host", "127.0.0.1", "--port", str(self.port)),
                *("--store", str(self.store), "--api-server", self._url, "--api-token", str(self._token)),
                *("--api-authority", str(self._site.cluster.authority), *self._arguments),
            ],
            directory=self._site.folder,
            log=self.log,
            environment={"PATH": os.defpath, "HOME": str(self._site.folder / "home"), "PYTHONUNBUFFERED": "1"},
        )
        eventually(
            lambda: self._still() and len(self.lines("the agent serves its node")) > begun, seconds=START_SECONDS
        )
        self.port = int(self.lines("the agent serves its node")[-1]["port"])
        return self

    def stop(self) -> int | None:
        """End it in order; return its exit code."""
        assert self._process is not None
        process, self._process = self._process, None
        os.kill(process.pid, signal.SIGTERM)
        code = process.wait(STOP_SECONDS)
        process.stop(0.0)
        return code

    def kill(self) -> None:
        """End it as a node that dies ends it."""
        assert self._process is not None
        process, self._process = self._process, None
        os.kill(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
        process.stop(0.0)

    def lines(self, message: str) -> list[Document]:
        """Return the lines of its log with a message, of all its starts."""
        if not self.log.exists():
            return []
        found = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            if line.startswith("{") and line.endswith("}"):
                document = json.loads(line)
                if document.get("message") == message:
                    found.append(document)
        return found

    def ask(
        self, method: str, path: str, token: str, body: Document | None = None, seconds: float = 40.0
    ) -> httpx2.Response:
        """Ask as a pod does."""
        return httpx2.request(
            method,
            f"http://127.0.0.1:{self.port}{path}",
            headers={"Authorization": f"Bearer {token}"},
            content=None if body is None else json.dumps(body),
            timeout=seconds,
            trust_env=False,
        )

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        return processor_seconds(self.pid)

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        return resident_bytes(self.pid)

    def _still(self) -> bool:
        assert self._process is not None
        assert self._process.exit_code is None, f"the agent has ended:\n{self.log.read_text(encoding='utf-8')[-4_000:]}"
        return True


def written(site: AgentSite, node: str, seconds: float = 30.0) -> Document:
    """Return the status of a node as soon as its agent has written one."""
    found: Document = eventually(lambda: site.status(node), seconds=seconds)
    return found


def wait(seconds: float) -> None:
    """Let time pass in which nothing may happen: what is measured is the silence."""
    time.sleep(seconds)
