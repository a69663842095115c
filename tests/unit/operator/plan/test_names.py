"""Names: no two pipelines share an object, and the longest name of a pipeline works."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi_operator.plan.intent import key_of
from hpi_operator.plan.pipeline import plan_pipeline
from hpi_operator.plan.workload.deployment import deployment_name
from hpi_operator.plan.workload.exposure import track_service_name
from support.nodes import a_node
from support.observed import CLASSES, a_digest, a_node_group, a_pipeline, observed, on
from support.small_cluster import SmallCluster

GATEWAY = "gateway.networking.k8s.io/v1 HTTPRoute"
SUFFIXES = ["", "-cpu", "-canary", "-stable", "-cpu-canary", "-cache", "-build", "-nvidia"]
pipeline_names = st.builds(
    lambda base, suffix: f"{base}{suffix}"[:63].rstrip("-"),
    st.sampled_from(["ocr", "a", "o" * 60, "o" * 55]),
    st.sampled_from(SUFFIXES),
)


def a_large_pipeline(name: str) -> SmallCluster:
    """Return a cluster with a pipeline that has an object of every kind, a canary and a build included."""
    pipeline = a_pipeline(
        name,
        pipeline=...,
        module={
            "name": "text_detection",
            "model": {"name": "det", "source": "https://models.example/det.onnx", "digest": a_digest("1")},
        },
        replicas=2,
        placement=on("NVIDIA", "CPU", policy="Spill"),
        route={"parentRefs": [{"name": "public"}]},
        cache={"medium": "PersistentVolumeClaim", "sizeBytes": 2**30},
        rollout={"strategy": "Canary", "steps": [{"weightPercent": 50, "soakSeconds": 600}]},
        build={"policy": "Prebuild"},
    )
    cluster = SmallCluster(pipeline, [a_node("c"), a_node("g", gpus=1)], apis=[GATEWAY])
    cluster.settle()
    cluster.change(serving={"timeouts": {"requestSeconds": 30}})
    cluster.wait(30)
    return cluster


@pytest.mark.parametrize("name", ["ocr", "o" * 63])
def test_every_name_is_one_that_kubernetes_takes(name: str) -> None:
    cluster = a_large_pipeline(name)

    assert {key.kind for key in cluster.objects} >= {"Deployment", "Service", "ConfigMap", "Job", "HTTPRoute"}
    for key in cluster.objects:
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", key.name), key
    assert any(key.name.endswith("-canary") or len(key.name) == 63 for key in cluster.objects)


def test_the_longest_name_serves() -> None:
    cluster = SmallCluster(a_pipeline("o" * 63, replicas=2), [a_node("n")])

    cluster.settle()

    assert cluster.ready() == 2
    for pod in cluster.pods.values():
        assert all(len(value) <= 63 for value in pod.labels.values())


def names_of(name: str) -> set[tuple[str, str]]:
    """Return kinds and names of everything that a pipeline of a name may have."""
    pipeline = a_pipeline(
        name, route={"parentRefs": [{"name": "g"}]}, cache={"medium": "PersistentVolumeClaim", "sizeBytes": 2**30}
    )
    plan = plan_pipeline(observed(pipeline, apis=frozenset({GATEWAY})), CLASSES)
    stated = {(key_of(one).kind, key_of(one).name) for one in plan.apply}
    deployments = {
        ("Deployment", deployment_name(name, label, track))
        for label in ("cpu", "nvidia", "ascend")
        for track in ("stable", "canary")
    }
    return stated | deployments


@settings(max_examples=30)
@given(st.sets(pipeline_names, min_size=2, max_size=4))
def test_two_pipelines_never_share_an_object(pipelines: set[str]) -> None:
    for one, other in combinations(sorted(pipelines), 2):
        assert not names_of(one) & names_of(other)


def test_a_track_and_a_pipeline_of_its_name_have_two_services() -> None:
    assert track_service_name("ocr", "canary") != "ocr-canary"
    assert track_service_name("ocr", "canary").startswith("ocr-canary-")


def test_builds_of_one_revision_for_two_classes_of_hardware_have_two_names() -> None:
    nodes = [a_node("l4", gpus=1, product="NVIDIA L4"), a_node("t4", gpus=1, product="Tesla T4")]
    cluster = SmallCluster(a_pipeline("o" * 63, build={"policy": "Prebuild"}, placement=on("NVIDIA")), nodes)

    cluster.make_pass()

    assert len(cluster.names("Job")) == 2
    assert a_node_group().count == 1
