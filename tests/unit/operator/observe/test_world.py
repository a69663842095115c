"""A change asks for the passes that it may matter to, and a pass sees what it wrote before it looks again."""

from __future__ import annotations

from typing import Any, Final

import pytest

from hpi_core.names import MANAGED_BY, OPERATOR_NAMESPACE, PIPELINE
from hpi_operator.kube.resources import DEPLOYMENTS, HPI_NODES, NAMESPACES, NODES, PODS, RUNTIMES, SERVICES
from hpi_operator.kube.written import Written
from hpi_operator.observe import projections
from hpi_operator.observe.index import Index
from hpi_operator.observe.projections import NamespaceView
from hpi_operator.observe.world import EVERY, World
from support.kinds import manifest
from support.object_server import ObjectServer

UID: Final = "7e0f4d3c-0000-4000-8000-000000000001"


def a_world() -> tuple[World, list[tuple[str, str, str]]]:
    asked: list[tuple[str, str, str]] = []
    world = World(ObjectServer(), "hpi-system", lambda *what: asked.append(what), frozenset())  # type: ignore[arg-type]
    return world, asked


def a_child(name: str = "ocr", pipeline: str = "ocr", uid: str = UID) -> dict[str, Any]:
    labels = {PIPELINE: pipeline, MANAGED_BY: "hpi-operator"}
    return {"kind": "Service", "metadata": {"name": name, "namespace": "ns", "uid": uid, "labels": labels}}


def an_hpi_node(*workloads: dict[str, Any], **status: Any) -> projections.Kept:
    document = manifest("HPINode")
    document["metadata"] = {"name": "n1", "uid": UID}
    document["status"] = {"workloads": list(workloads), **status}
    return projections.hpi_node(document)


def a_workload(pipeline: str, ready: int = 1) -> dict[str, Any]:
    counts = {"measured": ready, "provisional": 0, "fallback": 0, "building": 0}
    return {"namespace": "ns", "pipeline": pipeline, "revision": "0123456789", "engineActive": counts}


def test_an_object_of_a_pipeline_asks_for_its_pass_and_is_found() -> None:
    world, asked = a_world()

    world._child_changed(SERVICES.key("ocr", "ns"), None, a_child())

    assert asked == [("HPIPipeline", "ns", "ocr")]
    assert world.objects_of(("ns", "ocr")) == {SERVICES.key("ocr", "ns"): a_child()}


def test_an_object_that_is_gone_is_not_found_and_leaves_nothing_behind() -> None:
    world, asked = a_world()
    world._child_changed(SERVICES.key("ocr", "ns"), None, a_child())

    world._child_changed(SERVICES.key("ocr", "ns"), a_child(), None)

    assert asked == [("HPIPipeline", "ns", "ocr")] * 2
    assert (world.objects_of(("ns", "ocr")), len(world._objects)) == ({}, 0)


def test_an_object_whose_label_was_moved_to_another_pipeline_is_told_to_both() -> None:
    world, asked = a_world()
    world._child_changed(SERVICES.key("x", "ns"), None, a_child("x", "one"))
    asked.clear()

    world._child_changed(SERVICES.key("x", "ns"), a_child("x", "one"), a_child("x", "two"))

    assert asked == [("HPIPipeline", "ns", "one"), ("HPIPipeline", "ns", "two")]
    assert (len(world.objects_of(("ns", "one"))), len(world.objects_of(("ns", "two")))) == (0, 1)


def test_an_agents_report_asks_for_the_pipelines_whose_part_of_it_changed() -> None:
    world, asked = a_world()
    before, after = an_hpi_node(a_workload("a"), a_workload("b")), an_hpi_node(a_workload("a"), a_workload("b", 2))
    world._hpi_node_changed(HPI_NODES.key("n1"), None, before)
    asked.clear()

    world._hpi_node_changed(HPI_NODES.key("n1"), before, after)

    assert [one for one in asked if one[0] == "HPIPipeline"] == [("HPIPipeline", "ns", "b")]
    assert [node.metadata.name for node in world.reports_on(("ns", "b"))] == ["n1"]


def test_a_node_that_leaves_takes_its_report_with_it() -> None:
    world, asked = a_world()
    report = an_hpi_node(a_workload("a"))
    world._hpi_node_changed(HPI_NODES.key("n1"), None, report)
    asked.clear()

    world._hpi_node_changed(HPI_NODES.key("n1"), report, None)

    assert ("HPIPipeline", "ns", "a") in asked
    assert (world.reports_on(("ns", "a")), len(world._reports)) == ((), 0)


