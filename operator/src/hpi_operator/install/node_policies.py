"""Policies on what a node agent says of its node: the status of its HPINode, and events in its own name."""

from __future__ import annotations

from hpi_core.names import AGENT_REPORTER
from hpi_operator.install.installation import Account
from hpi_operator.install.policy import NODE_UID, Check, agent_policy, said_of_token
from hpi_operator.kube.resources import EVENTS, HPI_NODES
from hpi_operator.plan.intent import Manifest


def hpi_node_policy(agent: Account) -> tuple[Manifest, Manifest]:
    """Return what holds an agent to the HPINode of its node: the same name, and the same Node by its UID."""
    return agent_policy(
        "hpi-agent-nodes",
        agent,
        HPI_NODES,
        ["UPDATE"],
        [
            Check(
                "object.metadata.name == variables.node",
                "the agent of node {variables.node} may not write the status of HPINode {object.metadata.name}: it may "
                "write that of HPINode {variables.node} alone",
            ),
            Check(
                "object.spec.nodeUid == variables.nodeUid",
                "HPINode {object.metadata.name} is of the Node with UID {object.spec.nodeUid}, the agent's token of "
                "that with UID '{variables.nodeUid}', which had the same name; its next token is the right one",
            ),
        ],
        subresource="status",
        variables=[("nodeUid", said_of_token(NODE_UID))],
    )


def event_policy(agent: Account) -> tuple[Manifest, Manifest]:
    """Return what lets an agent tell events in its own name alone."""
    return agent_policy(
        "hpi-agent-events",
        agent,
        EVENTS,
        ["CREATE"],
        [
            Check(
                f"object.?reportingController.orValue('') == '{AGENT_REPORTER}'"
                " && object.?reportingInstance.orValue('') == variables.node",
                f"the agent of node {{variables.node}} tells events with reportingController {AGENT_REPORTER} and "
                "reportingInstance {variables.node}",
            )
        ],
    )
