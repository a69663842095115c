"""What becomes of a pod that is played: the annotations by which it asks for its course, and a look at it."""

from __future__ import annotations

import json
from typing import Final, Literal

from support.control_plane.cluster import ControlPlane
from support.manifests import Document

PREFIX: Final = "play.test/"
"""Of the annotations that `control_plane/kwok/stages.yaml` reads."""

Outcome = Literal["serves", "completes", "crashes", "image-missing", "never-ready"]


def a_course(
    outcome: Outcome | None = None,
    *,
    after_seconds: float | None = None,
    runs_for_seconds: float | None = None,
    ends_after_seconds: float | None = None,
    exit_code: int | None = None,
    message: str | None = None,
    restarts: int | None = None,
) -> dict[str, str]:
    """Return the annotations of a pod (of a pipeline: `spec.podTemplate.annotations`) for one course.

    An image asks for the same by its name: `registry.example/crashes-137@sha256:…`, `…/image-missing:1`.

    Args:
        outcome: What becomes of it. None: what its image says; else it completes with restartPolicy Never, and serves.
        after_seconds: How long its containers are created for. None: 0.1.
        runs_for_seconds: How long a pod that ends runs for. None: 0.1.
        ends_after_seconds: How long it takes to end once it is deleted. None: at once.
        exit_code: Of a container that crashes; 137 is told as OOMKilled. None: 1.
        message: Last words of the container.
        restarts: How often a crash is played again; then the pod stays as it is. None: 3.
    """
    told = {
        "outcome": outcome,
        "after": _duration(after_seconds),
        "runs-for": _duration(runs_for_seconds),
        "ends-after": _duration(ends_after_seconds),
        "exit-code": None if exit_code is None else str(exit_code),
        "message": message,
        "restarts": None if restarts is None else str(restarts),
    }
    return {PREFIX + name: value for name, value in told.items() if value is not None}


def a_pod(
    name: str,
    *,
    image: str = "registry.example/hpi-cpu@sha256:" + "0" * 64,
    restarted: bool = True,
    node: str | None = None,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> Document:
    """Return a pod of one container, `serve`, that any node will do for.

    Args:
        name: Its name.
        image: Of the container.
        restarted: Whether restartPolicy is Always; else Never.
        node: Where it runs. None: the scheduler says so.
        labels: Its labels.
        annotations: Its annotations, as `a_course` returns them.
    """
    spec: Document = {
        "restartPolicy": "Always" if restarted else "Never",
        "containers": [{"name": "serve", "image": image}],
        "tolerations": [{"operator": "Exists"}],
    }
    if node is not None:
        spec["nodeName"] = node
    metadata = {"name": name, "labels": labels or {}, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def read_pod(cluster: ControlPlane, namespace: str, name: str) -> Document | None:
    """Return a pod, None where there is none."""
    answer = cluster.kubectl("get", "pod", name, "-n", namespace, "--ignore-not-found", "-o", "json")
    assert answer.exit_code == 0, answer.error
    pod: Document | None = json.loads(answer.output) if answer.output else None
    return pod


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else f"{round(seconds * 1000)}ms"
