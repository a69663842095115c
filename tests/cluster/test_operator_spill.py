"""Replicas that wait for hardware are stood in for, updated, and come back, with the controllers of Kubernetes."""

from __future__ import annotations

import pytest

from hpi_operator.kube.resources import DEPLOYMENTS, RUNTIMES
from support.eventually import eventually
from support.nodes import a_node
from support.observed import GPU_RUNTIME, a_runtime, on
from support.operated import Site

WAITED = 60.0
"""How long a replica waits before another class stands in for it."""


def replicas(operated: Site, own: str) -> dict[str, tuple[int, int]]:
    """Return replicas and ready replicas of each Deployment."""
    found = operated.children(DEPLOYMENTS, own, "ocr")
    return {name: (one["spec"]["replicas"], one["status"].get("readyReplicas", 0)) for name, one in found.items()}


def settles(operated: Site, own: str, wanted: dict[str, tuple[int, int]]) -> None:
    """Return when Deployments have these replicas; each move waits for its minute."""

    def look() -> bool:
        found = replicas(operated, own)
        assert found == wanted, (found, operated.status(own, "ocr"))
        return True

    eventually(look, 5 * WAITED)


def has_gpus(operated: Site, nodes: int) -> None:
    """Return when the operator counts so many nodes on which the runtime for GPUs is usable.

    The label of a Node is there a moment earlier than that: who asks then is placed on processors first.
    """

    def look() -> bool:
        runtime = operated.there(RUNTIMES, "", GPU_RUNTIME)
        return bool(runtime.get("status", {}).get("nodes", {}).get("usable", 0) >= nodes)

    eventually(look)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_replicas_are_stood_in_for_updated_without_one_less_and_come_back(operated: Site, own: str) -> None:
    runtime = a_runtime(GPU_RUNTIME, "NVIDIA").model_dump(mode="json", by_alias=True, exclude_none=True)
    operated.client.request("POST", RUNTIMES.path(), runtime)
    operated.add_node(a_node("gpu-1", gpus=2))
    has_gpus(operated, 1)

    operated.create(own, "ocr", replicas=3, placement=on("NVIDIA", "CPU", policy="Spill"))
    operated.wait(own, "ocr", "Placed", "True", "Spilled", seconds=2 * WAITED)
    first = operated.serves(own, "ocr", seconds=WAITED)
    spilled = replicas(operated, own)

    operated.change(own, "ocr", serving={"timeouts": {"requestSeconds": 30}})
    fewest = 3

    def is_updated() -> bool:
        nonlocal fewest
        fewest = min(fewest, len(operated.ready_pods(own, "ocr")))
        status = operated.status(own, "ocr")
        return bool(status["revision"] == status["wantedRevision"] != first["revision"])

    eventually(is_updated, 4 * WAITED, pause_seconds=0.2)
    settles(operated, own, spilled)

    operated.add_node(a_node("gpu-2", gpus=2))
    has_gpus(operated, 2)
    settles(operated, own, {"ocr-nvidia": (3, 3)})

    assert spilled == {"ocr-nvidia": (3, 2), "ocr-cpu": (1, 1)}
    assert fewest == 3
    assert operated.wait(own, "ocr", "Placed", "True", "ClassChosen")
