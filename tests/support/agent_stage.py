"""A node with its HPINode, a runtime and pods, as the operator would have made them: what an agent has to deal with."""

from __future__ import annotations

from itertools import count
from typing import Any

from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.engine import EngineSpec, engine_name
from hpi_core.names import PART, PIPELINE, RESOLUTION, REVISION, RUNTIME, shortened
from support.agent_world import OWN
from support.cluster_client import ClusterClient
from support.control_plane.cluster import ControlPlane
from support.kinds import manifest
from support.manifests import Document
from support.nodes import PlayedNode, a_node
from support.pods import a_pod
from support.populate import create_nodes

NUMBERS = count(1)


class Stage:
    """One node with its HPINode, one runtime, a namespace: what the operator would have made."""

    def __init__(self, cluster: ControlPlane, client: ClusterClient, namespace: str) -> None:
        """Make all of it."""
        self.cluster, self.client, self.namespace = cluster, client, namespace
        number = next(NUMBERS)
        self.node = a_node(f"agent-{number}", gpus=2, taints=["rig:NoSchedule"])
        self.runtime = manifest("HPIRuntime")
        self.runtime["metadata"]["name"] = f"hpi-cpu-{number}"
        create_nodes(client, [self.node])
        client.request("POST", f"{OWN}/hpiruntimes", self.runtime)
        self.make_hpi_node(self.node)

    def make_hpi_node(self, node: PlayedNode, **more: Any) -> None:
        """Make the HPINode of a node."""
        uid = self.client.request("GET", f"/api/v1/nodes/{node.name}")["metadata"]["uid"]
        wanted = {"name": self.runtime["metadata"]["name"], "lockDigest": self.runtime["spec"]["lockDigest"]}
        owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": uid}
        document = {
            "apiVersion": API_VERSION,
            "kind": "HPINode",
            "metadata": {"name": node.name, "ownerReferences": [owner]},
            "spec": {"nodeUid": uid, "runtimes": [wanted], **more},
        }
        self.client.request("POST", f"{OWN}/hpinodes", document)

    def run(self, name: str, part: str, *, node: str = "", restarted: bool = True, **more: Any) -> str:
        """Create a pod of a part of the system; return its path."""
        labels = {PART: part, **more.pop("labels", {})}
        pod = a_pod(name, node=node or self.node.name, restarted=restarted, labels=labels, **more)
        self.client.request("POST", f"/api/v1/namespaces/{self.namespace}/pods", pod)
        return f"/api/v1/namespaces/{self.namespace}/pods/{name}"

    def self_test(self, name: str, **more: Any) -> str:
        """Create a self-test pod of the runtime."""
        image = self.runtime["spec"]["images"][0]["image"]
        labels = {RUNTIME: shortened(self.runtime["metadata"]["name"], 63)}
        return self.run(name, "self-test", restarted=False, image=image, labels=labels, **more)

    def serving(self, name: str, **more: Any) -> str:
        """Create a serving pod of the pipeline `ocr`."""
        return self.run(name, "serving", labels={PIPELINE: "ocr", REVISION: "5d8c7b9f4a"}, **more)

    def engine(self) -> str:
        """Create an HPIEngine; return its name."""
        document = manifest("HPIEngine")
        document["spec"]["tenant"] = self.namespace
        document["metadata"]["name"] = engine_name(EngineSpec.model_validate(document["spec"]))
        self.client.request("POST", f"{OWN}/namespaces/{self.namespace}/hpiengines", document)
        name: str = document["metadata"]["name"]
        return name

    def prebuild(self, name: str, engine: str, **more: Any) -> str:
        """Create the pod of a Job that builds an engine ahead."""
        return self.run(name, "prebuild", restarted=False, labels={RESOLUTION: engine}, **more)

    def status(self, node: str = "") -> Document:
        """Return what the agent said."""
        found: Document = self.client.request("GET", f"{OWN}/hpinodes/{node or self.node.name}").get("status", {})
        return found

    def runtime_status(self) -> Document:
        """Return what the agent said of the runtime."""
        runtimes: list[Document] = self.status().get("runtimes", [])
        assert len(runtimes) == 1
        return runtimes[0]

    def engine_status(self, engine: str) -> Document:
        """Return what an agent said of an engine."""
        found = self.client.request("GET", f"{OWN}/namespaces/{self.namespace}/hpiengines/{engine}")
        status: Document = found.get("status", {})
        return status
