"""How a pipeline is reached: account, Service, NetworkPolicy, HTTPRoute, and the claim that keeps its engines."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from hpi_core.api.v1alpha1.exposure import Cache, Route
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.names import PART, PIPELINE, TRACK, child_name
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import Settings
from hpi_operator.plan.quantities import canonical_bytes, whole_units
from hpi_operator.plan.workload.parts import CANARY, HTTP, HTTP_PORT, STABLE, Owner
from hpi_operator.plan.workload.storage import cache_claim_name

DNS_PORT: Final = 53
SERVICE_PORT: Final = 80
TLS_SERVICE_PORT: Final = 443
PLAIN_HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443
FIRST_USER_PORT: Final = 1024
LAST_PORT: Final = 65535
ALL_PERCENT: Final = 100

CREDENTIALS_OF_NODES: Final = {"0.0.0.0/0": ("169.254.0.0/16",), "::/0": ("fe80::/10", "fd00:ec2::254/128")}
"""Addresses, and those of them at which clouds hand out the credentials of a node."""


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


def track_service_name(pipeline: str, track: str) -> str:
    """Return the name of the Service of one track: `ocr-canary-1f9c04ab`.

    The digits keep it apart from the Service of a pipeline called `ocr-canary`.
    """
    return child_name(pipeline, track, hashlib.sha256(f"{pipeline}/{track}".encode()).hexdigest()[:8])


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
        "metadata": owner.metadata(owner.name if track is None else track_service_name(owner.name, track)),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": HTTP, "port": service_port(pipeline), "targetPort": HTTP, "protocol": "TCP"}],
        },
    }


def network_policy(owner: Owner, settings: Settings) -> Manifest:
    """Return what may reach the pods, and what they may reach.

    In: requests, from everywhere in the cluster (who may call is `serving.auth`). Out: names, the node's agent, and
    what models are fetched from.
    """
    parts = {"key": PART, "operator": "In", "values": ["prebuild", "serving"]}
    tcp = [{"port": port, "protocol": "TCP"} for port in (PLAIN_HTTP_PORT, HTTPS_PORT)]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": owner.metadata(owner.name),
        "spec": {
            "podSelector": {"matchLabels": {PIPELINE: owner.name}, "matchExpressions": [parts]},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": HTTP_PORT, "protocol": "TCP"}]}],
            "egress": [
                {"ports": [{"port": DNS_PORT, "protocol": "UDP"}, {"port": DNS_PORT, "protocol": "TCP"}]},
                {"ports": [{"port": settings.agent_port, "protocol": "TCP"}]},
                # Models come over HTTP, and from registries and stores on ports of their own.
                {
                    "to": [
                        {"ipBlock": {"cidr": cidr, "except": list(those)}}
                        for cidr, those in CREDENTIALS_OF_NODES.items()
                    ],
                    "ports": [*tcp, {"port": FIRST_USER_PORT, "endPort": LAST_PORT, "protocol": "TCP"}],
                },
            ],
        },
    }


def http_route(owner: Owner, pipeline: HPIPipeline, route: Route, canary_percent: int) -> Manifest:
    """Return the HTTPRoute of a pipeline.

    It names the Services of both tracks whether there is a canary or not: a gateway that has to learn of another
    Service when one begins would have no endpoints of it at first.

    Args:
        owner: The pipeline.
        pipeline: The same, as it is now.
        route: What was asked.
        canary_percent: Share of the requests that the canary gets.
    """
    port = service_port(pipeline)
    rule: dict[str, Any] = {
        "matches": [{"path": {"type": "PathPrefix", "value": route.path_prefix}}],
        "backendRefs": [
            _backend(track_service_name(owner.name, STABLE), port, ALL_PERCENT - canary_percent),
            _backend(track_service_name(owner.name, CANARY), port, canary_percent),
        ],
    }
    if route.path_prefix != "/":
        rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
        rule["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    gateway = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}
    spec: dict[str, Any] = {
        "parentRefs": [
            {**gateway, **one.model_dump(mode="json", by_alias=True, exclude_none=True)} for one in route.parent_refs
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


def canary_weight(route: Manifest) -> int:
    """Return the share of the requests that a live HTTPRoute gives to the canary. Unit: percent."""
    backends = [one for rule in route["spec"].get("rules") or () for one in rule.get("backendRefs") or ()]
    name = track_service_name(route["metadata"]["name"], CANARY)
    return sum(int(one.get("weight", 1)) for one in backends if one.get("name") == name)


def cache_claim(owner: Owner, pipeline: HPIPipeline, live: Manifest | None) -> Manifest:
    """Return the claim that keeps engines.

    What a claim was made with cannot be changed, but that it may grow: of one that is there, it is stated as it is.

    Args:
        owner: The pipeline.
        pipeline: The same, as it is now.
        live: The claim that is there; None: there is none.
    """
    cache = pipeline.spec.cache
    there = {} if live is None else live["spec"]
    asked = canonical_bytes(cache.size_bytes or 0)
    size = asked if live is None or claim_grows(cache, live) else there["resources"]["requests"]["storage"]
    spec: dict[str, Any] = {
        "accessModes": list(there.get("accessModes") or [cache.access_mode or "ReadWriteMany"]),
        "resources": {"requests": {"storage": size}},
        "volumeMode": "Filesystem",
    }
    storage_class = cache.storage_class_name if live is None else there.get("storageClassName")
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": owner.metadata(cache_claim_name(pipeline)),
        "spec": spec,
    }


def claim_grows(cache: Cache, live: Manifest) -> bool:
    """Return whether more is asked of a claim than it was made with."""
    return (cache.size_bytes or 0) > storage_bytes(live)


def storage_bytes(claim: Manifest) -> int:
    """Return what a live claim asks for. Unit: bytes."""
    return whole_units(claim["spec"]["resources"]["requests"]["storage"])


def claim_differences(cache: Cache, live: Manifest) -> tuple[str, ...]:
    """Return what was asked of a claim that the one that is there was not made with, one sentence each."""
    spec = live["spec"]
    modes = spec.get("accessModes") or []
    found = []
    if cache.storage_class_name is not None and spec.get("storageClassName") != cache.storage_class_name:
        found.append(f"storageClassName is {spec.get('storageClassName')}, wanted {cache.storage_class_name}")
    if (cache.access_mode or "ReadWriteMany") not in modes:
        found.append(f"accessModes are {', '.join(modes)}, wanted {cache.access_mode or 'ReadWriteMany'}")
    if (cache.size_bytes or 0) < storage_bytes(live):
        found.append(f"its size is {storage_bytes(live)} bytes, wanted {cache.size_bytes}: a claim cannot shrink")
    return tuple(found)


def _backend(name: str, port: int, weight: int) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": name, "port": port, "weight": weight}
