"""Nodes on a real API server: an HPINode for each, labels by self-tests, and nodes that leave and come back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from hpi_core.names import node_runtime_label
from hpi_operator.kube.resources import NODE_POOLS, NODES, PODS, RUNTIMES
from support.eventually import eventually
from support.kinds import manifest
from support.manifests import Document
from support.nodes import a_node
from support.observed import CPU_RUNTIME, a_digest, a_runtime
from support.operated import Site
from support.operators import NAMESPACE
from support.populate import delete_nodes

NUMBERS = count(1)
LABEL = node_runtime_label(CPU_RUNTIME)
TEAM = "test.example/team"


@pytest.fixture
def node(operated: Site) -> Iterator[str]:
    """A node of the test's own, for pods that ask for its label."""
    name = f"own-{next(NUMBERS)}"
    operated.add_node(a_node(name, labels={TEAM: name}))
    operated.wait_until_usable(name)
    yield name
    delete_nodes(operated.client, [name])


def labels_of(operated: Site, name: str) -> dict[str, str]:
    found = operated.find(NODES, "", name)
    assert found is not None
    labels: dict[str, str] = found["metadata"]["labels"]
    return labels


def self_tests(operated: Site, name: str) -> list[Document]:
    found, _ = operated.client.items(PODS.path(NAMESPACE))
    return [one for one in found if name in one["metadata"]["name"]]


def test_a_node_has_an_hpi_node_that_goes_with_it(operated: Site) -> None:
    name = f"own-{next(NUMBERS)}"
    operated.add_node(a_node(name))
    uid = operated.there(NODES, "", name)["metadata"]["uid"]

    made = eventually(lambda: operated.hpi_node(name))
    delete_nodes(operated.client, [name])

    assert made is not None
    [owner] = made["metadata"]["ownerReferences"]
    assert (made["spec"]["nodeUid"], owner["kind"], owner["uid"]) == (uid, "Node", uid)
    assert "finalizers" not in made["metadata"]
    eventually(lambda: operated.hpi_node(name) is None)


def test_a_node_that_comes_back_under_its_name_gets_an_hpi_node_of_its_own(operated: Site) -> None:
    name = f"own-{next(NUMBERS)}"
    operated.add_node(a_node(name))
    first = eventually(lambda: operated.hpi_node(name))
    assert first is not None

    delete_nodes(operated.client, [name])
    operated.add_node(a_node(name))

    uid = operated.there(NODES, "", name)["metadata"]["uid"]
    eventually(lambda: (operated.hpi_node(name) or first)["spec"]["nodeUid"] == uid)
    operated.wait_until_usable(name)
    delete_nodes(operated.client, [name])


def test_a_node_is_labelled_when_its_self_test_passed_and_the_test_is_cleared_away(operated: Site, node: str) -> None:
    assert labels_of(operated, node)[LABEL] == "usable"
    eventually(lambda: not self_tests(operated, node))


def test_a_label_that_somebody_takes_away_is_put_back(operated: Site, node: str) -> None:
    operated.patch(NODES, "", node, {"metadata": {"labels": {LABEL: None}}})

    eventually(lambda: labels_of(operated, node).get(LABEL) == "usable")


def test_a_runtime_whose_self_test_fails_on_a_node_is_not_usable_there(operated: Site) -> None:
    name = f"own-{next(NUMBERS)}"
    bad = a_node(name)
    operated.agents.add(bad)
    operated.agents.fail_self_test(CPU_RUNTIME, "libiomp5.so is missing", node=name)
    operated.add_node(bad)

    def failed() -> bool:
        found = operated.hpi_node(name)
        tests = [one.get("selfTest", {}) for one in (found or {}).get("status", {}).get("runtimes", ())]
        return any(one.get("state") == "Failed" for one in tests)

    eventually(failed)
    eventually(lambda: not self_tests(operated, name))
    assert LABEL not in labels_of(operated, name)
    delete_nodes(operated.client, [name])


def test_a_runtime_whose_image_is_not_there_says_so_until_it_is_corrected(operated: Site) -> None:
    name, node = f"no-image-{next(NUMBERS)}", f"own-{next(NUMBERS)}"
    runtime = a_runtime(name, version="0.0.1").model_dump(mode="json", by_alias=True, exclude_none=True)
    missing = f"registry.example/image-missing@{a_digest('f')}"
    images = runtime["spec"]["images"]
    runtime["spec"]["images"] = [{**one, "image": missing} for one in images]
    operated.client.request("POST", RUNTIMES.path(), runtime)
    operated.add_node(a_node(node))

    def usable() -> Document:
        conditions = operated.there(RUNTIMES, "", name).get("status", {}).get("conditions", ())
        return next((one for one in conditions if one["type"] == "Usable"), {})

    def is_told() -> bool:
        assert usable().get("reason") == "SelfTestCannotStart", usable()
        assert f'container self-test: ImagePullBackOff: Back-off pulling image "{missing}"' in usable()["message"]
        events = operated.events("default", "SelfTestCannotStart")
        return any(one["regarding"]["kind"] == "Node" and name in one["note"] for one in events)

    eventually(is_told)
    # It keeps no other runtime of a node from being tested.
    operated.wait_until_usable(node)
    operated.patch(RUNTIMES, "", name, {"spec": {"images": images}})
    eventually(lambda: usable().get("reason") == "SelfTestPassed")

    operated.delete(RUNTIMES, "", name)
    delete_nodes(operated.client, [node])


# Kubernetes leaves the pods of a Node that is gone alone for 40 s.
@pytest.mark.slow
def test_a_node_that_leaves_takes_its_pods_and_they_start_elsewhere(operated: Site, own: str, node: str) -> None:
    other = f"own-{next(NUMBERS)}"
    operated.create(own, "ocr", replicas=2, podTemplate={"nodeSelector": {TEAM: node}})
    operated.serves(own, "ocr")
    operated.add_node(a_node(other, labels={TEAM: node}))
    operated.wait_until_usable(other)

    delete_nodes(operated.client, [node])

    def are_elsewhere() -> bool:
        places = {one["spec"]["nodeName"] for one in operated.ready_pods(own, "ocr").values()}
        return places == {other} and len(operated.ready_pods(own, "ocr")) == 2

    # The controllers look for pods of nodes that are gone every 20 s, and wait 40 s more before they remove them.
    eventually(are_elsewhere, 240.0)
    operated.serves(own, "ocr")
    eventually(lambda: operated.status(own, "ocr")["exampleNodes"] == [other])
    eventually(lambda: operated.status(own, "ocr")["engineActive"]["measured"] == 2)
    delete_nodes(operated.client, [other])


def test_two_pools_that_select_the_same_node_say_so_and_the_older_has_it(operated: Site, node: str) -> None:
    second = {**manifest("HPINodePool"), "metadata": {"name": f"second-{node}"}, "spec": {"nodeSelector": {TEAM: node}}}
    operated.client.request("POST", NODE_POOLS.path(), second)

    def says_so() -> bool:
        found = operated.there(NODE_POOLS, "", f"second-{node}")
        conditions = {one["type"]: one for one in found.get("status", {}).get("conditions", ())}
        return bool(conditions.get("Overlapping", {}).get("reason") == "PoolsOverlap")

    eventually(says_so)
    made = operated.hpi_node(node)
    operated.delete(NODE_POOLS, "", f"second-{node}")
    assert made is not None
    assert made["spec"]["pool"] == "default"
