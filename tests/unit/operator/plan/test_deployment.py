"""The objects of a pipeline: one literal Deployment, and what each field of the spec changes in it."""

from __future__ import annotations

import pytest

from hpi_core.names import AGENT_AUDIENCE
from hpi_operator.plan.workload.deployment import max_surge
from support.observed import UID, a_digest, a_node_group, a_pipeline, observed, on
from support.planned_objects import the


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
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            "startupProbe": {
                                "httpGet": ready,
                                "periodSeconds": 1,
                                "timeoutSeconds": 5,
                                "failureThreshold": 360,
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


def test_a_long_build_has_the_time_to_start() -> None:
    made = the("Deployment", build={"timeoutSeconds": 3_600})["spec"]

    assert made["progressDeadlineSeconds"] == 3_660
    assert made["template"]["spec"]["containers"][0]["startupProbe"]["failureThreshold"] == 3660


@pytest.mark.parametrize(("budget", "surge"), [(0, 1), (1, 1), (3, 3), ("0%", 1), ("25%", "25%")])
def test_as_many_start_at_once_as_may_fail(budget: int | str, surge: int | str) -> None:
    assert max_surge(a_pipeline(rollout={"maxFailedReplicas": budget}).spec.rollout) == surge


def test_a_requirement_keeps_pods_to_nodes_that_fit() -> None:
    supply = [a_node_group("l4", gpus=1, product="NVIDIA L4"), a_node_group("t4", gpus=1, product="Tesla T4")]
    pipeline = a_pipeline(placement=on("NVIDIA", requirements={"products": ["NVIDIA L4"]}))

    made = the("Deployment", observed(pipeline, supply=supply))["spec"]["template"]["spec"]

    [term] = made["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4"]}]
