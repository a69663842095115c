"""Pipelines on a real API server: what is made of them, what they say, and what people and other programs do to it."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_operator.kube.resources import (
    AUTOSCALERS,
    BUDGETS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    NETWORK_POLICIES,
    PIPELINES,
    SERVICE_ACCOUNTS,
    SERVICES,
)
from support.eventually import eventually
from support.manifests import Document
from support.operated import Site, a_foreign_object


def generation(document: Document) -> int:
    return int(document["metadata"]["generation"])


def test_a_pipeline_becomes_everything_that_it_needs_and_says_that_it_serves(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=2)

    status = operated.serves(own, "ocr")

    names = {
        resource.kind: sorted(operated.children(resource, own, "ocr"))
        for resource in (DEPLOYMENTS, SERVICES, SERVICE_ACCOUNTS, BUDGETS, NETWORK_POLICIES, CONFIG_MAPS)
    }
    assert names == {
        "Deployment": ["ocr-cpu"],
        "Service": ["ocr"],
        "ServiceAccount": ["ocr"],
        "PodDisruptionBudget": ["ocr"],
        "NetworkPolicy": ["ocr"],
        "ConfigMap": [f"ocr-{status['revision']}"],
    }
    assert (status["readyReplicas"], status["url"]) == (2, f"http://ocr.{own}.svc")
    assert status["revision"] == status["wantedRevision"]
    [row] = operated.cluster.kubectl("get", "hpi", "-n", own, "--no-headers").output.splitlines()
    assert row.split()[:3] == ["ocr", "OCR", "True"]


def test_wishes_that_the_cluster_cannot_fulfil_say_which_nodes_were_seen_and_what_they_lack(
    operated: Site, own: str
) -> None:
    operated.create(own, "ocr", placement={"accelerators": [{"class": "NVIDIA"}]})

    said = operated.wait(own, "ocr", "Placed", "False", "NoMatchingNode")

    assert "class NVIDIA: " in said["message"]
    assert "(such as op-1): no nvidia.com/gpu" in said["message"]
    assert operated.wait(own, "ocr", "Ready", "False")["reason"] == "NoMatchingNode"
    assert operated.children(DEPLOYMENTS, own, "ocr") == {}


def test_a_wish_that_is_loosened_is_fulfilled(operated: Site, own: str) -> None:
    operated.create(own, "ocr", placement={"accelerators": [{"class": "NVIDIA"}]})
    operated.wait(own, "ocr", "Placed", "False")

    operated.change(own, "ocr", placement={"accelerators": [{"class": "NVIDIA"}, {"class": "CPU"}]})

    operated.serves(own, "ocr")
    assert operated.condition(own, "ocr", "Placed")["reason"] == "ClassChosen"


def test_a_runtime_that_does_not_exist_is_said_with_the_nearest(operated: Site, own: str) -> None:
    operated.create(own, "ocr", runtime={"name": "hpi-cpu-9.9.9"})

    said = operated.wait(own, "ocr", "Placed", "False", "NoMatchingRuntime")

    assert "hpi-cpu-9.9.9" in said["message"]


def edited(document: Document) -> Document:
    [container] = document["spec"]["template"]["spec"]["containers"]
    return {"spec": {"template": {"spec": {"containers": [{**container, "image": "registry.example/by-hand:1"}]}}}}


def image_of(document: Document | None) -> str:
    assert document is not None
    image: str = document["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


def test_an_image_that_somebody_edits_is_put_back(operated: Site, own: str) -> None:
    operated.create(own, "ocr")
    operated.serves(own, "ocr")
    before = operated.there(DEPLOYMENTS, own, "ocr-cpu")

    operated.patch(DEPLOYMENTS, own, "ocr-cpu", edited(before), manager="kubectl-edit")

    eventually(lambda: image_of(operated.find(DEPLOYMENTS, own, "ocr-cpu")) == image_of(before))
    assert operated.condition(own, "ocr", "Accepted")["status"] == "True"


def test_a_deployment_that_somebody_scales_is_scaled_back(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=1)
    operated.serves(own, "ocr")

    operated.scale(own, "ocr-cpu", 3)

    eventually(lambda: operated.there(DEPLOYMENTS, own, "ocr-cpu")["spec"]["replicas"] == 1)
    assert generation(operated.there(DEPLOYMENTS, own, "ocr-cpu")) == 3


def test_the_replicas_of_an_autoscaler_are_its_own(operated: Site, own: str) -> None:
    operated.create(own, "ocr", autoscaling={"minReplicas": 1, "maxReplicas": 5})
    operated.serves(own, "ocr")
    operated.there(AUTOSCALERS, own, "ocr-cpu")

    operated.scale(own, "ocr-cpu", 3, manager="kube-controller-manager")

    eventually(lambda: operated.status(own, "ocr").get("readyReplicas") == 3)
    operated.change(own, "ocr", serving={"queue": {"length": 7}})
    eventually(lambda: operated.status(own, "ocr")["observedGeneration"] == 2)
    operated.serves(own, "ocr")
    assert operated.there(DEPLOYMENTS, own, "ocr-cpu")["spec"]["replicas"] == 3


@pytest.mark.parametrize(
    ("resource", "name"),
    [(SERVICES, "ocr"), (SERVICE_ACCOUNTS, "ocr"), (BUDGETS, "ocr"), (DEPLOYMENTS, "ocr-cpu")],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_an_object_that_somebody_deletes_is_made_anew(operated: Site, own: str, resource: Any, name: str) -> None:
    operated.create(own, "ocr")
    operated.serves(own, "ocr")
    before = operated.there(resource, own, name)["metadata"]["uid"]

    operated.delete(resource, own, name)

    eventually(
        lambda: (operated.find(resource, own, name) or {"metadata": {"uid": before}})["metadata"]["uid"] != before
    )
    operated.serves(own, "ocr")


def test_a_label_that_somebody_takes_away_is_put_back(operated: Site, own: str) -> None:
    operated.create(own, "ocr")
    operated.serves(own, "ocr")

    operated.patch(SERVICES, own, "ocr", {"metadata": {"labels": {"hpi.paddlex.io/pipeline": None}}})

    eventually(lambda: "ocr" in operated.children(SERVICES, own, "ocr"))


def test_fields_of_others_stay(operated: Site, own: str) -> None:
    operated.create(own, "ocr")
    operated.serves(own, "ocr")

    operated.patch(DEPLOYMENTS, own, "ocr-cpu", {"metadata": {"annotations": {"team": "a"}}})
    operated.change(own, "ocr", replicas=3)

    eventually(lambda: operated.there(DEPLOYMENTS, own, "ocr-cpu")["spec"]["replicas"] == 3)
    assert operated.there(DEPLOYMENTS, own, "ocr-cpu")["metadata"]["annotations"]["team"] == "a"


def gitops(own: str, **spec: Any) -> Document:
    metadata = {"name": "ocr-cpu", "namespace": own}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def test_another_writer_that_means_it_is_named_in_a_condition_that_goes_when_it_lets_go(
    operated: Site, own: str
) -> None:
    operated.create(own, "ocr", replicas=1)
    operated.serves(own, "ocr")

    operated.apply(gitops(own, replicas=4), manager="argocd-controller")
    said = operated.wait(own, "ocr", "Accepted", "False", "FieldConflict")
    during = operated.there(DEPLOYMENTS, own, "ocr-cpu")["spec"]["replicas"]
    operated.apply(gitops(own), manager="argocd-controller")

    assert said["message"] == f"Deployment {own}/ocr-cpu: .spec.replicas belongs to argocd-controller"
    assert during == 4
    operated.wait(own, "ocr", "Accepted", "True")
    eventually(lambda: operated.there(DEPLOYMENTS, own, "ocr-cpu")["spec"]["replicas"] == 1)


def test_a_program_that_writes_again_and_again_is_named_and_not_fought(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=1)
    operated.serves(own, "ocr")

    for replicas in (3, 4, 5):
        operated.scale(own, "ocr-cpu", replicas, manager="keda")
        eventually(lambda: operated.there(DEPLOYMENTS, own, "ocr-cpu")["spec"]["replicas"] == 1)
    operated.scale(own, "ocr-cpu", 6, manager="keda")

    operated.wait(own, "ocr", "Accepted", "False", "FieldConflict", says="keda")
    assert operated.there(DEPLOYMENTS, own, "ocr-cpu")["spec"]["replicas"] == 6


def test_an_object_of_somebody_else_is_left_alone_until_it_goes(operated: Site, own: str) -> None:
    theirs = a_foreign_object(SERVICES, "ocr", spec={"ports": [{"port": 5432}], "selector": {"app": "database"}})
    operated.client.request("POST", SERVICES.path(own), theirs)

    operated.create(own, "ocr")
    said = operated.wait(own, "ocr", "Accepted", "False", "NameTaken")
    untouched = operated.there(SERVICES, own, "ocr")
    operated.delete(SERVICES, own, "ocr")

    assert said["message"] == f"Service {own}/ocr belongs to nobody"
    assert (untouched["metadata"]["labels"], untouched["spec"]["selector"]) == (
        {"app": "somebody-elses"},
        {"app": "database"},
    )
    operated.wait(own, "ocr", "Accepted", "True")
    assert operated.there(SERVICES, own, "ocr")["spec"]["selector"] != {"app": "database"}


def test_an_object_that_a_quota_refuses_is_named_and_the_others_are_made(operated: Site, own: str) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/networkpolicies.networking.k8s.io": "0"}}}
    operated.client.request("POST", f"/api/v1/namespaces/{own}/resourcequotas", quota)
    path = f"/api/v1/namespaces/{own}/resourcequotas/none"
    eventually(lambda: operated.client.request("GET", path).get("status", {}).get("hard"))

    operated.create(own, "ocr")

    operated.wait(own, "ocr", "Accepted", "False", "ObjectRefused", says="exceeded quota")
    operated.wait(own, "ocr", "Available", "True")
    assert "ocr" in operated.children(SERVICES, own, "ocr")


def with_a_token(name: str) -> Document:
    return {"auth": {"type": "BearerToken", "tokensSecretRef": {"name": name}}}


def test_a_secret_that_is_missing_is_named_and_one_that_comes_later_is_noticed(operated: Site, own: str) -> None:
    operated.create(own, "ocr", serving=with_a_token("callers"))
    said = operated.wait(own, "ocr", "Accepted", "False", "ReferenceMissing")

    secret = {"metadata": {"name": "callers"}, "stringData": {"me": "token"}}
    operated.client.request("POST", f"/api/v1/namespaces/{own}/secrets", secret)

    assert f"Secret {own}/callers" in said["message"]
    operated.serves(own, "ocr")


def test_a_config_map_that_comes_later_is_noticed(operated: Site, own: str) -> None:
    key = {"configMapKeyRef": {"name": "config", "key": "pipeline.yaml"}}
    operated.create(own, "ocr", config=key)
    operated.wait(own, "ocr", "Accepted", "False", "ReferenceMissing", says="ConfigMap")

    text = "pipeline_name: OCR\nSubModules:\n  TextDetection: {model_name: det}\n  TextRecognition: {model_name: rec}\n"
    config = {"metadata": {"name": "config"}, "data": {"pipeline.yaml": text}}
    operated.client.request("POST", CONFIG_MAPS.path(own), config)

    operated.serves(own, "ocr")


def test_what_agents_report_is_summed_up(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=3)
    operated.serves(own, "ocr")
    operated.wait(own, "ocr", "EngineActive", "True", "Measured")
    # Nothing was built ahead, so no HPIEngine tells of it: pods say it themselves.
    assert operated.status(own, "ocr")["backend"] == "openvino"

    operated.agents.tell(own, "ocr", "fallback", message="tensorrt is not there")

    operated.wait(own, "ocr", "EngineActive", "False", "Fallback", says="tensorrt is not there")
    eventually(lambda: operated.status(own, "ocr")["engineActive"]["fallback"] == 3)


def test_a_pipeline_that_is_deleted_takes_its_objects_with_it(operated: Site, own: str) -> None:
    operated.create(own, "ocr")
    operated.serves(own, "ocr")

    operated.delete(PIPELINES, own, "ocr")

    kinds = (DEPLOYMENTS, SERVICES, SERVICE_ACCOUNTS, BUDGETS, NETWORK_POLICIES, CONFIG_MAPS)
    eventually(lambda: not any(operated.children(resource, own, "ocr") for resource in kinds))


def test_a_pipeline_that_takes_the_name_of_one_that_was_deleted_gets_objects_of_its_own(
    operated: Site, own: str
) -> None:
    operated.create(own, "ocr")
    operated.serves(own, "ocr")
    operated.delete(PIPELINES, own, "ocr")

    uid = operated.create(own, "ocr")["metadata"]["uid"]

    def are_its_own() -> bool:
        children = {**operated.children(DEPLOYMENTS, own, "ocr"), **operated.children(SERVICES, own, "ocr")}
        owners = [one["metadata"]["ownerReferences"][0]["uid"] for one in children.values()]
        return len(owners) == 2 and set(owners) == {uid}

    eventually(are_its_own)
    operated.serves(own, "ocr")


def test_a_namespace_that_is_deleted_goes_and_nothing_is_made_in_it_anew(operated: Site, own: str) -> None:
    # Without pods: Kubernetes waits for half of their time to end before it looks at a namespace again.
    for number in range(3):
        operated.create(own, f"ocr-{number}", replicas=0)
    operated.wait(own, "ocr-0", "Available", "True", "ScaledToZero")

    operated.client.request("DELETE", f"/api/v1/namespaces/{own}")

    eventually(lambda: operated.client.find(f"/api/v1/namespaces/{own}") is None)
    assert operated.operator is not None
    assert operated.operator.lines(level="error") == []


def test_events_tell_of_changes_of_state_alone(operated: Site, own: str) -> None:
    operated.create(own, "ocr", replicas=2)
    operated.serves(own, "ocr")

    reasons = [one["reason"] for one in operated.events(own)]

    assert len(reasons) == len(set(reasons)) <= 3
    assert "RolloutComplete" in reasons
