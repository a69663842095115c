"""Nodes that no decision tells apart are one group, and pipelines are told when the groups change."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.names import node_runtime_label
from hpi_operator.observe import projections
from hpi_operator.observe.current_supply import CurrentSupply, Groups
from hpi_operator.observe.supply import group_nodes
from hpi_operator.plan.observed import MAX_EXAMPLES, NodeView
from support.kinds import manifest
from support.nodes import PlayedNode, a_node

UID = "7e0f4d3c-0000-4000-8000-00000000000{}"
LABELS = frozenset({"zone"})
Pair = tuple[NodeView, HPINode | None]


def seen(node: PlayedNode, *, with_agent: bool = False) -> Pair:
    uid = UID.format(1)
    view = projections.node({**node.manifest, "metadata": {**node.manifest["metadata"], "uid": uid}})
    if not with_agent:
        return view, None
    document = manifest("HPINode")
    document["metadata"] = {"name": node.name}
    document["spec"] = {"nodeUid": uid}
    document["status"] = {"hardware": node.hardware.model_dump(mode="json", by_alias=True, exclude_none=True)}
    return view, HPINode.model_validate(document)


def test_equal_nodes_are_one_group_with_a_few_examples() -> None:
    [group] = group_nodes([seen(a_node(f"n{number}")) for number in range(9)], LABELS, [])

    assert (group.count, group.schedulable) == (9, True)
    assert group.examples == tuple(f"n{number}" for number in range(MAX_EXAMPLES))


@pytest.mark.parametrize(
    "other",
    [
        a_node("b", gpus=1),
        a_node("b", architecture="arm64"),
        a_node("b", labels={"zone": "z"}),
        a_node("b", taints=["a=b:NoSchedule"]),
        a_node("b", ready=False),
        a_node("b", cordoned=True),
        a_node("b", labels={node_runtime_label("hpi-cpu-1"): "usable"}),
    ],
)
def test_what_a_decision_looks_at_tells_nodes_apart(other: PlayedNode) -> None:
    assert len(group_nodes([seen(a_node("a")), seen(other)], LABELS, ["hpi-cpu-1"])) == 2


def test_what_no_decision_looks_at_does_not() -> None:
    one, two = a_node("a", labels={"anything": "x"}), a_node("b", labels={"anything": "y"})

    assert len(group_nodes([seen(one), seen(two)], LABELS, [])) == 1


def test_what_an_agent_reports_tells_nodes_apart_and_its_notes_do_not() -> None:
    quiet, telling = a_node("a", gpus=1), a_node("b", gpus=1, notes=["fan 3 is slow"])
    other = a_node("c", gpus=1, driver="600.1")

    groups = group_nodes([seen(one, with_agent=True) for one in (quiet, telling, other)], LABELS, [])

    assert sorted(group.count for group in groups) == [1, 2]
    assert all(group.hardware is not None and group.hardware.status is not None for group in groups)


def test_runtimes_are_usable_by_the_nodes_labels() -> None:
    labelled = a_node("a", labels={node_runtime_label("hpi-cpu-1"): "usable"})

    [group] = group_nodes([seen(labelled)], LABELS, ["hpi-cpu-1", "hpi-cpu-2"])

    assert group.usable_runtimes == {"hpi-cpu-1"}


NODES = st.lists(
    st.builds(
        lambda number, gpus, zone, ready, agent: seen(
            a_node(f"n{number}", gpus=gpus, labels={"zone": zone}, ready=ready), with_agent=agent
        ),
        st.integers(0, 10_000),
        st.integers(0, 2),
        st.sampled_from("ab"),
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda pair: pair[0].name,
)


@settings(deadline=None, max_examples=50)
@given(NODES, st.randoms(use_true_random=False))
def test_groups_have_every_node_once_and_do_not_depend_on_the_order(nodes: list[Pair], order: random.Random) -> None:
    groups = group_nodes(nodes, LABELS, [])
    shuffled = list(nodes)
    order.shuffle(shuffled)

    assert sum(group.count for group in groups) == len(nodes)
    assert group_nodes(shuffled, LABELS, []) == groups


class Site:
    """A cluster whose nodes a test changes, and how often they were grouped."""

    def __init__(self, *nodes: PlayedNode) -> None:
        self.nodes = list(nodes)
        self.groupings = 0
        self.supply = CurrentSupply(self.group, frozenset())

    def group(self, labels: frozenset[str]) -> Groups:
        self.groupings += 1
        return group_nodes([seen(node) for node in self.nodes], labels, [])


def test_nodes_are_grouped_once_for_all_pipelines() -> None:
    site = Site(a_node("a"), a_node("b"))

    answers: list[Any] = [site.supply.of(("ns", name), frozenset()) for name in "xyz"]

    assert (site.groupings, len(set(map(id, answers)))) == (1, 1)


def test_a_pipeline_that_asks_for_another_label_gets_groups_by_it() -> None:
    site = Site(a_node("a", labels={"zone": "1"}), a_node("b", labels={"zone": "2"}))

    before = site.supply.of(("ns", "x"), frozenset())
    after = site.supply.of(("ns", "y"), frozenset({"zone"}))

    assert (len(before), len(after)) == (1, 2)


def test_a_change_of_the_nodes_is_told_once() -> None:
    site = Site(a_node("a"))
    site.supply.of(("ns", "x"), frozenset())
    unchanged = site.supply.changed()
    site.nodes.append(a_node("b", gpus=1))

    assert (unchanged, site.supply.changed(), site.supply.changed()) == (False, True, False)


def test_a_change_is_told_even_where_another_pipeline_has_seen_it_already() -> None:
    site = Site(a_node("a"))
    site.supply.of(("ns", "x"), frozenset())
    site.nodes.append(a_node("b", gpus=1))
    seen_by_another = site.supply.of(("ns", "y"), frozenset({"zone"}))

    assert len(seen_by_another) == 2
    assert site.supply.changed()


def test_nodes_that_come_before_any_pipeline_are_seen_by_the_first() -> None:
    site = Site()
    told = site.supply.changed()
    site.nodes.append(a_node("a"))

    assert (told, len(site.supply.of(("ns", "x"), frozenset()))) == (False, 1)


def test_a_pipeline_that_is_gone_asks_for_nothing() -> None:
    site = Site(a_node("a", labels={"zone": "1"}), a_node("b", labels={"zone": "2"}))
    site.supply.of(("ns", "x"), frozenset({"zone"}))

    site.supply.forget(("ns", "x"))
    site.supply.changed()

    assert len(site.supply.of(("ns", "y"), frozenset())) == 1
