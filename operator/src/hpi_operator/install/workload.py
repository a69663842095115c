"""The operator itself: two replicas of which one acts, what may reach them, and how many a drain may take at once."""

from __future__ import annotations

from typing import Any, Final

from hpi_operator.install.installation import Installation, labels, metadata, selector
from hpi_operator.install.traffic import deny_everything, self_test_policy, to_api_server
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.workload.pod import CONTAINER_SECURITY, pod_security

REPLICAS: Final = 2
HEALTH: Final = "health"
HEALTH_PORT: Final = 8081
MEMORY_REQUEST: Final = "128Mi"
MEMORY_LIMIT: Final = "512Mi"
"""300 pipelines take less than 300 MB. Processors have no limit: one that is throttled loses the election."""
EXIT_SECONDS: Final = 45
"""Passes under way end, and the Lease is given back: three waits of ten seconds at most."""

METRICS_READERS: Final = {"hpi.paddlex.io/metrics": "reader"}
"""Labels of namespaces whose pods may read the metrics."""


def workload(installation: Installation) -> tuple[Manifest, ...]:
    """Return Deployment, PodDisruptionBudget, the Service of its metrics, and NetworkPolicies."""
    return (
        deployment(installation),
        disruption_budget(installation),
        metrics_service(installation),
        network_policy(installation),
        deny_everything(installation.namespace, "operator"),
        self_test_policy(installation),
    )


def deployment(installation: Installation) -> Manifest:
    """Return the Deployment. Pod Security `restricted` holds for its pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata("hpi-operator", "operator", installation.namespace),
        "spec": {
            "replicas": REPLICAS,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": selector("operator")},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": labels("operator")}, "spec": _pod_spec(installation)},
        },
    }


def disruption_budget(installation: Installation) -> Manifest:
    """Return what keeps a drain from taking both replicas at once."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata("hpi-operator", "operator", installation.namespace),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector("operator")}},
    }


def metrics_service(installation: Installation) -> Manifest:
    """Return the Service by which whoever gathers metrics finds both replicas; it has no address of its own."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata("hpi-operator", "operator", installation.namespace),
        "spec": {
            "clusterIP": "None",
            "selector": selector("operator"),
            "ports": [{"name": HEALTH, "port": HEALTH_PORT, "targetPort": HEALTH, "protocol": "TCP"}],
        },
    }


def network_policy(installation: Installation) -> Manifest:
    """Return what may reach the operator and what it may reach: probes and metrics; names and the API server.

    A kubelet reaches the pods of its own node whatever a NetworkPolicy says.
    """
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata("hpi-operator", "operator", installation.namespace),
        "spec": {
            "podSelector": {"matchLabels": selector("operator")},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [{"namespaceSelector": {"matchLabels": METRICS_READERS}}],
                    "ports": [{"port": HEALTH_PORT, "protocol": "TCP"}],
                }
            ],
            "egress": to_api_server(),
        },
    }


def _pod_spec(installation: Installation) -> dict[str, Any]:
    return {
        "serviceAccountName": installation.operator.name,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": EXIT_SECONDS,
        "securityContext": pod_security(),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                # A cluster of one node has both there.
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector("operator")},
                "matchLabelKeys": ["pod-template-hash"],
            }
            for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
        ],
        "containers": [_container(installation)],
        "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}],
    }


def _container(installation: Installation) -> dict[str, Any]:
    return {
        "name": "operator",
        "image": installation.image,
        "command": ["hpi-operator"],
        "args": [
            "run",
            f"--namespace={installation.namespace}",
            "--health-host=0.0.0.0",
            f"--health-port={HEALTH_PORT}",
            f"--node-folder={installation.cache_path}",
            "--log-level=info",
        ],
        "ports": [{"name": HEALTH, "containerPort": HEALTH_PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": MEMORY_REQUEST}, "limits": {"memory": MEMORY_LIMIT}},
        "securityContext": dict(CONTAINER_SECURITY),
        # Live: passes end and the cluster is heard of. Ready: it would act if it led.
        "startupProbe": {"httpGet": {"path": "/readyz", "port": HEALTH}, "periodSeconds": 2, "failureThreshold": 30},
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": HEALTH},
            "periodSeconds": 20,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": HEALTH},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
