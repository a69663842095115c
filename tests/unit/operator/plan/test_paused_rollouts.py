"""Paused rollouts stand still where they are: passes over a small cluster."""

from __future__ import annotations

from support.nodes import a_node
from support.observed import a_pipeline
from support.small_cluster import SmallCluster
from support.small_rollouts import a_serving_cluster, another


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


def test_a_first_revision_that_is_paused_makes_no_pod_until_it_goes_on() -> None:
    cluster = SmallCluster(a_pipeline(replicas=2, rollout={"paused": True}), [a_node("n")])
    cluster.settle()
    before = (cluster.replicas(), cluster.condition("Progressing")[1])

    cluster.change(rollout={"paused": False})
    cluster.settle()

    assert before == ({}, "Paused")
    assert cluster.ready() == 2
