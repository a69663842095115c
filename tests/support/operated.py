"""A cluster with nodes, agents and an operator, for tests that speak as its users do.

with Site(cluster) as site, OperatorProcess(cluster) as operator:
    site.create(ns, "ocr", replicas=2)
    site.wait(ns, "ocr", "Ready", "True")
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final

from hpi_core.names import PIPELINE
from hpi_operator.kube.resources import (
    CHILDREN,
    DEPLOYMENTS,
    EVENTS,
    HPI_NODES,
    NAMESPACES,
    NODE_POOLS,
    NODES,
    PIPELINES,
    PODS,
    RUNTIMES,
    SERVICE_ACCOUNTS,
    Resource,
)
from support.cluster_client import MERGE, ApiError, ClusterClient
from support.control_plane.cluster import ControlPlane
from support.eventually import eventually
from support.fake_agents import FakeAgents
from support.kinds import manifest
from support.manifests import Document, an_ocr_pipeline
from support.nodes import PlayedNode, a_node
from support.observed import CPU_RUNTIME, a_runtime
from support.operators import OperatorProcess
from support.populate import create_nodes

SECONDS: Final = 60.0
USUAL_NODES: Final = ("op-1", "op-2", "op-3")


class Site:
    """Nodes with agents, a pool, a runtime for processors; and what a user sees and does."""

    def __init__(self, cluster: ControlPlane, nodes: Iterable[PlayedNode] | None = None) -> None:
        """Describe it.

        Args:
            cluster: Where; it serves our kinds.
            nodes: What it has. None: three of processors alone.
        """
        self.cluster = cluster
        self.nodes = list(nodes) if nodes is not None else [a_node(name) for name in USUAL_NODES]
        self.client = ClusterClient(cluster)
        self.agents = FakeAgents(cluster, self.nodes)
        self.operator: OperatorProcess | None = None
        """The operator that runs there, where one does all the time."""

    def __enter__(self) -> Site:
        create_nodes(self.client, self.nodes)
        self.client.request("POST", NODE_POOLS.path(), {**manifest("HPINodePool"), "spec": {}})
        runtime = a_runtime().model_dump(mode="json", by_alias=True, exclude_none=True)
        self.client.request("POST", RUNTIMES.path(), runtime)
        self.agents.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.agents.__exit__(kind, error, trace)
        self.client.close()

    def wait_until_usable(self, *names: str) -> None:
        """Return when the runtime for processors may be used on nodes, on all of them unless told otherwise."""
        wanted = set(names or [node.name for node in self.nodes])

        def are_labelled() -> bool:
            label = f"runtime.hpi.paddlex.io/{CPU_RUNTIME}"
            found, _ = self.client.items(NODES.path(), labelSelector=label)
            return wanted <= {one["metadata"]["name"] for one in found}

        eventually(are_labelled, SECONDS)

    # What a user does.

    def make_namespace(self, name: str) -> str:
        """Make a namespace, and return its name when pods may be made in it; controllers that begin anew take long."""
        self.client.request("POST", NAMESPACES.path(), {"metadata": {"name": name}})
        self.there(SERVICE_ACCOUNTS, name, "default", seconds=180.0)
        return name

    def add_node(self, node: PlayedNode) -> None:
        """Have one more node, with an agent."""
        self.agents.add(node)
        create_nodes(self.client, [node])

    def create(self, namespace: str, name: str, **spec: Any) -> Document:
        """Create a pipeline, with fields of its spec changed; `...` takes a field out."""
        document = an_ocr_pipeline(**spec)
        document["metadata"] = {"name": name}
        return self.client.request("POST", PIPELINES.path(namespace), document)

    def change(self, namespace: str, name: str, **spec: Any) -> Document:
        """Change fields of a pipeline's spec; None takes one out."""
        patch = {"spec": spec}
        return self.client.request("PATCH", PIPELINES.path(namespace, name), patch, content_type=MERGE)

    def apply(self, document: Document, *, manager: str = "kubectl", force: bool = True) -> Document:
        """State an object by server-side apply."""
        metadata = document["metadata"]
        [resource] = [
            one
            for one in (*CHILDREN, PIPELINES)
            if (one.api_version, one.kind) == (document["apiVersion"], document["kind"])
        ]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return self.client.apply(path, document, manager=manager, force=force)

    def patch(self, resource: Resource, namespace: str, name: str, patch: Document, *, manager: str = "") -> Document:
        """Change an object as `kubectl patch --type=merge` does."""
        query = {"fieldManager": manager} if manager else {}
        path = resource.path(namespace or None, name)
        return self.client.request("PATCH", path, patch, content_type=MERGE, query=query)

    def scale(self, namespace: str, name: str, replicas: int, *, manager: str = "kubectl") -> None:
        """Scale a Deployment by its subresource, as `kubectl scale` and autoscalers do."""
        path = DEPLOYMENTS.path(namespace, name, "scale")
        query = {"fieldManager": manager}
        self.client.request("PATCH", path, {"spec": {"replicas": replicas}}, content_type=MERGE, query=query)

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete an object, where it is there."""
        try:
            self.client.request("DELETE", resource.path(namespace or None, name))
        except ApiError as error:
            if error.code != 404:
                raise

    # What a user sees.

    def find(self, resource: Resource, namespace: str, name: str) -> Document | None:
        """Return an object, None where there is none."""
        return self.client.find(resource.path(namespace or None, name))

    def there(self, resource: Resource, namespace: str, name: str, seconds: float = SECONDS) -> Document:
        """Return an object as soon as it is there."""
        found = eventually(lambda: self.find(resource, namespace, name), seconds)
        assert found is not None
        return found

    def children(self, resource: Resource, namespace: str, pipeline: str) -> dict[str, Document]:
        """Return the objects of a kind that carry a pipeline's label, by name."""
        found, _ = self.client.items(resource.path(namespace), labelSelector=f"{PIPELINE}={pipeline}")
        return {one["metadata"]["name"]: one for one in found}

    def ready_pods(self, namespace: str, pipeline: str) -> dict[str, Document]:
        """Return the pods of a pipeline that are ready, by name."""
        pods = self.children(PODS, namespace, pipeline)
        return {name: one for name, one in pods.items() if _is_true(one, "Ready")}

    def status(self, namespace: str, name: str) -> Document:
        """Return the status of a pipeline, empty where it has none."""
        found = self.client.request("GET", PIPELINES.path(namespace, name))
        status: Document = found.get("status", {})
        return status

    def condition(self, namespace: str, name: str, type_: str) -> Document:
        """Return a condition of a pipeline, empty where it has none."""
        conditions = self.status(namespace, name).get("conditions", ())
        return next((one for one in conditions if one["type"] == type_), {})

    def wait(
        self,
        namespace: str,
        name: str,
        type_: str,
        status: str,
        reason: str | None = None,
        *,
        says: str = "",
        seconds: float = SECONDS,
    ) -> Document:
        """Return a condition of a pipeline as soon as it is so.

        Args:
            namespace: Of the pipeline.
            name: Of the pipeline.
            type_: Of the condition.
            status: Of the condition.
            reason: Its reason. None: any.
            says: Part of its message.
            seconds: How long to wait.
        """

        def look() -> Document:
            one = self.condition(namespace, name, type_)
            assert one, f"{name} has no condition {type_}: {self.status(namespace, name)}"
            assert (one["status"], says in one["message"]) == (status, True), one
            assert reason in (None, one["reason"]), one
            return one

        return eventually(look, seconds)

    def serves(self, namespace: str, name: str, seconds: float = SECONDS) -> Document:
        """Return the status of a pipeline as soon as it is ready and its rollout is over."""
        self.wait(namespace, name, "Ready", "True", seconds=seconds)
        self.wait(namespace, name, "Progressing", "False", "RolloutComplete", seconds=seconds)
        return self.status(namespace, name)

    def events(self, namespace: str, reason: str | None = None) -> list[Document]:
        """Return the operator's events in a namespace, of one reason or of all."""
        found, _ = self.client.items(EVENTS.path(namespace))
        ours = [one for one in found if one.get("reportingController", "").endswith("/hpi-operator")]
        return [one for one in ours if reason in (None, one["reason"])]

    def hpi_node(self, name: str) -> Document | None:
        """Return an HPINode, None where there is none."""
        return self.client.find(HPI_NODES.path(None, name))


def _is_true(document: Document, type_: str) -> bool:
    conditions = document.get("status", {}).get("conditions", ())
    return any(one["type"] == type_ and one["status"] == "True" for one in conditions)


def a_foreign_object(resource: Resource, name: str, **content: Any) -> Document:
    """Return an object that belongs to somebody else."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "labels": {"app": "somebody-elses"}},
        **content,
    }
