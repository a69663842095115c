"""A revision that fails takes nothing from the old one, and is rolled back: passes over a small cluster."""

from __future__ import annotations

from datetime import timedelta

import pytest

from support.nodes import a_node
from support.observed import a_pipeline
from support.small_cluster import Course, SmallCluster
from support.small_rollouts import a_serving_cluster, another


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


def test_more_of_a_new_revision_start_at_once_where_more_may_fail() -> None:
    cluster = a_serving_cluster(rollout={"maxFailedReplicas": "50%"})

    new = another(cluster)
    cluster.control()

    assert sum(pod.revision == new for pod in cluster.pods.values()) == 2
