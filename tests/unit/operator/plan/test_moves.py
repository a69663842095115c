"""Pipelines move to other hardware and other runtimes, and back: passes over a small cluster."""

from __future__ import annotations

from typing import Any

import pytest

from support.nodes import a_node
from support.observed import GPU_RUNTIME, a_pipeline, a_runtime, on, usual_runtimes
from support.small_cluster import SmallCluster


def a_serving_cluster(**spec: Any) -> SmallCluster:
    """Return a cluster in which the first revision serves alone."""
    cluster = SmallCluster(a_pipeline(**{"replicas": 4, **spec}), [a_node("n")])
    cluster.settle()
    cluster.watch()
    return cluster


def test_a_revision_on_another_class_of_hardware_replaces_the_old_one_when_it_serves() -> None:
    cluster = SmallCluster(a_pipeline(replicas=2, placement=on("CPU")), [a_node("g", gpus=4)])
    cluster.settle()
    cluster.watch()

    cluster.change(placement=on("NVIDIA"))
    cluster.settle()

    assert cluster.fewest_ready == 2
    assert cluster.replicas() == {"ocr-nvidia": 2}
    assert cluster.ready("nvidia") == 2


def test_a_revision_that_fails_on_another_class_leaves_the_old_one_as_it_is() -> None:
    cluster = SmallCluster(a_pipeline(replicas=2, placement=on("CPU")), [a_node("g", gpus=4)])
    cluster.settle()
    cluster.watch()
    kept = set(cluster.pods)

    cluster.change(placement=on("NVIDIA"))
    cluster.make_pass()
    assert cluster.status.wanted_revision is not None
    cluster.courses[cluster.status.wanted_revision] = "crashes"
    cluster.settle()

    assert (cluster.fewest_ready, set(cluster.pods)) == (2, kept)
    assert cluster.replicas() == {"ocr-cpu": 2}


def test_going_back_brings_the_old_runtime_back_too() -> None:
    newer = a_runtime("hpi-cpu-2.0.0", version="2.0.0", letter="b")
    wish = {"variant": "hpi-cpu", "versionConstraint": "<2"}
    both = {"runtime.hpi.paddlex.io/hpi-cpu-2.0.0": "usable"}
    cluster = SmallCluster(
        a_pipeline(replicas=2, runtime=wish), [a_node("n", labels=both)], runtimes=[*usual_runtimes(), newer]
    )
    cluster.settle()
    image = image_of(cluster)

    cluster.change(runtime={"variant": "hpi-cpu", "versionConstraint": ">=2"})
    cluster.make_pass()
    tried = image_of(cluster)
    assert cluster.status.wanted_revision is not None
    cluster.courses[cluster.status.wanted_revision] = "crashes"
    cluster.settle()

    assert tried != image
    assert image_of(cluster) == image
    assert cluster.ready() == 2


def image_of(cluster: SmallCluster, name: str = "ocr-cpu") -> str:
    """Return the image of a Deployment's pods."""
    image: str = cluster.named("Deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def test_a_revision_does_not_begin_before_its_runtime_has_passed_on_some_node() -> None:
    newer = a_runtime("hpi-cpu-2.0.0", version="2.0.0", letter="b")
    cluster = SmallCluster(a_pipeline(replicas=2), [a_node("n")], runtimes=[*usual_runtimes(), newer])
    cluster.settle()
    old = cluster.status.revision

    cluster.change(runtime={"name": "hpi-cpu-2.0.0"})
    cluster.wait(3_600, step_seconds=60)
    waited = (cluster.ready(revision=old), cluster.condition("Progressing"), cluster.condition("Placed")[1])
    cluster.nodes = [a_node("n", labels={"runtime.hpi.paddlex.io/hpi-cpu-2.0.0": "usable"})]
    cluster.settle()

    assert waited[0] == 2
    assert waited[1] == ("True", "Progressing", waited[1][2])
    assert "hpi-cpu-2.0.0 has not passed" in waited[1][2]
    assert waited[2] == "RuntimeNotUsable"
    assert cluster.status.runtime == "hpi-cpu-2.0.0"


def test_a_newer_runtime_moves_nobody_by_itself() -> None:
    cluster = a_serving_cluster()
    before = set(cluster.pods)

    cluster.runtimes = (*cluster.runtimes, a_runtime("hpi-cpu-2.0.0", version="2.0.0", letter="b"))
    cluster.settle()

    assert set(cluster.pods) == before


def test_another_image_of_the_runtime_is_a_revision_that_can_be_gone_back_from() -> None:
    cluster = a_serving_cluster()
    old, image = cluster.status.revision, image_of(cluster)

    cluster.runtimes = (a_runtime(letter="c"), *cluster.runtimes[1:])
    cluster.make_pass()
    bad = cluster.status.wanted_revision
    assert bad is not None
    cluster.courses[bad] = "crashes"
    cluster.settle()

    assert bad != old
    assert cluster.fewest_ready == 4
    assert (cluster.status.revision, image_of(cluster)) == (old, image)


def test_a_withdrawn_runtime_goes_on_and_the_status_says_so() -> None:
    cluster = a_serving_cluster()
    before = set(cluster.pods)

    cluster.runtimes = (a_runtime(state="Withdrawn"), *cluster.runtimes[1:])
    cluster.settle()

    assert set(cluster.pods) == before
    assert cluster.status.notes == ("HPIRuntime hpi-cpu-1.0.0 is withdrawn; set spec.runtime to move to another",)


def test_a_runtime_that_has_gone_is_replaced_by_one_that_fits() -> None:
    cluster = a_serving_cluster()

    cluster.runtimes = (a_runtime("hpi-cpu-2.0.0", version="2.0.0", letter="b"), *cluster.runtimes[1:])
    cluster.nodes = [a_node("n", labels={"runtime.hpi.paddlex.io/hpi-cpu-2.0.0": "usable"})]
    cluster.settle()

    assert cluster.fewest_ready == 4
    assert cluster.status.runtime == "hpi-cpu-2.0.0"


def test_a_runtime_that_has_gone_without_another_leaves_its_pods_alone() -> None:
    cluster = a_serving_cluster()
    before = set(cluster.pods)

    cluster.runtimes = cluster.runtimes[1:]
    cluster.settle()

    assert set(cluster.pods) == before
    assert cluster.condition("Placed")[1] == "NoMatchingRuntime"


def test_gpu_runtimes_serve_the_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = SmallCluster(a_pipeline(placement=on("NVIDIA")), [a_node("g", gpus=1)])

    cluster.settle()

    assert cluster.status.runtime == GPU_RUNTIME
    assert cluster.status.hardware == "1 NVIDIA"
