"""Whose objects a plan touches, and which of its own go, and when."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from hpi_operator.plan.intent import Manifest, ObjectKey, Plan
from hpi_operator.plan.pipeline import plan_pipeline
from support.manifests import Document
from support.nodes import a_node
from support.observed import CLASSES, NAMESPACE, UID, a_pipeline
from support.small_cluster import SmallCluster

GATEWAY = "gateway.networking.k8s.io/v1 HTTPRoute"


def condition(plan: Plan, type_: str) -> tuple[str, str, str]:
    """Return status, reason and message of a condition of a planned status."""
    assert plan.status is not None
    one = next(one for one in plan.status["conditions"] if one["type"] == type_)
    return one["status"], one["reason"], one["message"]


def kinds(plan: Plan) -> list[str]:
    """Return the kinds that a plan states, in their order."""
    return [one["kind"] for one in plan.apply]


def a_serving_cluster(**spec: Any) -> SmallCluster:
    """Return a cluster in which a pipeline serves."""
    cluster = SmallCluster(a_pipeline(**{"replicas": 2, **spec}), [a_node("n")], apis=[GATEWAY])
    cluster.settle()
    return cluster


def owned_by(uid: str) -> list[Document]:
    """Return owner references to a pipeline of a UID."""
    return [{"apiVersion": "v1", "kind": "HPIPipeline", "name": "ocr", "uid": uid, "controller": True}]


@pytest.mark.parametrize("owners", [[], owned_by("somebody-else"), [{**owned_by(UID)[0], "controller": False}]])
@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap", "ServiceAccount", "NetworkPolicy"])
def test_an_object_of_somebody_else_is_neither_written_nor_deleted(kind: str, owners: list[Document]) -> None:
    cluster = a_serving_cluster()
    for key, live in cluster.objects.items():
        if key.kind == kind:
            live["metadata"]["ownerReferences"] = owners
            live["spec" if "spec" in live else "data"] = {**live.get("spec", {}), "template": TEMPLATE}

    decided = cluster.plan()

    assert kind not in kinds(decided)
    assert kind not in {one.key.kind for one in decided.delete}
    assert condition(decided, "Accepted")[:2] == ("False", "NameTaken")
    assert decided.look_again_seconds is not None


TEMPLATE: Manifest = {"metadata": {}, "spec": {"containers": [{"image": "theirs"}]}}


def test_an_object_of_somebody_else_that_nothing_needs_is_left_alone() -> None:
    cluster = a_serving_cluster()
    foreign = copy.deepcopy(cluster.named("Deployment", "ocr-cpu"))
    foreign["metadata"] |= {"name": "theirs", "ownerReferences": [], "uid": "theirs"}
    foreign["metadata"]["labels"]["hpi.paddlex.io/class"] = "nvidia"
    cluster.objects[ObjectKey("apps/v1", "Deployment", NAMESPACE, "theirs")] = foreign

    assert cluster.plan().delete == ()
    assert condition(cluster.plan(), "Accepted")[0] == "True"


def test_an_object_that_is_being_deleted_is_made_anew_when_it_has_gone() -> None:
    cluster = a_serving_cluster()
    cluster.named("Service", "ocr")["metadata"]["deletionTimestamp"] = "2026-03-01T10:00:00Z"

    during = cluster.plan()
    del cluster.objects[ObjectKey("v1", "Service", NAMESPACE, "ocr")]
    after = cluster.plan()

    assert "Service" not in kinds(during)
    assert during.delete == ()
    assert "is being deleted; it is made anew when it has gone" in condition(during, "Accepted")[2]
    assert "Service" in kinds(after)


def test_while_the_picture_is_not_whole_nothing_is_deleted() -> None:
    cluster = a_serving_cluster(autoscaling={"maxReplicas": 3}, replicas=...)
    cluster.change(autoscaling=..., replicas=2)

    whole = cluster.plan()
    partial = plan_pipeline(replace(cluster.observe(), complete=False), CLASSES)

    assert [one.key.kind for one in whole.delete] == ["HorizontalPodAutoscaler"]
    assert partial.delete == ()
    assert partial.apply == whole.apply


def test_a_claim_is_never_deleted() -> None:
    cluster = a_serving_cluster(cache={"medium": "PersistentVolumeClaim", "sizeBytes": 2**30})

    cluster.change(cache={"medium": "Ephemeral"})
    cluster.settle()

    assert cluster.names("PersistentVolumeClaim") == ["ocr-cache"]


def test_a_route_goes_with_its_services_when_it_is_not_wanted_any_more() -> None:
    cluster = a_serving_cluster(route={"parentRefs": [{"name": "g"}]})
    before = (cluster.names("HTTPRoute"), len(cluster.names("Service")))

    cluster.change(route=...)
    cluster.settle()

    assert before == (["ocr"], 3)
    assert (cluster.names("HTTPRoute"), cluster.names("Service")) == ([], ["ocr"])


def test_the_last_pods_of_a_class_go_when_no_replica_is_wanted() -> None:
    cluster = a_serving_cluster()

    cluster.change(replicas=0)
    cluster.settle()

    assert (cluster.replicas(), cluster.pods) == ({"ocr-cpu": 0}, {})
    assert cluster.condition("Ready")[:2] == ("True", "AsWanted")
    assert cluster.condition("Available")[1] == "ScaledToZero"


@pytest.mark.parametrize("damage", ["changed", "unreadable", "lost"])
def test_the_configuration_of_a_revision_is_made_anew_where_it_was_spoiled(damage: str) -> None:
    cluster = a_serving_cluster()
    [name] = cluster.names("ConfigMap")
    key = ObjectKey("v1", "ConfigMap", NAMESPACE, name)
    before, pods = copy.deepcopy(cluster.objects[key]["data"]), set(cluster.pods)

    if damage == "lost":
        del cluster.objects[key]
    elif damage == "unreadable":
        cluster.objects[key]["data"]["revision.json"] = "{"
    else:
        cluster.objects[key]["data"]["pipeline.yaml"] += "# by hand\n"
    cluster.settle()

    assert cluster.objects[key]["data"]["pipeline.yaml"] == before["pipeline.yaml"]
    assert set(cluster.pods) == pods


def test_a_child_that_was_deleted_by_hand_is_made_again() -> None:
    cluster = a_serving_cluster()

    for kind in ("Service", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"):
        [key] = [key for key in cluster.objects if key.kind == kind]
        del cluster.objects[key]
    cluster.settle()

    assert {"Service", "NetworkPolicy", "PodDisruptionBudget", "ServiceAccount"} <= {
        key.kind for key in cluster.objects
    }
