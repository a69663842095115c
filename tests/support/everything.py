"""A cluster in which the operator does everything that it can do, once: for whoever counts what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hpi_core.api.base import API_VERSION, GROUP
from hpi_core.names import NODE_RUNTIME_PREFIX, PIPELINE
from hpi_operator.kube.resources import CHILDREN, CLAIMS, ENGINES, PIPELINES, ROUTES
from support.cluster_client import MERGE, ClusterClient
from support.control_plane.cluster import ControlPlane
from support.control_plane.namespaces import make_namespace
from support.eventually import eventually
from support.fake_agents import FakeAgents
from support.kinds import manifest
from support.manifests import Document
from support.nodes import a_node
from support.populate import create_nodes

OWN: Final = f"/apis/{GROUP}/v1alpha1"
NODE: Final = "everything-1"
NAMESPACE: Final = "everything"
SECONDS: Final = 120.0
LONG_AGO: Final = "2026-01-01T00:00:00Z"
ENGINE: Final = "e-" + "0" * 39
CONFIG: Final = "pipeline_name: OCR\nSubModules: {}\n"

STRAYS: Final = tuple(one for one in (*CHILDREN, ROUTES) if one is not CLAIMS)
"""Objects of a pipeline that the operator takes away when nothing wants them."""

ROUTE_KIND: Final[Document] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "httproutes.gateway.networking.k8s.io",
        # The server takes a group of Kubernetes' own from nobody else.
        "annotations": {"api-approved.kubernetes.io": "unapproved, a test's own"},
    },
    "spec": {
        "group": "gateway.networking.k8s.io",
        "names": {"kind": "HTTPRoute", "listKind": "HTTPRouteList", "plural": "httproutes", "singular": "httproute"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}
"""HTTPRoutes as far as the operator is concerned: an API that keeps what it is given."""


class Everything:
    """What people, agents and clusters do, so that the operator has to do all of its own."""

    def __init__(self, cluster: ControlPlane) -> None:
        """Have nodes, a pool, a runtime, a namespace and the API of HTTPRoutes."""
        self.admin = ClusterClient(cluster)
        make_namespace(cluster, NAMESPACE)
        self.admin.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", ROUTE_KIND)
        node = a_node(NODE)
        create_nodes(self.admin, [node])
        self.admin.request("POST", f"{OWN}/hpinodepools", manifest("HPINodePool"))
        self.admin.request("POST", f"{OWN}/hpiruntimes", manifest("HPIRuntime"))
        for plural, body in (
            ("secrets", {"metadata": {"name": "hub"}, "stringData": {"token": "t"}}),
            ("configmaps", {"metadata": {"name": "config"}, "data": {"pipeline.yaml": CONFIG}}),
        ):
            self.admin.request("POST", f"/api/v1/namespaces/{NAMESPACE}/{plural}", body)
        self.agents = FakeAgents(cluster, [node])

    def __enter__(self) -> Everything:
        return self

    def __exit__(self, *_: object) -> None:
        self.admin.close()

    def happen(self) -> None:
        """Ask for everything, an operator runs; return when it has done all of it."""
        with self.agents:
            # A usable runtime first: the self-test has passed, the node is labelled, the pod is gone.
            eventually(self._node_is_labelled, SECONDS)
            eventually(lambda: not self._objects("/api/v1/namespaces/hpi-system/pods"), SECONDS)
            self._make_pipelines()
            eventually(lambda: self._has("HTTPRoute") and self._has("HorizontalPodAutoscaler"), SECONDS)
            eventually(lambda: self._has("PersistentVolumeClaim"), SECONDS)
            eventually(lambda: self._has("Job") and self._objects(ENGINES.path(NAMESPACE)), SECONDS)
            eventually(self._is_ready, SECONDS)
            self._make_engines()
            self._make_strays()
            eventually(self._strays_are_gone, SECONDS)
            eventually(lambda: self._engine(ENGINE + "1") is None, SECONDS)
            eventually(lambda: self._is_told(self._engine(ENGINE + "2"), "Wanted"), SECONDS)
            for kind, name in (("hpinodepools", "default"), ("hpiruntimes", "hpi-cpu-1.4.0")):
                path = f"{OWN}/{kind}/{name}"
                eventually(lambda path=path: self._is_told(self.admin.find(path), "Ready"), SECONDS)  # type: ignore[misc]
            eventually(self._reports, SECONDS)

    def _make_pipelines(self) -> None:
        gateway = {"parentRefs": [{"name": "gateway"}]}
        model = {"name": "PP-OCRv6_small_det", "source": "hf://models/det", "credentialsSecretRef": {"name": "hub"}}
        self._pipeline(
            "routed",
            pipeline="OCR",
            modules=[{"path": "SubModules.TextDetection", "model": model}],
            autoscaling={"maxReplicas": 2},
            route=gateway,
        )
        cache = {"medium": "PersistentVolumeClaim", "sizeBytes": 2**30}
        key = {"configMapKeyRef": {"name": "config", "key": "pipeline.yaml"}}
        self._pipeline("kept", config=key, cache=cache)
        known = {"name": "PP-OCRv6_small_det", "digest": "sha256:" + "0" * 64}
        self._pipeline("ahead", module={"name": "text_detection", "model": known}, build={"policy": "Prebuild"})

    def _pipeline(self, name: str, **spec: Any) -> None:
        body = {"apiVersion": API_VERSION, "kind": "HPIPipeline", "metadata": {"name": name}, "spec": spec}
        self.admin.request("POST", PIPELINES.path(NAMESPACE), body)

    def _make_engines(self) -> None:
        for number, told in (("1", LONG_AGO), ("2", None)):
            document = manifest("HPIEngine")
            document["metadata"] = {"name": ENGINE + number}
            self.admin.request("POST", ENGINES.path(NAMESPACE), document)
            if told is not None:
                unwanted = {"type": "Wanted", "status": "False", "reason": "Unwanted", "lastTransitionTime": told}
                path = ENGINES.path(NAMESPACE, ENGINE + number, "status")
                self.admin.request("PATCH", path, {"status": {"conditions": [unwanted]}}, content_type=MERGE)

    def _make_strays(self) -> None:
        uid = self.admin.request("GET", PIPELINES.path(NAMESPACE, "routed"))["metadata"]["uid"]
        owner = {"apiVersion": API_VERSION, "kind": "HPIPipeline", "name": "routed", "uid": uid, "controller": True}
        for resource in STRAYS:
            body = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {"name": "stray", "labels": {PIPELINE: "routed"}, "ownerReferences": [owner]},
                **STRAY_PARTS.get(resource.kind, {}),
            }
            self.admin.request("POST", resource.path(NAMESPACE), body)

    def _strays_are_gone(self) -> bool:
        left = [one.kind for one in STRAYS if self.admin.find(one.path(NAMESPACE, "stray")) is not None]
        assert not left, left
        return True

    def _node_is_labelled(self) -> bool:
        labels = self.admin.request("GET", f"/api/v1/nodes/{NODE}")["metadata"]["labels"]
        return any(key.startswith(NODE_RUNTIME_PREFIX) for key in labels)

    def _is_ready(self) -> bool:
        found = self.admin.request("GET", PIPELINES.path(NAMESPACE, "routed"))
        return bool(found.get("status", {}).get("readyReplicas"))

    def _reports(self) -> bool:
        return any(
            one.get("reportingController", "").endswith("/hpi-operator")
            for one in self._objects("/apis/events.k8s.io/v1/events")
        )

    def _engine(self, name: str) -> Document | None:
        return self.admin.find(ENGINES.path(NAMESPACE, name))

    def _is_told(self, found: Document | None, type_: str) -> bool:
        return found is not None and any(one["type"] == type_ for one in found.get("status", {}).get("conditions", ()))

    def _has(self, kind: str) -> bool:
        [resource] = [one for one in (*CHILDREN, ROUTES) if one.kind == kind]
        return bool(self._objects(resource.path(NAMESPACE)))

    def _objects(self, path: str) -> list[Document]:
        found, _ = self.admin.items(path)
        return found


_POD: Final[Document] = {
    "metadata": {"labels": {"of": "stray"}},
    "spec": {"containers": [{"name": "c", "image": "registry.example/stray:1"}]},
}
STRAY_PARTS: Final[Mapping[str, Document]] = {
    "Deployment": {
        "spec": {"replicas": 0, "selector": {"matchLabels": {"of": "stray"}}, "template": _POD},
    },
    "Job": {"spec": {"suspend": True, "template": {"spec": {**_POD["spec"], "restartPolicy": "Never"}}}},
    "Service": {"spec": {"ports": [{"port": 80}]}},
    "HorizontalPodAutoscaler": {
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "stray"}}
    },
    "NetworkPolicy": {"spec": {"podSelector": {}}},
}
"""What the API server demands of an object of each kind."""
