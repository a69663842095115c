"""A new revision replaces the old one, or fails and takes nothing from it: passes over a small cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from support.nodes import a_node
from support.observed import GPU_RUNTIME, a_pipeline, a_runtime, on, usual_runtimes
from support.small_cluster import Course, SmallCluster


def a_serving_cluster(**spec: Any) -> SmallCluster:
    """Return a cluster in which the first revision serves alone."""
    cluster = SmallCluster(a_pipeline(**{"replicas": 4, **spec}), [a_node("n")])
    cluster.settle()
    cluster.watch()
    return cluster


def another(cluster: SmallCluster, seconds: int = 30) -> str:
    """Ask for another revision: longer requests; return its name, which the next pass decides."""
    cluster.change(serving={"timeouts": {"requestSeconds": seconds}})
    cluster.make_pass()
    name = cluster.status.wanted_revision
    assert name is not None
    return name


def test_the_first_revision_serves_and_is_active() -> None:
    cluster = a_serving_cluster()

    assert cluster.ready() == 4
    assert cluster.status.revision == cluster.status.wanted_revision
    assert [(one.number, one.state) for one in cluster.status.revisions] == [(1, "Active")]
    assert cluster.condition("Ready")[:2] == ("True", "AsWanted")


def test_a_new_revision_takes_over_without_one_replica_less() -> None:
    cluster = a_serving_cluster()

    new = another(cluster)
    cluster.settle()

    assert cluster.fewest_ready == 4
    assert (cluster.ready(), cluster.ready(revision=new)) == (4, 4)
    assert [(one.number, one.state) for one in cluster.status.revisions] == [(2, "Active"), (1, "Retired")]
    assert [reason for reason, _ in cluster.events].count("RolloutComplete") == 2


def test_the_old_revision_is_the_active_one_until_the_new_one_serves_alone() -> None:
    cluster = a_serving_cluster()
    old = cluster.status.revision

    new = another(cluster)
    cluster.until(lambda: cluster.ready(revision=new) == 2)

    assert cluster.status.revision == old
    assert cluster.condition("Progressing")[:2] == ("True", "Progressing")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("replicas", 6),
        ("rollout", {"maxFailedReplicas": 3}),
        ("availability", {"maxUnavailable": 2}),
        ("placement", {"accelerators": [{"class": "CPU"}], "policy": "Spill"}),
    ],
)
def test_what_changes_no_pod_is_no_revision(field: str, value: object) -> None:
    cluster = a_serving_cluster()
    before = set(cluster.pods)

    cluster.change(**{field: value})
    cluster.settle()

    assert before <= set(cluster.pods)
    assert len(cluster.status.revisions) == 1


@pytest.mark.parametrize("course", ["crashes", "image-missing", "never-ready"])
def test_a_revision_that_fails_takes_nothing_and_is_rolled_back(course: Course) -> None:
    cluster = a_serving_cluster()
    old = cluster.status.revision

    bad = another(cluster)
    cluster.courses[bad] = course
    cluster.until(lambda: cluster.condition("Progressing")[1] == "RolledBack")
    cluster.settle()

    assert (cluster.fewest_ready, cluster.ready(revision=old)) == (4, 4)
    assert cluster.status.revision == old
    assert {one.state for one in cluster.status.revisions if one.name == bad} == {"Failed"}
    assert cluster.condition("Progressing")[:2] == ("False", "RolledBack")
    assert cluster.condition("Ready")[0] == "True"
    assert [reason for reason, _ in cluster.events].count("RolledBack") == 1


def test_a_failure_names_pod_container_and_message() -> None:
    cluster = a_serving_cluster()

    bad = another(cluster)
    cluster.courses[bad] = "crashes"
    cluster.settle()

    failure = cluster.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.revision, failure.container, failure.exit_code) == (
        "CrashLoopBackOff",
        bad,
        "serve",
        1,
    )
    assert failure.message == "libnvinfer.so.10 is missing"
    assert failure.pod is not None
    assert failure.pod.startswith("ocr-cpu-")


@pytest.mark.parametrize(("budget", "longest_seconds"), [(0, 30), (1, 90), (2, 150)])
def test_a_missing_image_does_not_wait_for_the_progress_deadline(budget: int, longest_seconds: int) -> None:
    cluster = a_serving_cluster(rollout={"maxFailedReplicas": budget, "progressDeadlineSeconds": 3_000})
    begun = cluster.now

    bad = another(cluster)
    cluster.courses[bad] = "image-missing"
    cluster.until(lambda: cluster.condition("Progressing")[1] == "RolledBack")

    assert cluster.now - begun <= timedelta(seconds=longest_seconds)
    assert "manifest unknown" in cluster.condition("Progressing")[2]


def test_restarts_within_the_budget_are_forgiven() -> None:
    cluster = a_serving_cluster(rollout={"maxFailedReplicas": 2})

    slow = another(cluster)
    cluster.courses[slow] = "crashes"
    cluster.wait(15)
    assert {pod.restarts for pod in cluster.pods.values() if pod.revision == slow} == {1}
    del cluster.courses[slow]
    cluster.settle()

    assert cluster.ready(revision=slow) == 4
    assert cluster.status.revision == slow


def test_a_revision_that_never_answers_fails_at_its_deadline_and_not_before() -> None:
    cluster = a_serving_cluster(rollout={"progressDeadlineSeconds": 900})

    stuck = another(cluster)
    cluster.courses[stuck] = "never-ready"
    cluster.wait(890)
    before = cluster.condition("Progressing")[1]
    cluster.wait(60)

    assert before == "Progressing"
    assert cluster.condition("Progressing")[1] == "RolledBack"
    failure = cluster.status.last_failure
    assert failure is not None
    assert failure.reason == "ProgressDeadlineExceeded"


def test_a_failed_revision_stays_failed_and_another_one_is_tried() -> None:
    cluster = a_serving_cluster()
    old = cluster.status.revision
    bad = another(cluster)
    cluster.courses[bad] = "crashes"
    cluster.settle()
    tried = {pod.name for pod in cluster.pods.values()}

    cluster.wait(3_600, step_seconds=60)
    unchanged = {pod.name for pod in cluster.pods.values()}
    good = another(cluster, 31)
    cluster.settle()

    assert unchanged == tried
    assert cluster.status.revision == good not in (old, bad)
    states = {one.name: one.state for one in cluster.status.revisions}
    assert states == {old: "Retired", bad: "Failed", good: "Active"}


def test_a_then_b_then_a_ends_at_a() -> None:
    cluster = a_serving_cluster()
    first = cluster.status.revision

    another(cluster)
    cluster.wait(20)
    cluster.change(serving=...)
    cluster.settle()

    assert cluster.status.revision == cluster.status.wanted_revision == first
    assert cluster.ready(revision=first) == 4
    assert cluster.fewest_ready == 4


def test_a_failed_revision_is_tried_anew_when_it_is_wanted_again_after_another() -> None:
    cluster = a_serving_cluster()
    bad = another(cluster)
    cluster.courses[bad] = "crashes"
    cluster.settle()
    cluster.change(serving=...)
    cluster.settle()

    del cluster.courses[bad]
    again = another(cluster)
    cluster.settle()

    assert again == bad == cluster.status.revision
    assert cluster.ready(revision=bad) == 4
    assert {one.state for one in cluster.status.revisions} == {"Active", "Retired"}


def test_scaling_does_not_try_a_failed_revision_again() -> None:
    cluster = a_serving_cluster()
    old = cluster.status.revision
    bad = another(cluster)
    cluster.courses[bad] = "crashes"
    cluster.settle()

    cluster.change(replicas=6)
    cluster.settle()

    assert cluster.ready(revision=old) == 6
    assert cluster.condition("Progressing")[1] == "RolledBack"


def test_the_first_revision_has_nothing_to_go_back_to_and_serves_once_it_can() -> None:
    cluster = SmallCluster(a_pipeline(replicas=2), [a_node("n")])
    cluster.make_pass()
    only = cluster.status.wanted_revision
    assert only is not None
    cluster.courses[only] = "crashes"
    cluster.settle()
    failed = cluster.condition("Progressing")

    del cluster.courses[only]
    cluster.settle()

    assert failed[:2] == ("False", "RevisionFailed")
    assert "there is none to go back to" in failed[2]
    assert [reason for reason, _ in cluster.events].count("RevisionFailed") == 1
    assert (cluster.ready(), cluster.status.revision) == (2, only)


def test_without_automatic_rollback_a_failed_revision_stops_and_stays_to_be_looked_at() -> None:
    cluster = a_serving_cluster(rollout={"autoRollback": "Disabled"})
    old = cluster.status.revision

    bad = another(cluster)
    cluster.courses[bad] = "crashes"
    cluster.settle()
    stopped = [pod.name for pod in cluster.pods.values() if pod.revision == bad]
    del cluster.courses[bad]
    cluster.settle()

    assert cluster.condition("Progressing")[:2] == ("False", "RevisionFailed")
    assert stopped == [pod.name for pod in cluster.pods.values() if pod.revision == bad]
    assert cluster.ready(revision=old) == 4
    assert cluster.status.revision == old


def test_automatic_rollback_that_is_enabled_later_goes_back() -> None:
    cluster = a_serving_cluster(rollout={"autoRollback": "Disabled"})
    old = cluster.status.revision
    bad = another(cluster)
    cluster.courses[bad] = "crashes"
    cluster.settle()

    cluster.change(rollout={"autoRollback": "Enabled"})
    cluster.settle()

    assert (cluster.ready(), cluster.ready(revision=old), len(cluster.pods)) == (4, 4, 4)


def test_a_paused_rollout_stands_still_where_it_is() -> None:
    cluster = a_serving_cluster()
    old = cluster.status.revision
    new = another(cluster)
    cluster.until(lambda: cluster.ready(revision=new) == 2)

    cluster.change(rollout={"paused": True})
    cluster.wait(600)
    held = (cluster.ready(revision=old), cluster.ready(revision=new))
    cluster.change(rollout={"paused": False})
    cluster.settle()

    assert held[0] > 0
    assert held[1] >= 2
    assert cluster.fewest_ready == 4
    assert cluster.ready(revision=new) == 4


def test_a_rollout_that_was_paused_before_it_began_does_not_begin_and_the_old_one_is_kept_up() -> None:
    cluster = a_serving_cluster()
    old = cluster.status.revision
    cluster.change(rollout={"paused": True})
    cluster.settle()

    another(cluster)
    cluster.change(serving={"timeouts": {"requestSeconds": 30}}, replicas=6)
    cluster.settle()

    assert cluster.ready(revision=old) == len(cluster.pods) == 6
    assert cluster.condition("Progressing")[:2] == ("False", "Paused")


def test_a_paused_rollout_that_fails_is_not_rolled_back_before_it_goes_on() -> None:
    cluster = a_serving_cluster()
    bad = another(cluster)
    cluster.courses[bad] = "crashes"
    cluster.control()
    cluster.change(rollout={"paused": True})
    cluster.wait(600)
    held = cluster.condition("Progressing")[1]

    cluster.change(rollout={"paused": False})
    cluster.settle()

    assert held == "Paused"
    assert cluster.condition("Progressing")[1] == "RolledBack"


def test_replicas_change_while_a_revision_is_on_its_way() -> None:
    cluster = a_serving_cluster()

    new = another(cluster)
    cluster.until(lambda: cluster.ready(revision=new) == 1)
    cluster.change(replicas=7)
    cluster.settle()

    assert cluster.ready(revision=new) == len(cluster.pods) == 7


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


@pytest.mark.parametrize("limit", [1, 3])
def test_old_revisions_are_kept_up_to_the_limit(limit: int) -> None:
    cluster = a_serving_cluster(rollout={"revisionHistoryLimit": limit})

    for seconds in range(30, 36):
        another(cluster, seconds)
        cluster.settle()

    assert len(cluster.names("ConfigMap")) == limit + 1
    assert [one.number for one in cluster.status.revisions] == list(range(7, 7 - limit - 1, -1))


def test_the_configuration_of_a_revision_stays_while_pods_of_it_live() -> None:
    cluster = a_serving_cluster(rollout={"revisionHistoryLimit": 1, "paused": False})
    first = cluster.status.revision
    for seconds in (30, 31, 32):
        another(cluster, seconds)
        cluster.control()

    cluster.wait(10)
    during = cluster.names("ConfigMap")
    cluster.settle()

    assert f"ocr-{first}" in during
    assert {pod.revision for pod in cluster.pods.values()} == {cluster.status.revision}
    assert f"ocr-{first}" not in cluster.names("ConfigMap")


def test_more_of_a_new_revision_start_at_once_where_more_may_fail() -> None:
    cluster = a_serving_cluster(rollout={"maxFailedReplicas": "50%"})

    new = another(cluster)
    cluster.control()

    assert sum(pod.revision == new for pod in cluster.pods.values()) == 2


def test_a_first_revision_that_is_paused_makes_no_pod_until_it_goes_on() -> None:
    cluster = SmallCluster(a_pipeline(replicas=2, rollout={"paused": True}), [a_node("n")])
    cluster.settle()
    before = (cluster.replicas(), cluster.condition("Progressing")[1])

    cluster.change(rollout={"paused": False})
    cluster.settle()

    assert before == ({}, "Paused")
    assert cluster.ready() == 2


def a_pipeline_of_a_config_map() -> HPIPipeline:
    """Return a pipeline whose YAML lies in a ConfigMap."""
    return a_pipeline(pipeline=..., config={"configMapKeyRef": {"name": "pipelines", "key": "ocr.yaml"}}, replicas=2)


def test_gpu_runtimes_serve_the_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    cluster = SmallCluster(a_pipeline(placement=on("NVIDIA")), [a_node("g", gpus=1)])

    cluster.settle()

    assert cluster.status.runtime == GPU_RUNTIME
    assert cluster.status.hardware == "1 NVIDIA"
