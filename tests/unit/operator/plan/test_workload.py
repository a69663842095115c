"""The objects of a pipeline: one literal Deployment, and what each field of the spec changes in it."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_core.names import AGENT_AUDIENCE
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.pipeline import plan_pipeline
from hpi_operator.plan.workload.deployment import max_surge
from support.observed import CLASSES, SETTINGS, UID, a_digest, a_node_group, a_pipeline, observed, on

GATEWAY = "gateway.networking.k8s.io/v1 HTTPRoute"


def the(kind: str, seen: ObservedPipeline | None = None, name: str | None = None, **spec: Any) -> Manifest:
    """Return the one object of a kind that a pipeline is made of, on a node that has one of everything."""
    supply = [a_node_group(gpus=1), a_node_group("a", npus=1), a_node_group("m", mig={"1g.5gb": 7}), a_node_group("c")]
    looked_at = seen or observed(a_pipeline(**spec), supply=supply, apis=frozenset({GATEWAY}))
    found = [
        one
        for one in plan_pipeline(looked_at, CLASSES).apply
        if one["kind"] == kind and name in (None, one["metadata"]["name"])
    ]
    assert len(found) == 1, [one["metadata"]["name"] for one in found]
    return found[0]


def pod(**spec: Any) -> dict[str, Any]:
    """Return the spec of a pipeline's pods."""
    template: dict[str, Any] = the("Deployment", **spec)["spec"]["template"]["spec"]
    return template


def container(**spec: Any) -> dict[str, Any]:
    """Return the container of a pipeline's pods."""
    [only] = pod(**spec)["containers"]
    found: dict[str, Any] = only
    return found


def test_a_deployment_in_full() -> None:
    made = the("Deployment", replicas=2)
    revision = made["spec"]["template"]["metadata"]["labels"]["hpi.paddlex.io/revision"]
    selector = {
        "hpi.paddlex.io/pipeline": "ocr",
        "hpi.paddlex.io/class": "cpu",
        "hpi.paddlex.io/track": "stable",
        "hpi.paddlex.io/part": "serving",
    }
    names = {
        "app.kubernetes.io/name": "hpi",
        "app.kubernetes.io/instance": "ocr",
        "app.kubernetes.io/managed-by": "hpi-operator",
    }
    ready = {"path": "/v2/health/ready", "port": "http", "scheme": "HTTP"}

    assert made == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "ocr-cpu",
            "namespace": "team-a",
            "labels": {**names, **selector},
            "ownerReferences": [
                {
                    "apiVersion": "hpi.paddlex.io/v1alpha1",
                    "kind": "HPIPipeline",
                    "name": "ocr",
                    "uid": UID,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 2,
            "paused": False,
            "template": {
                "metadata": {
                    "labels": {**names, **selector, "hpi.paddlex.io/revision": revision},
                    "annotations": {"hpi.paddlex.io/runtime": "hpi-cpu-1.0.0"},
                },
                "spec": {
                    "serviceAccountName": "ocr",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 45,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "runAsGroup": 10001,
                        "fsGroup": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "nodeSelector": {
                        "kubernetes.io/arch": "amd64",
                        "runtime.hpi.paddlex.io/hpi-cpu-1.0.0": "usable",
                    },
                    "tolerations": [],
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": key,
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": selector},
                            "matchLabelKeys": ["hpi.paddlex.io/revision"],
                        }
                        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
                    ],
                    "volumes": [
                        {"name": "pipeline", "configMap": {"name": f"ocr-{revision}", "defaultMode": 0o440}},
                        {"name": "tmp", "emptyDir": {"sizeLimit": "8Gi"}},
                        {
                            "name": "agent-token",
                            "projected": {
                                "defaultMode": 0o440,
                                "sources": [
                                    {
                                        "serviceAccountToken": {
                                            "audience": AGENT_AUDIENCE,
                                            "expirationSeconds": 3600,
                                            "path": "token",
                                        }
                                    }
                                ],
                            },
                        },
                        {"name": "store", "emptyDir": {"sizeLimit": "20Gi"}},
                    ],
                    "containers": [
                        {
                            "name": "serve",
                            "image": f"registry.example/hpi-cpu-amd64@{a_digest('a')}",
                            "imagePullPolicy": "IfNotPresent",
                            "args": [
                                "serve",
                                "-f",
                                "/etc/hpi/pipeline/pipeline.yaml",
                                "--host",
                                "0.0.0.0",
                                "--port",
                                "8080",
                            ],
                            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                            "env": [
                                {"name": "HPI_STORE", "value": "/var/lib/hpi/store"},
                                {"name": "HPI_CREDENTIALS", "value": "/etc/hpi/credentials"},
                                {"name": "HPI_CLAIMS", "value": "/var/lib/hpi/claims"},
                                {"name": "HPI_DEVICE", "value": "cpu"},
                                {"name": "HPI_REVISION", "value": revision},
                                {"name": "HPI_AGENT_TOKEN", "value": "/var/run/secrets/hpi-agent/token"},
                                {
                                    "name": "HOST_IP",
                                    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}},
                                },
                                {"name": "HPI_AGENT", "value": "http://$(HOST_IP):8470"},
                                {"name": "HOME", "value": "/tmp"},
                            ],
                            "resources": {},
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                            "startupProbe": {
                                "httpGet": ready,
                                "periodSeconds": 5,
                                "timeoutSeconds": 5,
                                "failureThreshold": 72,
                            },
                            "readinessProbe": {
                                "httpGet": ready,
                                "periodSeconds": 5,
                                "timeoutSeconds": 5,
                                "failureThreshold": 2,
                            },
                            "livenessProbe": {
                                "httpGet": {**ready, "path": "/v2/health/live"},
                                "periodSeconds": 10,
                                "timeoutSeconds": 10,
                                "failureThreshold": 3,
                            },
                            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                            "volumeMounts": [
                                {"name": "pipeline", "mountPath": "/etc/hpi/pipeline", "readOnly": True},
                                {"name": "tmp", "mountPath": "/tmp"},
                                {"name": "agent-token", "mountPath": "/var/run/secrets/hpi-agent", "readOnly": True},
                                {"name": "store", "mountPath": "/var/lib/hpi/store"},
                            ],
                        }
                    ],
                },
            },
        },
    }


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


