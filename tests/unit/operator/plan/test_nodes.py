"""The decision for one node: its HPINode, one self-test at a time, labels that let pods land on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.node import NodeSpec
from hpi_operator.plan.node import wanted_runtimes
from hpi_operator.plan.observed import ObservedNode
from support.kinds import manifest
from support.nodes import a_node
from support.observed import (
    CLASSES,
    CPU_RUNTIME,
    GPU_RUNTIME,
    NOW,
    a_digest,
    a_pool,
    a_runtime,
    an_hpi_node,
    an_observed_node,
    uid_of,
)
from support.planned_nodes import plan, self_tests_in, told

CPU_LABEL = f"runtime.hpi.paddlex.io/{CPU_RUNTIME}"


def wanted(seen: ObservedNode) -> list[str]:
    """Return the runtimes that a node shall have, in their order."""
    return [one.metadata.name for one in wanted_runtimes(seen, CLASSES)]


def test_an_hpi_node_in_full() -> None:
    node = a_node("n")
    pool = a_pool("east", cache={"quotaBytes": 2**30})

    [hpi_node, *_] = plan(an_observed_node(node, pools=[pool])).apply

    assert hpi_node == {
        "apiVersion": "hpi.paddlex.io/v1alpha1",
        "kind": "HPINode",
        "metadata": {
            "name": "n",
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Node",
                    "name": "n",
                    "uid": uid_of("n"),
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "nodeUid": uid_of("n"),
            "pool": "east",
            "cacheQuotaBytes": 2**30,
            "runtimes": [{"name": CPU_RUNTIME, "lockDigest": a_digest("a"), "delivery": "Image"}],
            "engines": [],
        },
    }
    NodeSpec.model_validate(hpi_node["spec"])


def test_engines_that_are_wanted_stand_once_in_an_order_of_their_names() -> None:
    document = manifest("HPIEngine")
    engines = [
        HPIEngine.model_validate({**document, "metadata": {"name": name, "namespace": "a"}})
        for name in ("e-2", "e-1", "e-2")
    ]

    [hpi_node, *_] = plan(an_observed_node(a_node("n"), wanted_engines=engines)).apply

    assert [one["name"] for one in hpi_node["spec"]["engines"]] == ["e-1", "e-2"]


def test_a_node_without_a_pool_gets_no_runtime_and_no_test() -> None:
    planned = plan(an_observed_node(a_node("n"), pools=[]))

    assert planned.apply[0]["spec"]["runtimes"] == []
    assert self_tests_in(planned) == []


def test_a_pool_allows_some_or_all() -> None:
    node = a_node("g", gpus=1)

    assert set(wanted(an_observed_node(node))) == {CPU_RUNTIME, GPU_RUNTIME}
    assert wanted(an_observed_node(node, pools=[a_pool(runtimes=[GPU_RUNTIME])])) == [GPU_RUNTIME]


@pytest.mark.parametrize(
    ("node", "runtime", "fits"),
    [
        ({}, {}, False),
        ({"gpus": 1}, {}, True),
        ({"mig": {"1g.5gb": 7}}, {}, True),
        ({"gpus": 1}, {"driver": {"min": "560"}}, False),
        ({"gpus": 1}, {"driver": {"min": "550.54.15", "max": "550.54.15"}}, True),
        ({"gpus": 1, "product": "Tesla T4"}, {"computeCapabilities": ["8.0"]}, False),
        ({"gpus": 1, "architecture": "arm64"}, {}, False),
    ],
)
def test_a_runtime_must_fit_the_hardware(node: dict[str, Any], runtime: dict[str, Any], fits: bool) -> None:
    played = a_node("g", **node)
    gpu = a_runtime(GPU_RUNTIME, "NVIDIA", **runtime)

    seen = an_observed_node(played, runtimes=[gpu], hpi_node=an_hpi_node(played))

    assert wanted(seen) == ([GPU_RUNTIME] if fits else [])


def test_many_versions_of_one_variant_leave_room_for_the_others() -> None:
    many = [a_runtime(f"hpi-cpu-1.{minor}", version=f"1.{minor}") for minor in range(12)]
    gpu = a_runtime(GPU_RUNTIME, "NVIDIA", version="0.1")

    found = wanted(an_observed_node(a_node("g", gpus=1), runtimes=[*many, gpu]))

    assert found[:3] == ["hpi-cpu-1.11", GPU_RUNTIME, "hpi-cpu-1.10"]
    assert len(found) == 8


def test_a_withdrawn_runtime_reaches_no_more_nodes_and_stays_where_it_is() -> None:
    node = a_node("n")
    withdrawn = [a_runtime(state="Withdrawn")]
    has_it = {"runtimes": [{"name": CPU_RUNTIME, "lockDigest": a_digest("a")}]}

    assert wanted(an_observed_node(node, runtimes=withdrawn)) == []
    assert wanted(an_observed_node(node, runtimes=withdrawn, hpi_node=an_hpi_node(node, spec=has_it))) == [CPU_RUNTIME]


# Labels.


@pytest.mark.parametrize(
    ("state", "labels", "changes"),
    [
        ("Passed", {}, {CPU_LABEL: "usable"}),
        ("Passed", {CPU_LABEL: "usable"}, {}),
        ("Passed", {CPU_LABEL: "by-hand"}, {CPU_LABEL: "usable"}),
        ("Failed", {CPU_LABEL: "usable"}, {CPU_LABEL: None}),
        ("Failed", {}, {}),
        (
            "Passed",
            {"runtime.hpi.paddlex.io/gone": "usable"},
            {CPU_LABEL: "usable", "runtime.hpi.paddlex.io/gone": None},
        ),
    ],
)
def test_a_node_is_labelled_for_what_has_passed_on_it(
    state: str, labels: dict[str, str], changes: dict[str, str | None]
) -> None:
    node = a_node("n")

    assert plan(an_observed_node(node, hpi_node=told(node, state=state), labels=labels)).labels == changes


def test_the_word_about_a_node_that_had_the_name_before_does_not_count() -> None:
    node = a_node("n")
    other = told(node).model_copy(update={"spec": NodeSpec.model_validate({"nodeUid": uid_of("other")})})

    planned = plan(an_observed_node(node, hpi_node=other))

    assert planned.labels == {}
    assert len(self_tests_in(planned)) == 1


def test_no_label_is_taken_away_while_the_picture_is_not_whole() -> None:
    node = a_node("n")
    seen = an_observed_node(node, hpi_node=told(node, state="Failed"), labels={CPU_LABEL: "usable"}, complete=False)

    assert plan(seen).labels == {}


def test_a_pass_on_the_node_that_the_plan_made_changes_nothing() -> None:
    node = a_node("n")
    seen = an_observed_node(node, hpi_node=told(node), labels={CPU_LABEL: "usable"})

    planned = plan(seen)

    assert (self_tests_in(planned), planned.delete, planned.labels) == ([], (), {})
    assert plan(replace(seen, now=NOW)).apply == planned.apply


def test_what_nobody_tells_is_left_to_the_self_test() -> None:
    played = a_node("g", gpus=1)
    for label in [key for key in played.manifest["metadata"]["labels"] if "driver" in key or "compute" in key]:
        del played.manifest["metadata"]["labels"][label]
    gpu = a_runtime(GPU_RUNTIME, "NVIDIA", driver={"min": "560"}, computeCapabilities=["7.5"])

    assert wanted(an_observed_node(played, runtimes=[gpu])) == [GPU_RUNTIME]
