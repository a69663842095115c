"""What each field of the spec changes in the pods of a pipeline."""

from __future__ import annotations

from typing import Any

import pytest

from support.observed import on
from support.planned_objects import the


def pod(**spec: Any) -> dict[str, Any]:
    """Return the spec of a pipeline's pods."""
    template: dict[str, Any] = the("Deployment", **spec)["spec"]["template"]["spec"]
    return template


def container(**spec: Any) -> dict[str, Any]:
    """Return the container of a pipeline's pods."""
    [only] = pod(**spec)["containers"]
    found: dict[str, Any] = only
    return found


def test_what_users_write_is_stated_in_the_spelling_of_the_api_server() -> None:
    asked = {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "0.5", "memory": "1.5Gi"}}

    resources = container(podTemplate={"resources": asked})["resources"]

    assert resources == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "500m", "memory": "1536Mi"},
    }


@pytest.mark.parametrize(
    ("placement", "resource", "count", "device"),
    [
        (on("NVIDIA"), "nvidia.com/gpu", "1", "gpu:0"),
        (on("NVIDIA", resourceName="nvidia.com/mig-1g.5gb", count=3), "nvidia.com/mig-1g.5gb", "3", "gpu:0"),
        (on("Ascend"), "huawei.com/Ascend310P", "1", "npu:0"),
    ],
)
def test_a_replica_owns_its_devices(placement: dict[str, Any], resource: str, count: str, device: str) -> None:
    made = container(placement=placement, podTemplate={"resources": {"limits": {resource: "9"}}})

    assert made["resources"] == {"requests": {resource: count}, "limits": {resource: count}}
    assert {"name": "HPI_DEVICE", "value": device} in made["env"]


def test_a_class_adds_its_tolerations_and_environment() -> None:
    made = pod(placement=on("NVIDIA"))

    assert made["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"} in made["containers"][0]["env"]


def test_a_toleration_that_the_class_has_already_stands_once() -> None:
    same = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}

    assert pod(placement=on("NVIDIA"), podTemplate={"tolerations": [same]})["tolerations"] == [same]


def test_secrets_and_claims_are_mounted_where_the_program_looks_for_them_and_cannot_be_written() -> None:
    made = pod(
        modules=[
            {
                "path": "SubModules.TextDetection",
                "model": {"name": "det", "source": "pvc://models/det"},
            },
            {
                "path": "SubModules.TextRecognition",
                "model": {
                    "name": "rec",
                    "source": "https://models.example/rec.onnx",
                    "credentialsSecretRef": {"name": "reader"},
                },
            },
        ],
        serving={
            "tls": {"secretRef": {"name": "cert"}, "clientCaSecretRef": {"name": "ca"}},
            "auth": {"type": "BearerToken", "tokensSecretRef": {"name": "callers"}},
        },
    )
    mounts = {one["name"]: one for one in made["containers"][0]["volumeMounts"]}
    volumes = {one["name"]: one for one in made["volumes"]}

    assert {name: one["mountPath"] for name, one in mounts.items()}.items() >= {
        ("claim-0", "/var/lib/hpi/claims/models"),
        ("credentials-0", "/etc/hpi/credentials/reader"),
        ("tls", "/etc/hpi/tls"),
        ("tls-client-ca", "/etc/hpi/tls-client-ca"),
        ("tokens", "/etc/hpi/tokens"),
    }
    assert [name for name, one in mounts.items() if not one.get("readOnly")] == ["tmp", "store"]
    assert volumes["claim-0"]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    assert made["containers"][0]["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


@pytest.mark.parametrize(
    ("cache", "volume"),
    [
        ({}, {"emptyDir": {"sizeLimit": "20Gi"}}),
        ({"sizeBytes": 2 * 10**9}, {"emptyDir": {"sizeLimit": "2G"}}),
        ({"medium": "Ephemeral"}, {"emptyDir": {"sizeLimit": "20Gi"}}),
        (
            {"medium": "PersistentVolumeClaim", "sizeBytes": 2**30},
            {"persistentVolumeClaim": {"claimName": "ocr-cache"}},
        ),
        (
            {"medium": "PersistentVolumeClaim", "claimName": "mine"},
            {"persistentVolumeClaim": {"claimName": "mine"}},
        ),
    ],
)
def test_the_store_lies_where_the_cache_says(cache: dict[str, Any], volume: dict[str, Any]) -> None:
    [store] = [one for one in pod(cache=cache)["volumes"] if one["name"] == "store"]

    assert store == {"name": "store", **volume}


def test_a_claim_for_one_node_at_a_time_keeps_the_next_pod_beside_the_one_that_it_replaces() -> None:
    cache = {"medium": "PersistentVolumeClaim", "sizeBytes": 2**30, "accessMode": "ReadWriteOnce"}

    affinity = pod(cache=cache)["affinity"]

    [term] = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, ["ScheduleAnyway", "ScheduleAnyway"]),
        ({"nodes": "Required"}, ["DoNotSchedule", "ScheduleAnyway"]),
        ({"nodes": "Disabled", "zones": "Required"}, ["DoNotSchedule"]),
        ({"nodes": "Disabled", "zones": "Disabled"}, []),
    ],
)
def test_replicas_keep_away_from_one_another_as_asked(wish: dict[str, str], expected: list[str]) -> None:
    made = pod(placement={**on("CPU"), "topologySpread": wish})

    assert [one["whenUnsatisfiable"] for one in made["topologySpreadConstraints"]] == expected


def test_additions_of_the_template_reach_the_pod() -> None:
    made = pod(
        podTemplate={
            "priorityClassName": "serving",
            "runtimeClassName": "nvidia",
            "imagePullSecrets": [{"name": "reader"}],
            "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}],
        },
        placement={**on("CPU"), "schedulerName": "volcano"},
    )

    assert (made["priorityClassName"], made["runtimeClassName"], made["schedulerName"]) == (
        "serving",
        "nvidia",
        "volcano",
    )
    assert made["imagePullSecrets"] == [{"name": "reader"}]
    assert made["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    assert made["containers"][0]["resources"]["claims"] == [{"name": "gpu"}]
