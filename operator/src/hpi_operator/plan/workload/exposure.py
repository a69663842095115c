"""How a pipeline is reached: account, Service, NetworkPolicy, HTTPRoute, and the claim that keeps its engines."""

from __future__ import annotations

from typing import Any, Final

from hpi_core.api.v1alpha1.exposure import Cache, Route
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.names import PART, PIPELINE, TRACK, child_name
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import Settings
from hpi_operator.plan.workload.parts import CANARY, HTTP, HTTP_PORT, STABLE, Owner

DNS_PORT: Final = 53
SERVICE_PORT: Final = 80
TLS_SERVICE_PORT: Final = 443


def service_account(owner: Owner) -> Manifest:
    """Return the account of the serving pods: it has no rights, and no token of it is mounted."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": owner.metadata(owner.name),
        "automountServiceAccountToken": False,
    }


def service_port(pipeline: HPIPipeline) -> int:
    """Return the port of the Service."""
    return SERVICE_PORT if pipeline.spec.serving.tls is None else TLS_SERVICE_PORT


def service(owner: Owner, pipeline: HPIPipeline, track: str | None = None) -> Manifest:
    """Return the Service of a pipeline, or of one of its tracks for a gateway that splits by weight.

    Readiness decides which pods get requests: of either track, only those on which a real inference passed.
    """
    selector = {PIPELINE: owner.name, PART: "serving"}
    if track is not None:
        selector[TRACK] = track
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": owner.metadata(owner.name if track is None else child_name(owner.name, track)),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": HTTP, "port": service_port(pipeline), "targetPort": HTTP, "protocol": "TCP"}],
        },
    }


def network_policy(owner: Owner, settings: Settings) -> Manifest:
    """Return what may reach the serving pods, and what they may reach.

    In: requests, from everywhere in the cluster (who may call is `serving.auth`). Out: names, the node's agent, and
    what models are fetched from.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(owner.name),
        "spec": {
            "podSelector": {"matchLabels": {PIPELINE: owner.name, PART: "serving"}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": HTTP_PORT, "protocol": "TCP"}]}],
            "egress": [
                {"ports": [{"port": DNS_PORT, "protocol": "UDP"}, {"port": DNS_PORT, "protocol": "TCP"}]},
                {"ports": [{"port": settings.agent_port, "protocol": "TCP"}]},
                # Models come over HTTPS, and from registries and stores on ports of their own; the cloud's metadata
                # service, which hands out a node's credentials, is left out.
                {
                    "to": [
                        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}},
                        {"ipBlock": {"cidr": "::/0"}},
                    ],
                    "ports": [{"port": 443, "protocol": "TCP"}, {"port": 1024, "endPort": 65535, "protocol": "TCP"}],
                },
            ],
        },
    }


def http_route(owner: Owner, pipeline: HPIPipeline, route: Route, canary_percent: int | None) -> Manifest:
    """Return the HTTPRoute of a pipeline.

    Args:
        owner: The pipeline.
        pipeline: The same, as it is now.
        route: What was asked.
        canary_percent: Share of the requests that the canary gets; None: there is none.
    """
    port = service_port(pipeline)
    if canary_percent is None:
        backends = [_backend(owner.name, port, 1)]
    else:
        backends = [
            _backend(child_name(owner.name, STABLE), port, 100 - canary_percent),
            _backend(child_name(owner.name, CANARY), port, canary_percent),
        ]
    rule: dict[str, Any] = {
        "matches": [{"path": {"type": "PathPrefix", "value": route.path_prefix}}],
        "backendRefs": backends,
    }
    if route.path_prefix != "/":
        rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    spec: dict[str, Any] = {
        "parentRefs": [
            {
                "group": "gateway.networking.k8s.io",
                "kind": "Gateway",
                **one.model_dump(mode="json", by_alias=True, exclude_none=True),
            }
            for one in route.parent_refs
        ],
        "rules": [rule],
    }
    if route.hostnames:
        spec["hostnames"] = list(route.hostnames)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": owner.metadata(owner.name),
        "spec": spec,
    }


def cache_claim(owner: Owner, cache: Cache) -> Manifest:
    """Return the claim that keeps engines; what it asks for cannot be changed later, so it is stated once and kept."""
    spec: dict[str, Any] = {
        "accessModes": [cache.access_mode or "ReadWriteMany"],
        "resources": {"requests": {"storage": str(cache.size_bytes)}},
        "volumeMode": "Filesystem",
    }
    if cache.storage_class_name is not None:
        spec["storageClassName"] = cache.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": owner.metadata(child_name(owner.name, "cache")),
        "spec": spec,
    }


def _backend(name: str, port: int, weight: int) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": name, "port": port, "weight": weight}
