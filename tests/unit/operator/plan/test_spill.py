"""Placement First and Spill over a small cluster: who goes where, who stands in, and the way back."""

from __future__ import annotations

import pytest

from hpi_core.api.v1alpha1.pipeline_status import ClassCount
from support.nodes import a_node
from support.observed import a_pipeline, on
from support.small_cluster import SmallCluster

SPILL = on("NVIDIA", "CPU", policy="Spill")
FIRST = on("NVIDIA", "CPU")


def counts(cluster: SmallCluster) -> list[tuple[str, int, int]]:
    """Return class, replicas and ready replicas, as the status tells."""

    def row(one: ClassCount) -> tuple[str, int, int]:
        return one.class_, one.replicas, one.ready_replicas

    return [row(one) for one in cluster.status.classes]


def test_first_puts_all_on_the_first_class_that_there_is() -> None:
    cluster = SmallCluster(a_pipeline(replicas=3, placement=FIRST), [a_node("c"), a_node("g", gpus=4)])

    cluster.settle()

    assert cluster.replicas() == {"ocr-nvidia": 3}
    assert cluster.ready("nvidia") == 3


def test_first_leaves_replicas_waiting_where_there_is_no_room_and_says_why() -> None:
    cluster = SmallCluster(a_pipeline(replicas=3, placement=FIRST), [a_node("c"), a_node("g", gpus=2)])

    cluster.settle()

    assert cluster.replicas() == {"ocr-nvidia": 3}
    assert (cluster.ready("nvidia"), cluster.ready("cpu")) == (2, 0)


def test_spill_serves_on_the_next_class_for_replicas_that_wait_too_long() -> None:
    cluster = SmallCluster(a_pipeline(replicas=3, placement=SPILL), [a_node("c"), a_node("g", gpus=1)])

    cluster.wait(55)
    before = cluster.replicas()
    cluster.settle()

    assert before == {"ocr-nvidia": 3}
    assert cluster.replicas() == {"ocr-cpu": 2, "ocr-nvidia": 3}
    assert (cluster.ready("nvidia"), cluster.ready("cpu"), cluster.ready()) == (1, 2, 3)
    assert counts(cluster) == [("NVIDIA", 3, 1), ("CPU", 2, 2)]


def test_the_status_says_who_waits_for_what_and_who_stands_in() -> None:
    cluster = SmallCluster(a_pipeline(replicas=3, placement=SPILL), [a_node("c"), a_node("g", gpus=1)])

    cluster.settle()

    status, reason, message = cluster.condition("Placed")
    assert (status, reason) == ("True", "Spilled")
    assert message.startswith("2 of 3 replicas wait for NVIDIA (0/1 nodes are available); CPU serves in their stead")
    assert cluster.condition("Ready")[:2] == ("True", "AsWanted")
    assert [reason for reason, _ in cluster.events].count("Spilled") == 1


def test_replicas_come_back_by_themselves_when_there_is_room() -> None:
    cluster = SmallCluster(a_pipeline(replicas=3, placement=SPILL), [a_node("c"), a_node("g", gpus=1)])
    cluster.settle()
    cluster.watch()

    cluster.nodes.append(a_node("g2", gpus=4))
    cluster.settle()

    assert cluster.fewest_ready == 3
    assert cluster.replicas() == {"ocr-nvidia": 3}
    assert cluster.condition("Placed")[1] == "ClassChosen"


def test_replicas_come_back_one_by_one_as_single_devices_become_free() -> None:
    cluster = SmallCluster(a_pipeline(replicas=3, placement=SPILL), [a_node("c"), a_node("g", gpus=1)])
    cluster.settle()

    cluster.nodes[1] = a_node("g", gpus=2)
    cluster.settle()

    assert cluster.replicas() == {"ocr-cpu": 1, "ocr-nvidia": 3}
    assert (cluster.ready("nvidia"), cluster.ready("cpu")) == (2, 1)


def test_nothing_moves_while_replicas_stand_in() -> None:
    cluster = SmallCluster(a_pipeline(replicas=3, placement=SPILL), [a_node("c"), a_node("g", gpus=1)])
    cluster.settle()
    before = len(cluster.writes)

    cluster.wait(7_200, step_seconds=60)

    assert len(cluster.writes) == before


