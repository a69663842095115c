"""A new revision replaces the old one, or fails and takes nothing from it: passes over a small cluster."""

from __future__ import annotations

import pytest

from support.small_rollouts import a_serving_cluster, another


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


def test_replicas_change_while_a_revision_is_on_its_way() -> None:
    cluster = a_serving_cluster()

    new = another(cluster)
    cluster.until(lambda: cluster.ready(revision=new) == 1)
    cluster.change(replicas=7)
    cluster.settle()

    assert cluster.ready(revision=new) == len(cluster.pods) == 7


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
