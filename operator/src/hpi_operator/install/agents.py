"""The node agents: one on every node, on the node's own network, with the cache and a read-only look at the machine.

Why the network of the node: serving pods reach their agent at the address of their node. A port of the host that is
lent to a pod with an address of its own needs a CNI plugin (`portmap`) that not every cluster has. The price:
NetworkPolicies do not hold for agents. They listen on the node's address alone, and whoever shows no token of a pod of
this very node gets nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from hpi_core.names import AGENT_PORT
from hpi_operator.install.installation import Installation, labels, metadata, selector
from hpi_operator.install.traffic import deny_everything
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.workload.pod import CONTAINER_SECURITY, USER, pod_security

AGENT: Final = "agent"
HOST_ROOT: Final = "/host"
"""Where an agent sees the files of its machine."""
VARIABLES: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "HOST_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.hostIP"}}},
    {"name": "HOME", "value": "/tmp"},  # noqa: S108
)
"""Of an agent's environment. A site may add others (`agent.env` of the chart), and none of these."""
PORT_NAME: Final = "exchange"

MEMORY_REQUEST: Final = "96Mi"
MEMORY_LIMIT: Final = "512Mi"
"""It streams what it hands out. Pages of the cache volume count as well, and go first where memory is short."""
EXIT_SECONDS: Final = 30
MAX_UNAVAILABLE: Final = "10%"
"""Of the agents at once while they are renewed: pods that serve go on without theirs and report later."""


def agents(installation: Installation, classes: Mapping[ClassName, ClassData]) -> tuple[Manifest, ...]:
    """Return the DaemonSet, and what forbids whatever else runs beside the agents all traffic."""
    return (
        daemon_set(installation, tolerations(classes.values())),
        deny_everything(installation.agent_namespace, AGENT),
    )


def tolerations(classes: Iterable[ClassData]) -> list[dict[str, Any]]:
    """Return what lets an agent run on the nodes of every class of hardware."""
    found: list[dict[str, Any]] = []
    for one in classes:
        found += [dict(toleration) for toleration in one.tolerations if toleration not in found]
    return found


def daemon_set(installation: Installation, tolerated: Iterable[Mapping[str, Any]]) -> Manifest:
    """Return the DaemonSet; host paths are all that Pod Security `restricted` would refuse of its main container."""
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata("hpi-agent", AGENT, installation.agent_namespace),
        "spec": {
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": selector(AGENT)},
            # Two agents cannot hold one port of a node, so none starts before its predecessor has gone.
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": MAX_UNAVAILABLE}},
            "template": {"metadata": {"labels": labels(AGENT)}, "spec": _pod_spec(installation, tolerated)},
        },
    }


def _pod_spec(installation: Installation, tolerated: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "serviceAccountName": installation.agent.name,
        # It says on which node it runs; admission policies hold the agent to that node.
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "hostNetwork": True,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "terminationGracePeriodSeconds": EXIT_SECONDS,
        "securityContext": pod_security(group=False),
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [dict(one) for one in tolerated],
        "initContainers": [_owner_of_cache(installation)],
        "containers": [_container(installation)],
        "volumes": [
            {"name": "cache", "hostPath": {"path": installation.cache_path, "type": "DirectoryOrCreate"}},
            {"name": "host", "hostPath": {"path": "/", "type": "Directory"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }


def _owner_of_cache(installation: Installation) -> dict[str, Any]:
    # A kubelet makes host paths for root alone; an agent that ran as root could read every secret of its machine.
    return {
        "name": "own-cache",
        "image": installation.agent_image,
        "command": ["chown", f"{USER}:{USER}", installation.cache_path],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "runAsNonRoot": False,
            "runAsUser": 0,
            "runAsGroup": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "cache", "mountPath": installation.cache_path}],
    }


def _container(installation: Installation) -> dict[str, Any]:
    probe = {"path": "/healthz", "port": PORT_NAME}
    return {
        "name": AGENT,
        "image": installation.agent_image,
        "args": [
            "node",
            f"--host-root={HOST_ROOT}",
            # Beside it lie folders that are no part of the store, such as that of licences.
            f"--store={installation.cache_path}/store",
            "--host=$(HOST_IP)",
            f"--port={AGENT_PORT}",
            f"--operator-namespace={installation.namespace}",
            "--log-level=info",
        ],
        "env": [dict(one) for one in VARIABLES],
        # hostPort is what the scheduler compares; in the network of the node it must be the same.
        "ports": [{"name": PORT_NAME, "containerPort": AGENT_PORT, "hostPort": AGENT_PORT, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "10m", "memory": MEMORY_REQUEST}, "limits": {"memory": MEMORY_LIMIT}},
        "securityContext": dict(CONTAINER_SECURITY),
        "startupProbe": {"httpGet": dict(probe), "periodSeconds": 2, "failureThreshold": 30},
        "livenessProbe": {"httpGet": dict(probe), "periodSeconds": 20, "timeoutSeconds": 5, "failureThreshold": 3},
        "readinessProbe": {"httpGet": dict(probe), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "cache", "mountPath": installation.cache_path},
            # Drivers that are loaded later show up as well.
            {"name": "host", "mountPath": HOST_ROOT, "readOnly": True, "mountPropagation": "HostToContainer"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
