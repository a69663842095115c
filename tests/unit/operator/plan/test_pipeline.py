"""The decision for one pipeline: what keeps it from being made, whose objects are touched, what goes and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hpi_operator.plan.intent import ObjectKey, Plan, Refusal
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.pipeline import plan_pipeline
from support.nodes import a_node
from support.observed import CLASSES, NAMESPACE, a_node_group, a_pipeline, a_runtime, observed, on
from support.small_cluster import SmallCluster

CONFIG_KEY = ObjectKey("v1", "ConfigMap", NAMESPACE, "pipelines")
GATEWAY = "gateway.networking.k8s.io/v1 HTTPRoute"


def plan(seen: ObservedPipeline | None = None) -> Plan:
    """Return the plan."""
    return plan_pipeline(observed() if seen is None else seen, CLASSES)


def condition(plan: Plan, type_: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition of a planned status."""
    assert plan.status is not None
    one = next(one for one in plan.status["conditions"] if one["type"] == type_)
    return one["status"], one["reason"], one["message"]


def kinds(plan: Plan) -> list[str]:
    """Return the kinds that a plan states, in their order."""
    return [one["kind"] for one in plan.apply]


def test_a_small_pipeline_is_made_of_these_objects_in_this_order() -> None:
    assert kinds(plan()) == [
        "ConfigMap",
        "ServiceAccount",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "NetworkPolicy",
    ]


def test_every_part_of_a_large_one_adds_its_object() -> None:
    pipeline = a_pipeline(
        autoscaling={"maxReplicas": 3},
        route={"parentRefs": [{"name": "public"}]},
        cache={"medium": "PersistentVolumeClaim", "sizeBytes": 2**30},
    )

    found = kinds(plan(observed(pipeline, apis=frozenset({GATEWAY}))))

    assert set(found) >= {"PersistentVolumeClaim", "HorizontalPodAutoscaler", "HTTPRoute"}
    assert found.count("Service") == 3


def test_a_small_pipeline_takes_no_more_than_twelve_writes() -> None:
    cluster = SmallCluster(a_pipeline(replicas=1), [a_node("n")])

    cluster.settle()

    assert len(cluster.writes) <= 12


BLOCKED: list[tuple[dict[str, Any], str, str]] = [
    ({"namespace_terminating": True}, "NamespaceTerminating", "the namespace is being deleted"),
    ({"problems": ("spec.x: no",)}, "InvalidSpec", "spec.x: no"),
    (
        {"references": {ObjectKey("v1", "Secret", NAMESPACE, "tokens"): None}},
        "ReferenceMissing",
        f"not there: Secret {NAMESPACE}/tokens; created, they are used at once",
    ),
]


@pytest.mark.parametrize(("fields", "reason", "message"), BLOCKED)
def test_what_keeps_everything_from_being_made_is_told_and_nothing_is_touched(
    fields: dict[str, Any], reason: str, message: str
) -> None:
    blocked = plan(observed(**fields))

    assert condition(blocked, "Accepted") == ("False", reason, message)
    assert condition(blocked, "Ready")[:2] == ("False", reason)
    assert (blocked.apply, blocked.delete) == ((), ())


@pytest.mark.parametrize(
    ("device", "classes", "place"),
    [
        ("gpu:0", ["NVIDIA"], None),
        ("npu", ["Ascend"], None),
        ("cpu", ["CPU"], None),
        ("gpu:0", ["CPU"], "spec.placement.accelerators[0], class CPU, are given cpu"),
        ("gpu:0", ["NVIDIA", "CPU"], "spec.placement.accelerators[1], class CPU, are given cpu"),
        ("cpu", ["Ascend"], "spec.placement.accelerators[0], class Ascend, are given npu:0"),
    ],
)
def test_a_device_that_pods_are_not_given_is_refused_before_any_is_made(
    device: str, classes: list[str], place: str | None
) -> None:
    placement = {"accelerators": [{"class": one} for one in classes]}
    pipeline = a_pipeline(inference={"device": device}, placement=placement)

    _, reason, message = condition(plan(observed(pipeline)), "Accepted")

    assert (reason == "InvalidSpec") is (place is not None)
    assert place is None or f"spec.inference.device is {device}, and pods of {place}" in message


def test_a_licence_is_refused_with_what_to_do() -> None:
    pipeline = a_pipeline(license={"serialNumbersSecretRef": {"name": "serials"}})

    status, reason, message = condition(plan(observed(pipeline)), "Accepted")

    assert (status, reason) == ("False", "NotSupported")
    assert "take the field out" in message


CONFIGS: list[tuple[str | None, str, str]] = [
    (None, "ReferenceMissing", "not there: ConfigMap"),
    ("a: [1", "InvalidSpec", "cannot be read as YAML"),
    ("- 1", "InvalidSpec", "must be exactly one mapping"),
    ("a: 1\na: 2", "InvalidSpec", "appears twice"),
    ("a: " + "x" * 400_000, "InvalidSpec", "allowed are 400000"),
]


@pytest.mark.parametrize(("text", "reason", "words"), CONFIGS)
def test_a_yaml_that_cannot_be_used_is_told_with_the_reason(text: str | None, reason: str, words: str) -> None:
    pipeline = a_pipeline(pipeline=..., config={"configMapKeyRef": {"name": "pipelines", "key": "ocr.yaml"}})

    blocked = plan(observed(pipeline, references={CONFIG_KEY: text}))

    status, told, message = condition(blocked, "Accepted")
    assert (status, told) == ("False", reason)
    assert words in message
    assert blocked.apply == ()


