"""One admission policy: what an account may not write although its role lets it; pure.

A role says which kinds an account may write. Which objects of them, and what into them, is a ValidatingAdmissionPolicy:
it runs inside the API server, so there is no webhook that could be down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hpi_operator.install.installation import Account, metadata
from hpi_operator.kube.resources import Resource
from hpi_operator.plan.intent import Manifest

ADMISSION: Final = "admissionregistration.k8s.io/v1"
NODE: Final = "authentication.kubernetes.io/node-name"
NODE_UID: Final = "authentication.kubernetes.io/node-uid"

UNBOUND: Final = (
    "the token of {request.userInfo.username} says no node: only a token that a kubelet has mounted into a pod of the "
    "node agent may write"
)

Operation = Literal["CREATE", "UPDATE"]


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    expression: str
    """CEL, true or false."""
    message: str
    """What was seen and what is allowed; CEL expressions in braces are filled in."""


def sentence(text: str) -> str:
    """Return the CEL expression of a text: `Lease {object.name}` → `'Lease ' + string(object.name)`."""
    parts = re.split(r"\{([^{}]+)\}", text)
    words = [f"string({part})" if number % 2 else _literal(part) for number, part in enumerate(parts) if part]
    return " + ".join(words)


def said_of_token(claim: str) -> str:
    """Return the CEL expression of what the token of a request says of its pod, '' where it says nothing."""
    return f"request.userInfo.?extra[?'{claim}'].orValue([''])[0]"


def _literal(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace("'", r"\'")
    return f"'{escaped}'"


def agent_policy(
    name: str,
    agent: Account,
    resource: Resource,
    operations: Sequence[Operation],
    checks: Iterable[Check],
    *,
    subresource: str | None = None,
    variables: Iterable[tuple[str, str]] = (),
) -> tuple[Manifest, Manifest]:
    """Return a policy on the writes of node agents, and its binding.

    `variables.node` is the node of the agent's token. One that says none is refused: it was asked for by hand, or is
    that of a Secret.

    Args:
        name: Of both objects.
        agent: The agents' account.
        resource: Whose objects.
        operations: Which writes.
        checks: What must hold. The first that does not is what the agent is told.
        subresource: `status`, or None for the object itself.
        variables: Names and CEL expressions, each may use those before it.
    """
    bound = Check("variables.node != ''", UNBOUND)
    # Each check holds for a token without a node, so that the one answer that it gets is that of `bound`.
    rest = [Check(f"variables.node == '' || ({one.expression})", one.message) for one in checks]
    return policy(
        name,
        "agent",
        agent,
        resource,
        operations,
        [bound, *rest],
        subresource=subresource,
        variables=[("node", said_of_token(NODE)), *variables],
    )


def policy(
    name: str,
    component: str,
    account: Account,
    resource: Resource,
    operations: Sequence[Operation],
    checks: Iterable[Check],
    *,
    subresource: str | None = None,
    variables: Iterable[tuple[str, str]] = (),
) -> tuple[Manifest, Manifest]:
    """Return a policy on the writes of one account, and its binding; the arguments are those of `agent_policy`."""
    group, _, version = resource.api_version.rpartition("/")
    plural = resource.plural if subresource is None else f"{resource.plural}/{subresource}"
    matched = {"apiGroups": [group], "apiVersions": [version], "operations": list(operations), "resources": [plural]}
    spec: dict[str, Any] = {
        # What cannot be evaluated is refused; that meets this account alone, because of the condition.
        "failurePolicy": "Fail",
        "matchConstraints": {"matchPolicy": "Equivalent", "resourceRules": [{**matched, "scope": "*"}]},
        "matchConditions": [{"name": "account", "expression": f"request.userInfo.username == '{account.user}'"}],
        "variables": [{"name": name, "expression": expression} for name, expression in variables],
        "validations": [
            {"expression": one.expression, "messageExpression": sentence(one.message), "reason": "Forbidden"}
            for one in checks
        ],
    }
    written = metadata(name, component)
    return (
        {
            "apiVersion": ADMISSION,
            "kind": "ValidatingAdmissionPolicy",
            "metadata": written,
            "spec": {field: value for field, value in spec.items() if value},
        },
        {
            "apiVersion": ADMISSION,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": written,
            # Whoever reads the audit log finds the refusal there with its message.
            "spec": {"policyName": name, "validationActions": ["Deny", "Audit"]},
        },
    )
