"""Who may speak to whom in the two namespaces of an installation: nobody, unless a policy here says so."""

from __future__ import annotations

from typing import Any, Final

from hpi_core.names import AGENT_PORT, PART, SELF_TEST
from hpi_operator.install.installation import Installation, metadata
from hpi_operator.plan.intent import Manifest

NETWORKING: Final = "networking.k8s.io/v1"

API_SERVER_PORTS: Final = (443, 6443)
"""Where API servers listen, behind their Service and at the addresses that it leads to."""
DNS_PORT: Final = 53


def deny_everything(namespace: str, component: str) -> Manifest:
    """Return what forbids all pods of a namespace what no other policy allows.

    It does not bind the agents: NetworkPolicies do not hold for pods in the network of their node.
    """
    return {
        "apiVersion": NETWORKING,
        "kind": "NetworkPolicy",
        "metadata": metadata("hpi-deny-everything", component, namespace),
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }


def self_test_policy(installation: Installation) -> Manifest:
    """Return what lets self-tests tell their node's agent how they ended, and do nothing else."""
    return {
        "apiVersion": NETWORKING,
        "kind": "NetworkPolicy",
        "metadata": metadata("hpi-self-tests", "operator", installation.namespace),
        "spec": {
            "podSelector": {"matchLabels": {PART: SELF_TEST}},
            "policyTypes": ["Ingress", "Egress"],
            # Nodes have addresses that no selector knows; the port is what can be said.
            "egress": [{"ports": [{"port": AGENT_PORT, "protocol": "TCP"}]}],
        },
    }


def to_api_server() -> list[dict[str, Any]]:
    """Return the rules of egress to names and to the API server."""
    return [
        {"ports": [{"port": DNS_PORT, "protocol": "UDP"}, {"port": DNS_PORT, "protocol": "TCP"}]},
        {"ports": [{"port": port, "protocol": "TCP"} for port in API_SERVER_PORTS]},
    ]
