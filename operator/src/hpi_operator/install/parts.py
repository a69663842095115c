"""Everything that an installation needs beside the kinds themselves, in four parts, each in the order of applying."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from hpi_operator.configuration import accelerators_document
from hpi_operator.install.agents import agents
from hpi_operator.install.engine_policies import agent_engine_policy, operator_engine_policy
from hpi_operator.install.fairness import fairness
from hpi_operator.install.installation import Installation
from hpi_operator.install.lease_policy import lease_policy
from hpi_operator.install.namespaces import accounts, namespaces
from hpi_operator.install.node_policies import event_policy, hpi_node_policy
from hpi_operator.install.people import people_roles
from hpi_operator.install.roles import agent_roles, operator_roles
from hpi_operator.install.workload import workload
from hpi_operator.plan.accelerators import read_classes
from hpi_operator.plan.intent import Manifest


def rbac(installation: Installation) -> tuple[Manifest, ...]:
    """Return namespaces, accounts, and who may do what."""
    return (
        *namespaces(installation),
        *accounts(installation),
        *operator_roles(installation),
        *agent_roles(installation),
        *people_roles(),
    )


def policies(installation: Installation) -> tuple[Manifest, ...]:
    """Return what holds accounts to their own objects, and their shares of the API server."""
    return (
        *hpi_node_policy(installation.agent),
        *event_policy(installation.agent),
        *agent_engine_policy(installation.agent),
        *lease_policy(installation.agent),
        *operator_engine_policy(installation.operator),
        *fairness(installation),
    )


def agent(installation: Installation) -> tuple[Manifest, ...]:
    """Return the node agents, which run on nodes of every class of hardware that is known."""
    return agents(installation, read_classes(accelerators_document()))


PARTS: Final[Mapping[str, Callable[[Installation], tuple[Manifest, ...]]]] = {
    "rbac": rbac,
    "policies": policies,
    "operator": workload,
    "agent": agent,
}
"""Each part by its name, in the order of applying."""
