"""Pods for a node, made of the program `pod` (control_plane/node/pod/main.go); all may do as little as pods can."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from support.node.cluster import NodeCluster

USER: Final = 10001
PORT: Final = 8080


def pod_spec(image: str, words: Sequence[str], **more: Any) -> dict[str, Any]:
    """Return the specification of a pod with one container, `main`.

    Args:
        image: Its image; nothing is pulled that is there.
        words: What the program is told.
        more: Fields of the specification.
    """
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [*words],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {"containers": [container], "securityContext": security, **more}


def a_pod(name: str, image: str, words: Sequence[str], **more: Any) -> dict[str, Any]:
    """Return a pod; the arguments are those of `pod_spec`."""
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod_spec(image, words, **more)}


def a_web_site(name: str, image: str, replicas: int) -> list[dict[str, Any]]:
    """Return a Deployment of pods that answer `hello from POD`, and its Service on port 80."""
    spec = pod_spec(image, ["serve", f":{PORT}", "hello"])
    [container] = spec["containers"]
    container["ports"] = [{"containerPort": PORT}]
    container["readinessProbe"] = {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1}
    labels = {"app": name}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": PORT}]},
    }
    return [deployment, service]


def apply(cluster: NodeCluster, namespace: str, *objects: Mapping[str, Any]) -> None:
    """Have objects in a namespace."""
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    ask(cluster, namespace, "apply", "-f", "-", stdin=document)


def ask(cluster: NodeCluster, namespace: str, *words: str, stdin: str = "") -> str:
    """Return what kubectl writes; it must have done as asked."""
    answer = cluster.kubectl("-n", namespace, *words, stdin=stdin)
    assert answer.exit_code == 0, answer.error
    return answer.output


def status_of(cluster: NodeCluster, namespace: str, pod: str) -> dict[str, Any]:
    """Return the status of the container of a pod; empty while there is none."""
    document = json.loads(ask(cluster, namespace, "get", "pod", pod, "-o", "json"))
    found: list[dict[str, Any]] = document["status"].get("containerStatuses", [])
    return found[0] if found else {}