def test_fewer_replicas_take_from_those_that_stand_in() -> None:
    cluster = SmallCluster(a_pipeline(replicas=4, placement=SPILL), [a_node("c"), a_node("g", gpus=2)])
    cluster.settle()

    cluster.change(replicas=2)
    cluster.settle()

    assert cluster.replicas() == {"ocr-nvidia": 2}
    assert cluster.ready("nvidia") == 2


def test_a_class_that_has_no_room_is_still_updated_because_others_stand_in() -> None:
    cluster = SmallCluster(a_pipeline(replicas=4, placement=SPILL), [a_node("c"), a_node("g", gpus=2)])
    cluster.settle()
    cluster.watch()

    cluster.change(serving={"timeouts": {"requestSeconds": 30}})
    cluster.settle()

    new = cluster.status.wanted_revision
    assert cluster.fewest_ready >= 4
    assert cluster.status.revision == new
    assert (cluster.ready("nvidia", new), cluster.ready("cpu", new)) == (2, 2)


def test_a_revision_is_not_to_blame_for_replicas_that_wait_for_a_node_while_others_stand_in() -> None:
    cluster = SmallCluster(a_pipeline(replicas=4, placement=SPILL), [a_node("c"), a_node("g", gpus=2)])
    cluster.settle()

    cluster.wait(3_600, step_seconds=60)

    assert cluster.condition("Progressing")[:2] == ("False", "RolloutComplete")
    assert cluster.status.last_failure is None


def test_a_revision_that_fails_while_replicas_stand_in_is_rolled_back() -> None:
    cluster = SmallCluster(a_pipeline(replicas=4, placement=SPILL), [a_node("c"), a_node("g", gpus=2)])
    cluster.settle()
    old = cluster.status.revision
    cluster.watch()

    cluster.change(serving={"timeouts": {"requestSeconds": 30}})
    cluster.make_pass()
    assert cluster.status.wanted_revision is not None
    cluster.courses[cluster.status.wanted_revision] = "crashes"
    cluster.settle()

    assert cluster.fewest_ready == 4
    assert cluster.ready(revision=old) == 4
    assert cluster.condition("Progressing")[1] == "RolledBack"


def test_three_classes_stand_in_for_one_another_in_the_order_of_wish() -> None:
    nodes = [a_node("c"), a_node("g", gpus=1), a_node("a", npus=1)]
    placement = on("NVIDIA", "Ascend", "CPU", policy="Spill")
    cluster = SmallCluster(a_pipeline(replicas=4, placement=placement), nodes)

    cluster.settle()

    assert counts(cluster) == [("NVIDIA", 4, 1), ("Ascend", 3, 1), ("CPU", 2, 2)]
    assert cluster.ready() == 4


@pytest.mark.parametrize("gone", ["cordoned", "removed"])
def test_what_serves_on_cordoned_nodes_stays_and_what_has_lost_its_nodes_moves(gone: str) -> None:
    cluster = SmallCluster(a_pipeline(replicas=2, placement=FIRST), [a_node("c"), a_node("g", gpus=2)])
    cluster.settle()

    cluster.nodes = [a_node("c"), a_node("g", gpus=2, cordoned=True)] if gone == "cordoned" else [a_node("c")]
    cluster.settle()

    expected = {"cordoned": {"ocr-nvidia": 2}, "removed": {"ocr-cpu": 2}}
    assert cluster.replicas() == expected[gone]
    assert cluster.ready() == 2


def test_an_evicted_replica_of_a_cordoned_node_moves_the_pipeline_on() -> None:
    cluster = SmallCluster(a_pipeline(replicas=2, placement=FIRST), [a_node("c"), a_node("g", gpus=2)])
    cluster.settle()

    cluster.nodes = [a_node("c"), a_node("g", gpus=2, cordoned=True)]
    cluster.settle()
    del cluster.pods[min(cluster.pods)]
    cluster.watch()
    cluster.settle()

    assert cluster.replicas() == {"ocr-cpu": 2}
    assert cluster.fewest_ready == 1