def test_a_template_cannot_replace_what_is_the_operators() -> None:
    own = {
        "hpi.paddlex.io/pipeline": "other",
        "hpi.paddlex.io/part": "other",
        "hpi.paddlex.io/revision": "other",
        "app.kubernetes.io/managed-by": "me",
        "team": "a",
    }
    template = {
        "labels": own,
        "annotations": {"hpi.paddlex.io/runtime": "other", "example.com/x": "y"},
        "nodeSelector": {"runtime.hpi.paddlex.io/hpi-cpu-1.0.0": "usable"},
    }

    made = the("Deployment", podTemplate=template)["spec"]

    metadata = made["template"]["metadata"]
    assert metadata["labels"].items() >= made["selector"]["matchLabels"].items()
    assert metadata["labels"]["hpi.paddlex.io/revision"] != "other"
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "hpi-operator"
    assert metadata["labels"]["team"] == "a"
    assert metadata["annotations"] == {"hpi.paddlex.io/runtime": "hpi-cpu-1.0.0", "example.com/x": "y"}


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


def test_a_long_build_has_the_time_to_start() -> None:
    made = the("Deployment", build={"timeoutSeconds": 3_600})["spec"]

    assert made["progressDeadlineSeconds"] == 3_660
    assert made["template"]["spec"]["containers"][0]["startupProbe"]["failureThreshold"] == 732


@pytest.mark.parametrize(("budget", "surge"), [(0, 1), (1, 1), (3, 3), ("0%", 1), ("25%", "25%")])
def test_as_many_start_at_once_as_may_fail(budget: int | str, surge: int | str) -> None:
    assert max_surge(a_pipeline(rollout={"maxFailedReplicas": budget}).spec.rollout) == surge


def test_an_autoscaler_holds_its_measures_between_its_bounds() -> None:
    made = the(
        "HorizontalPodAutoscaler",
        autoscaling={
            "minReplicas": 2,
            "maxReplicas": 9,
            "targets": [
                {"metric": "QueueLength", "average": 1000},
                {"metric": "CPUUtilizationPercent", "average": 70},
            ],
        },
    )["spec"]

    assert made["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "ocr-cpu"}
    assert (made["minReplicas"], made["maxReplicas"]) == (2, 9)
    assert made["metrics"][0]["pods"] == {
        "metric": {"name": "hpi_queue_length"},
        "target": {"type": "AverageValue", "averageValue": "1k"},
    }
    assert made["metrics"][1]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}


def test_pods_reach_names_agent_and_sources_and_no_credentials_of_the_node() -> None:
    made = the("NetworkPolicy")["spec"]

    assert made["policyTypes"] == ["Ingress", "Egress"]
    assert made["ingress"] == [{"ports": [{"port": 8080, "protocol": "TCP"}]}]
    excluded = [one["ipBlock"]["except"] for one in made["egress"][2]["to"]]
    assert excluded == [["169.254.0.0/16"], ["fe80::/10", "fd00:ec2::254/128"]]
    [expression] = made["podSelector"]["matchExpressions"]
    assert expression["values"] == ["prebuild", "serving"]


def test_network_policies_can_be_left_out() -> None:
    seen = observed(settings=SETTINGS.__class__(namespace="hpi-system", network_policies=False))

    assert "NetworkPolicy" not in [one["kind"] for one in plan_pipeline(seen, CLASSES).apply]


def test_a_route_leads_from_its_path_to_both_tracks() -> None:
    route = {
        "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
        "hostnames": ["ocr.example.com"],
        "pathPrefix": "/ocr",
    }

    made = the("HTTPRoute", route=route)["spec"]

    assert made["parentRefs"] == [
        {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "name": "public",
            "namespace": "gateways",
            "sectionName": "https",
        }
    ]
    [rule] = made["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/ocr"}}]
    assert rule["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"] == "/"
    assert [(one["weight"], one["port"]) for one in rule["backendRefs"]] == [(100, 80), (0, 80)]
    services = {
        one["metadata"]["name"]: one["spec"]["selector"].get("hpi.paddlex.io/track")
        for one in plan_pipeline(observed(a_pipeline(route=route), apis=frozenset({GATEWAY})), CLASSES).apply
        if one["kind"] == "Service"
    }
    assert [services[one["name"]] for one in rule["backendRefs"]] == ["stable", "canary"]


def test_a_service_takes_pods_of_both_tracks_and_of_this_pipeline_alone() -> None:
    made = the("Service")["spec"]

    assert made["selector"] == {"hpi.paddlex.io/pipeline": "ocr", "hpi.paddlex.io/part": "serving"}
    assert made["ports"] == [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]


def test_a_requirement_keeps_pods_to_nodes_that_fit() -> None:
    supply = [a_node_group("l4", gpus=1, product="NVIDIA L4"), a_node_group("t4", gpus=1, product="Tesla T4")]
    pipeline = a_pipeline(placement=on("NVIDIA", requirements={"products": ["NVIDIA L4"]}))

    made = the("Deployment", observed(pipeline, supply=supply))["spec"]["template"]["spec"]

    [term] = made["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4"]}]


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
