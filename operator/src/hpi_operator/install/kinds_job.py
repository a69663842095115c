"""The Job of a chart upgrade that renews the kinds: Helm makes what lies in a chart's `crds/` once and never again.

It runs before anything else of the upgrade and goes with its account, so that the right to change definitions is there
for as long as it is needed and nobody has it in between.
"""

from __future__ import annotations

from typing import Any, Final

from hpi_operator.install.installation import (
    RBAC,
    RBAC_VERSION,
    Account,
    Installation,
    labels,
    metadata,
    selector,
)
from hpi_operator.install.rules import rules_of
from hpi_operator.install.traffic import NETWORKING, to_api_server
from hpi_operator.kube.resources import CUSTOM_RESOURCES, OWN
from hpi_operator.kube.rights import Right, right
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.workload.pod import CONTAINER_SECURITY, pod_security

KINDS: Final = "kinds"
JOB: Final = "hpi-kinds"
DEADLINE_SECONDS: Final = 180
"""Less than the five minutes that Helm waits, so that what is reported is the Job's own failure."""

KINDS_RIGHTS: Final = (
    *(
        Right(verb, CUSTOM_RESOURCES.group, CUSTOM_RESOURCES.plural, name=resource.crd)
        for resource in OWN.values()
        for verb in ("get", "patch")
    ),
    # A release may bring another kind. A rule cannot name what is not there yet.
    right("create", CUSTOM_RESOURCES),
)
"""What the Job may do: read and state the definitions of these kinds."""


def kinds_job(installation: Installation) -> tuple[Manifest, ...]:
    """Return account, role, binding, NetworkPolicy and Job, in the order of applying."""
    account = Account(installation.namespace, JOB)
    written = metadata(JOB, KINDS)
    placed = metadata(JOB, KINDS, installation.namespace)
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": JOB}
    return (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": placed, "automountServiceAccountToken": False},
        {"apiVersion": RBAC_VERSION, "kind": "ClusterRole", "metadata": written, "rules": rules_of(KINDS_RIGHTS)},
        {
            "apiVersion": RBAC_VERSION,
            "kind": "ClusterRoleBinding",
            "metadata": written,
            "roleRef": role,
            "subjects": [account.subject],
        },
        {
            "apiVersion": NETWORKING,
            "kind": "NetworkPolicy",
            "metadata": placed,
            "spec": {
                "podSelector": {"matchLabels": selector(KINDS)},
                "policyTypes": ["Ingress", "Egress"],
                "egress": to_api_server(),
            },
        },
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": placed,
            "spec": {
                "backoffLimit": 2,
                "activeDeadlineSeconds": DEADLINE_SECONDS,
                "template": {"metadata": {"labels": labels(KINDS)}, "spec": _pod_spec(installation)},
            },
        },
    )


def _pod_spec(installation: Installation) -> dict[str, Any]:
    return {
        "serviceAccountName": JOB,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": pod_security(group=False),
        "containers": [
            {
                "name": KINDS,
                "image": installation.image,
                "command": ["hpi-operator"],
                "args": ["kinds", "--apply"],
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                "securityContext": dict(CONTAINER_SECURITY),
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }
        ],
    }
