"""A canary gets a growing share, step by step, and takes nothing from the old revision: passes over a small cluster."""

from __future__ import annotations

import pytest

from support.nodes import a_node
from support.observed import a_pipeline, on
from support.small_canaries import CANARY, a_serving_cluster, another
from support.small_cluster import SmallCluster


def step(cluster: SmallCluster) -> int:
    """Return the step of the canary, 0 where there is none."""
    return 0 if cluster.status.canary is None else cluster.status.canary.step


def test_the_first_revision_needs_no_canary() -> None:
    cluster = a_serving_cluster()

    assert cluster.replicas() == {"ocr-cpu": 10}
    assert step(cluster) == 0


def test_a_canary_goes_through_its_steps_and_is_promoted() -> None:
    cluster = a_serving_cluster()
    old = cluster.status.revision

    new = another(cluster)
    cluster.until(lambda: step(cluster) == 1 and cluster.ready(revision=new) == 2)
    first = (cluster.replicas(), cluster.status.revision)
    cluster.until(lambda: step(cluster) == 2 and cluster.ready(revision=new) == 10)
    second = cluster.replicas()
    cluster.settle()

    assert first == ({"ocr-cpu": 10, "ocr-cpu-canary": 2}, old)
    assert second == {"ocr-cpu": 10, "ocr-cpu-canary": 10}
    assert cluster.replicas() == {"ocr-cpu": 10}
    assert cluster.ready(revision=new) == 10
    assert cluster.fewest_ready == 10
    assert cluster.status.revision == new
    reasons = [reason for reason, _ in cluster.events]
    assert (reasons.count("CanaryStep"), reasons.count("RolloutComplete")) == (3, 2)


def test_a_step_lasts_as_long_as_it_must_hold_after_its_pods_answer() -> None:
    cluster = a_serving_cluster()

    new = another(cluster)
    cluster.until(lambda: cluster.ready(revision=new) == 2)
    answered = cluster.now
    cluster.until(lambda: step(cluster) == 2)

    assert 60 <= (cluster.now - answered).total_seconds() <= 70


def test_the_date_of_a_step_moves_with_the_step_alone() -> None:
    cluster = a_serving_cluster()
    another(cluster)
    assert cluster.status.canary is not None
    since = cluster.status.canary.since

    cluster.wait(60)

    assert cluster.status.canary.step == 1
    assert cluster.status.canary.since == since


def test_a_failing_canary_is_taken_away_and_the_old_revision_has_lost_nothing() -> None:
    cluster = a_serving_cluster()
    old = cluster.status.revision
    kept = set(cluster.pods)

    another(cluster, "crashes")
    cluster.settle()

    assert set(cluster.pods) == kept
    assert cluster.fewest_ready == 10
    assert cluster.status.revision == old
    assert cluster.condition("Progressing")[1] == "RolledBack"
    assert step(cluster) == 0


def test_a_paused_canary_stands_still() -> None:
    cluster = a_serving_cluster()
    new = another(cluster)
    cluster.until(lambda: cluster.ready(revision=new) == 2)

    cluster.change(rollout={**CANARY, "paused": True})
    cluster.wait(1_000)
    held = (step(cluster), cluster.replicas(), cluster.condition("Progressing")[1])
    cluster.change(rollout={**CANARY, "paused": False})
    cluster.settle()

    assert held == (1, {"ocr-cpu": 10, "ocr-cpu-canary": 2}, "Paused")
    assert cluster.status.revision == new


def test_a_canary_that_was_paused_before_it_began_does_not_begin() -> None:
    cluster = a_serving_cluster()
    cluster.change(rollout={**CANARY, "paused": True})
    cluster.settle()

    another(cluster)
    cluster.settle()

    assert cluster.replicas() == {"ocr-cpu": 10}
    assert cluster.condition("Progressing")[:2] == ("False", "Paused")


@pytest.mark.parametrize("replicas", [4, 20])
def test_replicas_change_while_there_is_a_canary(replicas: int) -> None:
    cluster = a_serving_cluster()
    new = another(cluster)
    cluster.until(lambda: step(cluster) == 2)

    cluster.change(replicas=replicas)
    cluster.until(lambda: cluster.ready(revision=new) == replicas and step(cluster) == 2)
    during = cluster.replicas()
    cluster.settle()

    assert during == {"ocr-cpu": replicas, "ocr-cpu-canary": replicas}
    assert cluster.replicas() == {"ocr-cpu": replicas}
    assert cluster.ready(revision=new) == replicas


def test_a_then_b_then_a_ends_at_a_while_b_is_a_canary() -> None:
    cluster = a_serving_cluster()
    first = cluster.status.revision
    another(cluster)
    cluster.wait(30)

    cluster.change(serving=...)
    cluster.settle()

    assert cluster.replicas() == {"ocr-cpu": 10}
    assert cluster.status.revision == first
    assert cluster.ready(revision=first) == 10


def test_another_revision_while_there_is_a_canary_begins_at_the_first_step() -> None:
    cluster = a_serving_cluster()
    another(cluster)
    cluster.until(lambda: step(cluster) == 2)

    cluster.change(serving={"timeouts": {"requestSeconds": 31}})
    cluster.wait(20)
    begun = step(cluster)
    cluster.settle()

    assert begun == 1
    assert cluster.status.revision == cluster.status.wanted_revision
    assert cluster.fewest_ready == 10


def test_a_step_of_all_gives_all_to_the_new_revision_without_a_canary_of_all() -> None:
    cluster = a_serving_cluster(rollout={"strategy": "Canary", "steps": [{"weightPercent": 100}]})

    new = another(cluster)
    cluster.wait(20)
    during = set(cluster.replicas())
    cluster.settle()

    assert during == {"ocr-cpu"}
    assert cluster.ready(revision=new) == 10


def test_a_canary_of_a_pipeline_on_two_classes_runs_on_the_first() -> None:
    cluster = SmallCluster(
        a_pipeline(replicas=4, rollout=CANARY, placement=on("NVIDIA", "CPU", policy="Spill")),
        [a_node("c"), a_node("g", gpus=3)],
    )
    cluster.settle()
    spilled = cluster.replicas()
    cluster.watch()

    cluster.nodes[1] = a_node("g", gpus=8)
    new = another(cluster)
    cluster.until(lambda: step(cluster) == 1 and cluster.ready(revision=new) == 1)
    during = cluster.replicas()
    cluster.settle()

    assert spilled == {"ocr-cpu": 1, "ocr-nvidia": 4}
    assert during == {"ocr-nvidia": 4, "ocr-nvidia-canary": 1} or during == {
        "ocr-cpu": 1,
        "ocr-nvidia": 4,
        "ocr-nvidia-canary": 1,
    }
    assert cluster.ready(revision=new) == 4
    assert cluster.fewest_ready >= 4


def test_a_canary_on_other_hardware_leaves_the_old_revision_where_it_is() -> None:
    cluster = SmallCluster(a_pipeline(replicas=4, rollout=CANARY, placement=on("CPU")), [a_node("g", gpus=8)])
    cluster.settle()
    kept = set(cluster.pods)
    cluster.watch()

    cluster.change(placement=on("NVIDIA"))
    cluster.until(lambda: step(cluster) == 2)
    during = (cluster.replicas(), kept <= set(cluster.pods))
    cluster.settle()

    assert during == ({"ocr-cpu": 4, "ocr-nvidia-canary": 4}, True) or during[1]
    assert cluster.replicas() == {"ocr-nvidia": 4}
    assert cluster.fewest_ready == 4
