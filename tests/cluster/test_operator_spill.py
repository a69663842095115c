"""Replicas that wait for hardware are stood in for, updated, and come back, with the controllers of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpi_operator.kube.resources import DEPLOYMENTS, NODES, RUNTIMES
from support.audit import WRITES
from support.control_plane.binaries import Binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import PLAYED
from support.eventually import eventually
from support.nodes import a_node
from support.objects import serve_kinds
from support.observed import GPU_RUNTIME, a_runtime, on
from support.operated import Site
from support.operators import OperatorProcess, install_operator

GPU_LABEL = f"runtime.hpi.paddlex.io/{GPU_RUNTIME}"
WAITED = 60.0
"""How long a replica waits before another class stands in for it."""


def replicas(operated: Site, own: str) -> dict[str, tuple[int, int]]:
    """Return replicas and ready replicas of each Deployment."""
    found = operated.children(DEPLOYMENTS, own, "ocr")
    return {name: (one["spec"]["replicas"], one["status"].get("readyReplicas", 0)) for name, one in found.items()}


@pytest.fixture(scope="module")
def operated(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A cluster of this module alone: which nodes there are decides what is stood in for."""
    with ControlPlane(binaries, PLAYED, audit_policy=WRITES, parent=tmp_path_factory.mktemp("spill")) as cluster:
        serve_kinds(cluster)
        install_operator(cluster)
        with Site(cluster) as site, OperatorProcess(cluster, "--log-level", "debug") as operator:
            operator.wait_until_whole()
            site.wait_until_usable()
            site.operator = operator
            yield site


def settles(operated: Site, own: str, wanted: dict[str, tuple[int, int]]) -> None:
    """Return when Deployments have these replicas; each move waits for its minute."""

    def look() -> bool:
        found = replicas(operated, own)
        assert found == wanted, (found, operated.status(own, "ocr"))
        return True

    eventually(look, 5 * WAITED)


def has_gpus(operated: Site, *names: str) -> None:
    """Return when nodes may be used by the runtime for GPUs."""
    eventually(
        lambda: (
            set(names)
            <= {one["metadata"]["name"] for one in operated.client.items(NODES.path(), labelSelector=GPU_LABEL)[0]}
        )
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_replicas_are_stood_in_for_updated_without_one_less_and_come_back(operated: Site, own: str) -> None:
    runtime = a_runtime(GPU_RUNTIME, "NVIDIA").model_dump(mode="json", by_alias=True, exclude_none=True)
    operated.client.request("POST", RUNTIMES.path(), runtime)
    operated.add_node(a_node("gpu-1", gpus=2))
    has_gpus(operated, "gpu-1")

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
    has_gpus(operated, "gpu-2")
    settles(operated, own, {"ocr-nvidia": (3, 3)})

    assert spilled == {"ocr-nvidia": (3, 2), "ocr-cpu": (1, 1)}
    assert fewest == 3
    assert operated.wait(own, "ocr", "Placed", "True", "ClassChosen")