def test_a_report_of_the_same_hardware_does_not_ask_for_the_supply_again() -> None:
    world, asked = a_world()
    hardware = {"memoryBytes": 1}
    before = an_hpi_node(hardware=hardware)
    after = an_hpi_node(a_workload("a"), hardware=hardware)
    world._hpi_node_changed(HPI_NODES.key("n1"), None, before)
    first = ("Supply", "", EVERY) in asked
    asked.clear()

    world._hpi_node_changed(HPI_NODES.key("n1"), before, after)

    assert (first, ("Supply", "", EVERY) in asked) == (True, False)


@pytest.mark.parametrize(
    ("change", "everything"), [({"spec": {"a": 2}}, True), ({"status": {"conditions": []}}, False)]
)
def test_only_a_runtimes_spec_concerns_everything(change: dict[str, Any], everything: bool) -> None:
    world, asked = a_world()
    old = projections.Kept(UID, projections.moment(None), 1, {"spec": {"a": 1}}, None)
    new = projections.Kept(UID, projections.moment(None), 1, {"spec": {"a": 1}, **change}, None)

    world._runtime_changed(RUNTIMES.key("r"), old, new)

    assert (("HPIPipeline", EVERY, EVERY) in asked) is everything
    assert ("HPIRuntime", "", "r") in asked


def test_a_namespace_that_ends_asks_for_its_pipelines() -> None:
    world, asked = a_world()
    world._child_changed(SERVICES.key("ocr", "ns"), None, a_child())
    asked.clear()

    for name in ("ns", "other"):
        world._namespace_changed(NAMESPACES.key(name), NamespaceView(False, ""), NamespaceView(True, ""))

    assert asked == [("HPIPipeline", "ns", "ocr")]


def test_another_level_of_pod_security_asks_for_every_pipeline_that_of_the_operator_for_nodes_and_runtimes() -> None:
    world, asked = a_world()

    for name in ("ns", OPERATOR_NAMESPACE):
        view = NamespaceView(False, "privileged")
        world._namespace_changed(NAMESPACES.key(name), NamespaceView(False, "restricted"), view)

    everything = ("HPIPipeline", EVERY, EVERY)
    assert asked == [everything, ("Node", "", EVERY), ("HPIRuntime", "", EVERY), everything]


def test_a_node_asks_for_its_pass_and_for_the_supply() -> None:
    world, asked = a_world()

    world._node_changed(NODES.key("n1"), None, projections.node({"metadata": {"name": "n1", "uid": UID}}))

    assert asked == [("Node", "", "n1"), ("Supply", "", EVERY)]


def test_a_self_test_asks_for_its_nodes_pass() -> None:
    world, asked = a_world()
    test = {"metadata": {"name": "t", "namespace": "hpi-system", "ownerReferences": [{"kind": "Node", "name": "n1"}]}}

    world._self_test_changed(PODS.key("t", "hpi-system"), None, test)

    assert (asked, world.self_tests_on("n1")) == ([("Node", "", "n1")], (test,))


@pytest.mark.parametrize(("version", "shown"), [("1", True), ("2", False)])
def test_what_was_written_is_shown_when_its_picture_has_come_so_far(version: str, shown: bool) -> None:
    world, _ = a_world()
    picture = world.pictures.children[SERVICES]
    picture.start()
    assert picture.wait_until_whole(10)

    assert world.shows([Written(SERVICES.key("ocr", "ns"), version)]) is shown
    world.pictures.stop()
    picture.join(10)


def test_what_was_deleted_is_shown_when_it_is_not_there_or_another_is() -> None:
    world, _ = a_world()
    picture = world.pictures.children[DEPLOYMENTS]
    picture.start()
    assert picture.wait_until_whole(10)
    key = DEPLOYMENTS.key("ocr", "ns")

    absent = world.shows([Written(key, None, UID)])
    picture._keep(key, a_child())
    still_there = world.shows([Written(key, None, UID)])
    another = world.shows([Written(key, None, "another uid")])
    picture._keep(key, {"metadata": {"uid": UID, "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    ending = world.shows([Written(key, None, UID)])

    assert (absent, still_there, another, ending) == (True, False, True, True)
    world.pictures.stop()
    picture.join(10)


def test_what_no_picture_shows_is_not_waited_for() -> None:
    world, _ = a_world()

    assert world.shows([Written(SERVICES.key("ocr", "ns"), "999")])


def test_an_index_is_no_larger_than_what_is_in_it() -> None:
    index: Index[str, int] = Index()
    key = SERVICES.key("a")

    index.keep("g", key, 1)
    held = (index.of("g"), index.groups())
    index.keep("g", key, None)
    index.keep("never there", key, None)

    assert held == ({key: 1}, ["g"])
    assert (index.of("g"), len(index)) == ({}, 0)
