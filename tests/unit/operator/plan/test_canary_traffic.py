"""Which share of the requests a canary gets, by a gateway or by replicas."""

from __future__ import annotations

import pytest

from hpi_operator.plan.canary import canary_replicas
from support.small_canaries import CANARY, a_serving_cluster, another
from support.small_cluster import SmallCluster


def weights(cluster: SmallCluster) -> list[int]:
    """Return the weights of the live route: stable, canary."""
    [rule] = cluster.named("HTTPRoute", "ocr")["spec"]["rules"]
    return [one["weight"] for one in rule["backendRefs"]]


def step(cluster: SmallCluster) -> int:
    """Return the step of the canary, 0 where there is none."""
    return 0 if cluster.status.canary is None else cluster.status.canary.step


def test_a_failing_canary_without_automatic_rollback_stays_to_be_looked_at() -> None:
    cluster = a_serving_cluster(gateway=True, rollout={**CANARY, "autoRollback": "Disabled"})

    bad = another(cluster, "crashes")
    cluster.settle()

    assert cluster.condition("Progressing")[:2] == ("False", "RevisionFailed")
    assert {pod.revision for pod in cluster.pods.values() if pod.ready_at is None} == {bad}
    assert weights(cluster) == [100, 0]


def test_a_gateway_gives_a_canary_its_share_once_it_answers_and_never_before() -> None:
    cluster = a_serving_cluster(gateway=True)
    assert weights(cluster) == [100, 0]

    new = another(cluster, "never-ready")
    cluster.wait(30)
    before = (cluster.replicas(), weights(cluster))
    cluster.courses[new] = "serves"
    cluster.until(lambda: weights(cluster) != [100, 0])
    first = (cluster.replicas(), weights(cluster))
    cluster.until(lambda: weights(cluster) == [50, 50])
    second = cluster.replicas()
    cluster.settle()

    assert before == ({"ocr-cpu": 10, "ocr-cpu-canary": 1}, [100, 0])
    assert first == ({"ocr-cpu": 10, "ocr-cpu-canary": 1}, [90, 10])
    assert second == {"ocr-cpu": 10, "ocr-cpu-canary": 5}
    assert weights(cluster) == [100, 0]
    assert cluster.ready(revision=new) == 10
    assert cluster.fewest_ready == 10


def test_a_canary_is_not_deleted_before_the_gateway_sends_it_nothing() -> None:
    cluster = a_serving_cluster(gateway=True)
    new = another(cluster)
    cluster.until(lambda: weights(cluster) == [50, 50])
    cluster.courses[new] = "serves"

    def is_sent_requests_while_it_goes() -> bool:
        plan = cluster.plan()
        goes = any(one.key.name.endswith("-canary") and one.key.kind == "Deployment" for one in plan.delete)
        return goes and weights(cluster)[1] > 0

    seen = []
    while cluster.status.revision != new:
        seen.append(is_sent_requests_while_it_goes())
        cluster.wait(5)
    cluster.settle()

    assert not any(seen)
    assert cluster.replicas() == {"ocr-cpu": 10}


def test_a_gateway_keeps_both_services_whether_there_is_a_canary_or_not() -> None:
    cluster = a_serving_cluster(gateway=True)
    before = cluster.names("Service")

    another(cluster)
    cluster.wait(30)

    assert len(before) == 3
    assert cluster.names("Service") == before


@pytest.mark.parametrize(
    ("replicas", "weight", "by_gateway", "by_replicas"),
    [(0, 50, 0, 0), (1, 1, 1, 1), (1, 99, 1, 1), (10, 10, 1, 2), (10, 50, 5, 10), (10, 90, 9, 10), (200, 1, 2, 3)],
)
def test_a_canary_has_as_many_pods_as_its_share_needs(
    replicas: int, weight: int, by_gateway: int, by_replicas: int
) -> None:
    assert canary_replicas(replicas, weight, has_gateway=True) == by_gateway
    assert canary_replicas(replicas, weight, has_gateway=False) == by_replicas


def test_the_status_says_which_share_replicas_give_where_there_is_no_gateway() -> None:
    cluster = a_serving_cluster()

    new = another(cluster)
    cluster.wait(20)

    message = cluster.condition("Progressing")[2]
    assert message == f"step 1 of 2: 10 % to revision {new}, by 2 of 12 replicas, which is 17 %"
