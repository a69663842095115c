"""API priority and fairness: a storm of agents starves neither the operator nor the kubelets, and the other way round.

The API server shares its seats among levels; an agent that finds no seat waits in the queue of its level, or is told to
come again later (429 with Retry-After).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hpi_operator.install.installation import Account, Installation, metadata
from hpi_operator.kube.resources import LEASES
from hpi_operator.plan.intent import Manifest

FLOW_CONTROL: Final = "flowcontrol.apiserver.k8s.io/v1"

OPERATOR_SHARES: Final = 10
AGENT_SHARES: Final = 5
"""Of about 250 shares that Kubernetes' own levels have together, of which 100 are those of all service accounts."""

QUEUE_ENTRIES: Final = 500
"""Requests of one level that may wait. All agents are one user to the API server, so there is one queue for them."""

ELECTION_PRECEDENCE: Final = 900
PRECEDENCE: Final = 1_000
"""Before those of Kubernetes' own schema for service accounts, which is 9000."""

ELECTION_LEVEL: Final = "leader-election"
"""A level that every cluster has."""


def fairness(installation: Installation) -> tuple[Manifest, ...]:
    """Return the levels of operator and agents, and the schemas that lead their requests there."""
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"], "namespaces": ["*"], "clusterScope": True}
    election = {
        "apiGroups": [LEASES.group],
        "resources": [LEASES.plural],
        "verbs": ["get", "create", "update"],
        "namespaces": [installation.namespace],
    }
    operator, agent = installation.operator, installation.agent
    return (
        _level("hpi-operator", "operator", OPERATOR_SHARES),
        _level("hpi-agents", "agent", AGENT_SHARES),
        # Whoever has many writes to do must not lose the election because of them.
        _schema("hpi-operator-election", "operator", operator, ELECTION_LEVEL, ELECTION_PRECEDENCE, [election]),
        _schema("hpi-operator", "operator", operator, "hpi-operator", PRECEDENCE, [everything]),
        _schema("hpi-agents", "agent", agent, "hpi-agents", PRECEDENCE, [everything]),
    )


def _level(name: str, component: str, shares: int) -> Manifest:
    return {
        "apiVersion": FLOW_CONTROL,
        "kind": "PriorityLevelConfiguration",
        "metadata": metadata(name, component),
        "spec": {
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": shares,
                # Seats that it does not use are anybody's; it borrows as many again, and no more.
                "lendablePercent": 50,
                "borrowingLimitPercent": 100,
                "limitResponse": {
                    "type": "Queue",
                    "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": QUEUE_ENTRIES},
                },
            },
        },
    }


def _schema(
    name: str, component: str, account: Account, level: str, precedence: int, rules: Sequence[dict[str, Any]]
) -> Manifest:
    subject = {
        "kind": "ServiceAccount",
        "serviceAccount": {"name": account.name, "namespace": account.namespace},
    }
    return {
        "apiVersion": FLOW_CONTROL,
        "kind": "FlowSchema",
        "metadata": metadata(name, component),
        "spec": {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": precedence,
            "rules": [{"subjects": [subject], "resourceRules": list(rules)}],
        },
    }