AUTOSCALING = {"minReplicas": 2, "maxReplicas": 6}


def an_autoscaled_cluster(**nodes: int) -> SmallCluster:
    """Return a pipeline that an autoscaler scales, on so many GPUs."""
    pipeline = a_pipeline(autoscaling=AUTOSCALING, placement=SPILL)
    return SmallCluster(pipeline, [a_node("c"), a_node("g", gpus=nodes.get("gpus", 2))])


def test_an_autoscalers_replicas_are_stated_until_it_has_written_them_and_never_again() -> None:
    cluster = an_autoscaled_cluster(gpus=6)
    cluster.settle()
    before = [one for one in cluster.plan().apply if one["kind"] == "Deployment"]

    cluster.scale("ocr-nvidia", 5)
    cluster.settle()
    after = [one for one in cluster.plan().apply if one["kind"] == "Deployment"]

    assert before[0]["spec"]["replicas"] == 2
    assert "replicas" not in after[0]["spec"]
    assert (cluster.ready("nvidia"), cluster.status.wanted_replicas) == (5, 5)


def test_replicas_that_an_autoscaler_adds_beyond_the_room_are_stood_in_for_once() -> None:
    cluster = an_autoscaled_cluster(gpus=2)
    cluster.settle()

    cluster.scale("ocr-nvidia", 5)
    cluster.settle()

    assert cluster.replicas() == {"ocr-cpu": 3, "ocr-nvidia": 5}
    assert (cluster.ready(), cluster.status.wanted_replicas) == (5, 5)


def test_what_stands_in_goes_when_the_autoscaler_wants_fewer() -> None:
    cluster = an_autoscaled_cluster(gpus=2)
    cluster.settle()
    cluster.scale("ocr-nvidia", 5)
    cluster.settle()

    cluster.scale("ocr-nvidia", 2)
    cluster.settle()

    assert cluster.replicas() == {"ocr-nvidia": 2}
    assert cluster.ready() == 2


def test_replicas_of_an_autoscaler_come_back_when_there_is_room() -> None:
    cluster = an_autoscaled_cluster(gpus=2)
    cluster.settle()
    cluster.scale("ocr-nvidia", 5)
    cluster.settle()
    cluster.watch()

    cluster.nodes.append(a_node("g2", gpus=4))
    cluster.settle()

    assert cluster.fewest_ready == 5
    assert cluster.replicas() == {"ocr-nvidia": 5}


def test_the_budget_of_disruptions_leaves_out_replicas_that_others_stand_in_for() -> None:
    cluster = SmallCluster(
        a_pipeline(replicas=4, placement=SPILL, availability={"maxUnavailable": "50%"}),
        [a_node("c"), a_node("g", gpus=1)],
    )
    before = [one for one in cluster.plan().apply if one["kind"] == "PodDisruptionBudget"]

    cluster.settle()

    assert before[0]["spec"]["maxUnavailable"] == "50%"
    assert cluster.named("PodDisruptionBudget", "ocr")["spec"]["maxUnavailable"] == 2 + 3


def test_a_pipeline_that_gets_an_autoscaler_keeps_its_replicas() -> None:
    cluster = SmallCluster(a_pipeline(replicas=5), [a_node("c")])
    cluster.settle()
    cluster.watch()

    cluster.change(replicas=..., autoscaling=AUTOSCALING)
    cluster.settle()

    assert cluster.fewest_ready == 5
    assert cluster.replicas() == {"ocr-cpu": 5}


def test_an_autoscaled_pipeline_that_moves_to_another_class_begins_there_with_what_it_had() -> None:
    cluster = SmallCluster(a_pipeline(autoscaling=AUTOSCALING, placement=FIRST), [a_node("c")])
    cluster.settle()
    cluster.scale("ocr-cpu", 5)
    cluster.settle()
    cluster.watch()

    cluster.nodes.append(a_node("g", gpus=8))
    cluster.settle()

    assert cluster.fewest_ready == 5
    assert cluster.replicas() == {"ocr-nvidia": 5}
    assert cluster.names("HorizontalPodAutoscaler") == ["ocr-nvidia"]
