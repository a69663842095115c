"""The policy on Leases of resolutions: whoever holds one builds, so nobody takes it from a holder that lives.

CEL has no clock, and the time that an agent writes is the agent's word. The API server's own time is in the object all
the same: it stamps the entry of `managedFields` of whoever changes a field, before policies look at it. That entry is
told from forged ones by its name, because the server overwrites it with every change: the field manager of the request
must be the agents', and the entry that of an update (server-side apply is refused).
"""

from __future__ import annotations

from typing import Final

from hpi_core.api.v1alpha1.kinds import ENGINE_NAME
from hpi_core.names import AGENT_FIELD_MANAGER, RESOLUTION
from hpi_operator.install.installation import Account
from hpi_operator.install.policy import Check, agent_policy
from hpi_operator.kube.resources import LEASES
from hpi_operator.plan.intent import Manifest

MAX_LEASE_SECONDS: Final = 300
"""Longest that an agent may hold a Lease without a renewal: whoever dies holds up its resolution for no longer."""
MAX_SKEW_SECONDS: Final = 60
"""How far the clock of a node may be ahead of the API server's."""

_LABEL: Final = f"metadata.?labels[?'{RESOLUTION}'].orValue('')"


def lease_policy(agent: Account) -> tuple[Manifest, Manifest]:
    """Return what holds an agent to Leases of resolutions, and keeps it from taking one before it has expired."""
    return agent_policy(
        "hpi-agent-leases",
        agent,
        LEASES,
        ["CREATE", "UPDATE"],
        [
            Check(
                f"object.metadata.name.matches('{ENGINE_NAME}') && object.{_LABEL} == object.metadata.name"
                f" && (variables.isNew || oldObject.{_LABEL} == object.metadata.name)",
                "Lease {object.metadata.name} is none of a resolution: an agent writes Leases that are named like an "
                f"HPIEngine and have that name as label {RESOLUTION}",
            ),
            Check(
                "object.metadata.?finalizers.orValue([]).size() == 0",
                "Lease {object.metadata.name} must have no finalizers",
            ),
            Check(
                "variables.holder == variables.node"
                " || (variables.holder == '' && !variables.isNew && variables.isFree)",
                "the agent of node {variables.node} must name it as holderIdentity of Lease {object.metadata.name}, or "
                "give back what it holds; not '{variables.holder}' after '{variables.holderBefore}'",
            ),
            Check(
                "variables.times.size() == 1",
                "Lease {object.metadata.name} must be written by POST, PUT or merge patch with "
                f"fieldManager={AGENT_FIELD_MANAGER}",
            ),
            Check(
                "object.spec.?renewTime.hasValue() && variables.times.all(now,"
                f" timestamp(object.spec.renewTime) <= now + duration('{MAX_SKEW_SECONDS}s'))",
                f"renewTime of Lease {{object.metadata.name}} must be at most {MAX_SKEW_SECONDS} s ahead of the API "
                "server; look at the clock of node {variables.node}",
            ),
            Check(
                "object.spec.?leaseDurationSeconds.orValue(0) >= 1"
                f" && object.spec.?leaseDurationSeconds.orValue(0) <= {MAX_LEASE_SECONDS}",
                f"leaseDurationSeconds of Lease {{object.metadata.name}} must be 1 to {MAX_LEASE_SECONDS}",
            ),
            Check(
                "variables.isFree || variables.times.all(now, now > variables.expiry)",
                "Lease {object.metadata.name} is held by node {variables.holderBefore} until {variables.expiry}; wait, "
                "and look again",
            ),
            Check(
                "object.spec.?leaseTransitions.orValue(0) == variables.transitions",
                "leaseTransitions of Lease {object.metadata.name} counts changes of the holder: it must be "
                "{variables.transitions}",
            ),
        ],
        variables=[
            ("isNew", "request.operation == 'CREATE'"),
            ("holder", "object.spec.?holderIdentity.orValue('')"),
            ("holderBefore", "variables.isNew ? '' : oldObject.spec.?holderIdentity.orValue('')"),
            ("isFree", "variables.holderBefore in ['', variables.node]"),
            (
                "times",
                f"request.?options.?fieldManager.orValue('') != '{AGENT_FIELD_MANAGER}' ? [] :"
                " object.metadata.?managedFields.orValue([]).filter(one,"
                f" one.manager == '{AGENT_FIELD_MANAGER}' && one.operation == 'Update'"
                f" && one.apiVersion == '{LEASES.api_version}' && !has(one.subresource)"
                ").map(one, timestamp(one.time))",
            ),
            (
                "expiry",
                "variables.isNew || !has(oldObject.spec.renewTime) ? timestamp(0) : timestamp(oldObject.spec.renewTime)"
                " + duration(string(oldObject.spec.?leaseDurationSeconds.orValue(0)) + 's')",
            ),
            (
                "transitions",
                "(variables.isNew ? 0 : oldObject.spec.?leaseTransitions.orValue(0))"
                " + (variables.isNew || variables.holder == '' || variables.holder == variables.holderBefore ? 0 : 1)",
            ),
        ],
    )
