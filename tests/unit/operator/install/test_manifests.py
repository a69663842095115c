"""What an installation consists of: nothing more than it needs, and nothing that contradicts itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from hpi_core.errors import Refused
from hpi_operator.commands.process import STOP_SECONDS
from hpi_operator.install.installation import Installation
from hpi_operator.install.parts import PARTS
from hpi_operator.install.policy import sentence
from hpi_operator.install.workload import HEALTH_PORT, network_policy

INSTALLATION = Installation("registry.example/hpi-operator:1")
ALL = [manifest for part in PARTS.values() for manifest in part(INSTALLATION)]


def of(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: dict(one) for one in ALL if one["kind"] == kind}


def test_every_object_is_there_once() -> None:
    keys = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in ALL]

    assert len(keys) == len(set(keys))
    assert {kind for kind, _, _ in keys} == {
        *("Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
        *("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
        *("PriorityLevelConfiguration", "FlowSchema"),
        *("Deployment", "PodDisruptionBudget", "NetworkPolicy"),
    }


def test_no_role_has_a_wildcard() -> None:
    roles = [one for one in ALL if one["kind"] in ("Role", "ClusterRole")]

    words = [word for role in roles for rule in role["rules"] for field in rule.values() for word in field]

    assert len(roles) == 6
    assert "*" not in "".join(words)


def test_an_agent_has_these_rights_and_no_other() -> None:
    assert of("ClusterRole")["hpi-agent"]["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "create", "update", "patch"],
        },
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        {"apiGroups": ["hpi.paddlex.io"], "resources": ["hpiengines"], "verbs": ["get"]},
        {"apiGroups": ["hpi.paddlex.io"], "resources": ["hpinodes"], "verbs": ["get", "watch"]},
        {"apiGroups": ["hpi.paddlex.io"], "resources": ["hpiengines/status", "hpinodes/status"], "verbs": ["patch"]},
    ]


OPERATIONS = {"create": "CREATE", "update": "UPDATE", "patch": "UPDATE"}


def writes_of(role: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for rule in role["rules"]:
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                # The server hands reviews to no policy; they are questions, and nothing of them is kept.
                if verb in OPERATIONS and resource != "tokenreviews":
                    yield rule["apiGroups"][0], resource, OPERATIONS[verb]


def test_a_policy_looks_at_every_write_that_an_agent_may_make() -> None:
    held = {
        (rule["apiGroups"][0], rule["resources"][0], operation)
        for policy in of("ValidatingAdmissionPolicy").values()
        if INSTALLATION.agent.user in policy["spec"]["matchConditions"][0]["expression"]
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        for operation in rule["operations"]
    }

    assert held == set(writes_of(of("ClusterRole")["hpi-agent"]))


def test_every_policy_of_agents_asks_for_the_node_first() -> None:
    policies = [one["spec"] for name, one in of("ValidatingAdmissionPolicy").items() if name.startswith("hpi-agent-")]

    assert len(policies) == 4
    assert {spec["validations"][0]["expression"] for spec in policies} == {"variables.node != ''"}
    assert {spec["failurePolicy"] for spec in policies} == {"Fail"}


def test_every_policy_is_bound() -> None:
    bound = {one["spec"]["policyName"] for one in of("ValidatingAdmissionPolicyBinding").values()}

    assert bound == of("ValidatingAdmissionPolicy").keys()


def test_agents_have_the_one_namespace_that_lets_host_paths_in() -> None:
    levels = {
        name: {value for key, value in one["metadata"]["labels"].items() if key.startswith("pod-security")}
        for name, one in of("Namespace").items()
    }

    assert levels == {"hpi-system": {"restricted"}, "hpi-agents": {"privileged"}}


def test_probes_are_served_where_kubelets_ask() -> None:
    [container] = of("Deployment")["hpi-operator"]["spec"]["template"]["spec"]["containers"]

    assert "--health-host=0.0.0.0" in container["args"]
    assert f"--health-port={HEALTH_PORT}" in container["args"]
    assert container["ports"][0]["containerPort"] == HEALTH_PORT
    assert network_policy(INSTALLATION)["spec"]["ingress"][0]["ports"][0]["port"] == HEALTH_PORT


def test_a_pod_that_ends_has_time_to_give_the_lease_back() -> None:
    spec = of("Deployment")["hpi-operator"]["spec"]["template"]["spec"]

    assert spec["terminationGracePeriodSeconds"] > 3 * STOP_SECONDS


@pytest.mark.parametrize(
    ("namespace", "agents", "image", "message"),
    [
        ("hpi", "hpi", "i:1", "operator and agents cannot both live in hpi"),
        ("HPI", "agents", "i:1", "'HPI' is no name of a namespace"),
        ("hpi", "a.b", "i:1", "'a.b' is no name of a namespace"),
        ("hpi", "agents", "", "'' is no name of an image"),
        ("hpi", "agents", "i:1 --privileged", "is no name of an image"),
    ],
)
def test_names_that_are_none_are_refused(namespace: str, agents: str, image: str, message: str) -> None:
    with pytest.raises(Refused, match=re.escape(message)):
        Installation(image, namespace, agents)


def test_a_sentence_becomes_an_expression() -> None:
    assert (
        sentence("it's {object.a}: \\d {variables.b}")
        == r"'it\'s ' + string(object.a) + ': \\d ' + string(variables.b)"
    )