def test_a_yaml_of_a_config_map_stands_in_the_revision_and_a_change_of_it_is_another_revision() -> None:
    pipeline = a_pipeline(
        pipeline=..., config={"configMapKeyRef": {"name": "pipelines", "key": "ocr.yaml"}}, replicas=2
    )
    cluster = SmallCluster(pipeline, [a_node("n")], references={CONFIG_KEY: "pipeline_name: OCR\ndate: 2026-01-01"})
    cluster.settle()
    [first] = cluster.names("ConfigMap")

    cluster.references[CONFIG_KEY] = "pipeline_name: OCR\ndate: 2026-01-02"
    cluster.settle()

    assert "date: '2026-01-01'" in cluster.named("ConfigMap", first)["data"]["pipeline.yaml"]
    assert len(cluster.names("ConfigMap")) == 2
    assert cluster.status.revision == cluster.status.wanted_revision


def test_a_config_map_that_goes_leaves_what_serves_alone() -> None:
    pipeline = a_pipeline(pipeline=..., config={"configMapKeyRef": {"name": "pipelines", "key": "k"}}, replicas=2)
    cluster = SmallCluster(pipeline, [a_node("n")], references={CONFIG_KEY: "pipeline_name: OCR"})
    cluster.settle()
    before = (set(cluster.objects), set(cluster.pods), cluster.status)

    cluster.references[CONFIG_KEY] = None
    cluster.settle()

    assert (set(cluster.objects), set(cluster.pods)) == before[:2]
    assert cluster.condition("Accepted")[1] == "ReferenceMissing"
    assert cluster.condition("Available")[0] == "True"
    for name in ("url", "classes", "revision", "revisions", "runtime", "hardware", "wanted_replicas"):
        assert getattr(cluster.status, name) == getattr(before[2], name), name


def test_without_a_node_nothing_is_made_and_the_nodes_that_were_seen_are_told() -> None:
    unplaced = plan(observed(a_pipeline(placement=on("NVIDIA")), supply=[a_node_group("c", count=3)]))

    status, reason, message = condition(unplaced, "Placed")
    assert (status, reason) == ("False", "NoMatchingNode")
    assert "3 nodes (such as c-0): no nvidia.com/gpu" in message
    assert unplaced.apply == ()


def test_without_a_runtime_nothing_is_made_and_the_nearest_is_told() -> None:
    unplaced = plan(observed(runtimes=[a_runtime(state="Withdrawn")]))

    status, reason, message = condition(unplaced, "Placed")
    assert (status, reason) == ("False", "NoMatchingRuntime")
    assert "hpi-cpu-1.0.0: it is withdrawn" in message


def test_a_runtime_that_has_passed_nowhere_makes_pods_that_wait_and_the_status_says_for_what() -> None:
    waiting = plan(observed(supply=[a_node_group(usable=[], count=3)]))

    assert condition(waiting, "Placed")[:2] == ("False", "RuntimeNotUsable")
    assert "the self-test of hpi-cpu-1.0.0 has not passed yet on any of the 3 nodes" in condition(waiting, "Placed")[2]
    assert "Deployment" in kinds(waiting)


def test_every_class_that_is_not_offered_appears_in_the_reason_of_the_one_that_is() -> None:
    placed = plan(observed(a_pipeline(placement=on("Ascend", "NVIDIA", "CPU")), supply=[a_node_group("c")]))

    message = condition(placed, "Placed")[2]

    assert "class Ascend: 1 node (such as c-0): no huawei.com/Ascend310P" in message
    assert "class NVIDIA: 1 node (such as c-0): no nvidia.com/gpu" in message


def test_a_class_whose_runtime_has_passed_nowhere_is_told_beside_the_one_that_is_used() -> None:
    supply = [a_node_group("c"), a_node_group("g", gpus=1, usable=[])]

    placed = plan(observed(a_pipeline(placement=on("NVIDIA", "CPU", policy="Spill")), supply=supply))

    assert [one["metadata"]["name"] for one in placed.apply if one["kind"] == "Deployment"] == ["ocr-cpu"]
    assert condition(placed, "Placed")[2].endswith(
        "class NVIDIA: the self-test of hpi-gpu-1.0.0 has not passed yet on the node that it fits"
    )


def test_a_class_that_serves_stays_while_its_runtime_is_tested_anew() -> None:
    cluster = SmallCluster(a_pipeline(replicas=2, placement=on("NVIDIA", "CPU")), [a_node("c"), a_node("g", gpus=2)])
    cluster.settle()

    seen = replace(cluster.observe(), supply=(a_node_group("c"), a_node_group("g", gpus=2, usable=[])))

    assert [one["metadata"]["name"] for one in plan(seen).apply if one["kind"] == "Deployment"] == ["ocr-nvidia"]
    assert plan(seen).delete == ()


def test_a_second_entry_of_a_class_is_told_not_to_be_used() -> None:
    placed = plan(
        observed(
            a_pipeline(placement={"accelerators": [{"class": "NVIDIA"}, {"class": "NVIDIA", "count": 2}]}),
            supply=[a_node_group(gpus=2)],
        )
    )

    assert placed.status is not None
    assert placed.status["notes"] == ["spec.placement.accelerators[1]: an earlier entry has the class NVIDIA"]


def test_a_refusal_of_the_api_server_is_told() -> None:
    refused = plan(observed(refusals=(Refusal("ObjectRefused", "Deployment x: exceeded quota"),)))

    assert condition(refused, "Accepted") == ("False", "ObjectRefused", "Deployment x: exceeded quota")


def test_engines_in_use_are_wanted_whatever_is_blocked() -> None:
    blocked = plan(observed(problems=("no",), engines_in_use=("e-1",)))

    assert blocked.wanted_engines == {"e-1"}
