"""A runtime that node agents install, on a real API server: who may mount it, and what is said to who may not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpi_core.names import node_runtime_label
from hpi_operator.kube.resources import NAMESPACES, NODES, RUNTIMES
from support.eventually import eventually
from support.manifests import Document
from support.observed import a_digest, a_runtime
from support.operated import USUAL_NODES, Site

NAME = "from-the-node"
ENFORCE = "pod-security.kubernetes.io/enforce"


@pytest.fixture(scope="module")
def delivered(operated: Site) -> Iterator[str]:
    """An HPIRuntime of delivery Store that is usable on every node."""
    runtime = a_runtime(NAME, version="0.0.1", letter="9", delivery="Store")
    operated.client.request("POST", RUNTIMES.path(), runtime.model_dump(mode="json", by_alias=True, exclude_none=True))

    def is_usable() -> bool:
        found, _ = operated.client.items(NODES.path(), labelSelector=node_runtime_label(NAME))
        return set(USUAL_NODES) <= {one["metadata"]["name"] for one in found}

    eventually(is_usable)
    yield NAME
    operated.delete(RUNTIMES, "", NAME)


def label(operated: Site, namespace: str, level: str | None) -> None:
    operated.patch(NAMESPACES, "", namespace, {"metadata": {"labels": {ENFORCE: level}}})


def volumes(pod: Document) -> list[Document]:
    return [one["hostPath"] for one in pod["spec"]["volumes"] if "hostPath" in one]


def test_the_hpi_node_says_which_variant_and_lock_its_agent_has_to_install(operated: Site, delivered: str) -> None:
    found = operated.hpi_node(USUAL_NODES[0])

    assert found is not None
    [wanted] = [one for one in found["spec"]["runtimes"] if one["name"] == delivered]
    assert wanted == {"name": delivered, "lockDigest": a_digest("9"), "delivery": "Store", "variant": "hpi-cpu"}


def test_a_namespace_without_host_paths_is_told_and_served_once_it_allows_them(
    operated: Site, own: str, delivered: str
) -> None:
    label(operated, own, "restricted")
    operated.create(own, "ocr", runtime={"name": delivered})

    operated.wait(own, "ocr", "Placed", "False", "NoMatchingRuntime", says=f"{own} enforces Pod Security restricted")
    assert f"label it {ENFORCE}=privileged" in operated.condition(own, "ocr", "Ready")["message"]
    assert operated.ready_pods(own, "ocr") == {}
    label(operated, own, "privileged")

    operated.serves(own, "ocr")
    for pod in operated.ready_pods(own, "ocr").values():
        assert volumes(pod) == [{"path": "/var/lib/hpi/runtimes", "type": "Directory"}]


def test_a_namespace_of_restricted_pods_is_served_by_a_runtime_that_is_an_image(
    operated: Site, own: str, delivered: str
) -> None:
    label(operated, own, "restricted")
    operated.create(own, "ocr")

    status = operated.serves(own, "ocr")

    assert status["runtime"] != delivered
    assert [volumes(pod) for pod in operated.ready_pods(own, "ocr").values()] == [[]]
