"""What an installation consists of: nothing more than it needs, and nothing that contradicts itself."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

import pytest

from hpi_agent.commands import node
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.errors import Refused
from hpi_operator.commands.process import STOP_SECONDS
from hpi_operator.configuration import accelerators_document
from hpi_operator.install.installation import Installation
from hpi_operator.install.kinds_job import kinds_job
from hpi_operator.install.parts import PARTS
from hpi_operator.install.policy import sentence
from hpi_operator.install.workload import HEALTH_PORT, network_policy
from hpi_operator.plan.accelerators import read_classes
from hpi_operator.plan.observed import Settings
from hpi_operator.plan.workload.pod import USER

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
        *("Deployment", "PodDisruptionBudget", "Service", "NetworkPolicy", "DaemonSet"),
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


def test_the_metrics_are_found_at_the_operators_pods() -> None:
    service, deployment = of("Service")["hpi-operator"]["spec"], of("Deployment")["hpi-operator"]["spec"]

    labels = deployment["template"]["metadata"]["labels"]
    [port] = deployment["template"]["spec"]["containers"][0]["ports"]
    assert service["selector"].items() <= labels.items()
    assert (service["ports"][0]["targetPort"], service["ports"][0]["port"]) == (port["name"], port["containerPort"])


def test_both_namespaces_forbid_what_nobody_allows() -> None:
    denying = [
        one
        for one in ALL
        if one["kind"] == "NetworkPolicy" and one["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ]

    assert {one["metadata"]["namespace"] for one in denying} == {INSTALLATION.namespace, INSTALLATION.agent_namespace}


def test_an_agents_command_line_is_one_that_the_agent_takes() -> None:
    [container] = of("DaemonSet")["hpi-agent"]["spec"]["template"]["spec"]["containers"]
    parser = argparse.ArgumentParser()
    node.register(parser.add_subparsers(required=True))

    parsed = parser.parse_args([one.replace("$(HOST_IP)", "192.0.2.1") for one in container["args"]])

    assert (parsed.host, parsed.port) == ("192.0.2.1", container["ports"][0]["containerPort"])
    assert parsed.operator_namespace == INSTALLATION.namespace
    mounted = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert (str(parsed.host_root), str(parsed.store.parent)) == (mounted["host"], mounted["cache"])


def test_agents_listen_where_serving_pods_ask() -> None:
    [container] = of("DaemonSet")["hpi-agent"]["spec"]["template"]["spec"]["containers"]

    [port] = container["ports"]
    assert port["containerPort"] == port["hostPort"] == Settings.agent_port


def test_agents_run_on_nodes_of_every_class() -> None:
    tolerated = of("DaemonSet")["hpi-agent"]["spec"]["template"]["spec"]["tolerations"]

    classes = read_classes(accelerators_document()).values()
    assert tolerated == [toleration for one in classes for toleration in one.tolerations]
    assert len(tolerated) == 2


def test_an_agent_waits_until_its_predecessor_has_given_the_port_back() -> None:
    assert of("DaemonSet")["hpi-agent"]["spec"]["updateStrategy"]["rollingUpdate"].get("maxSurge", 0) == 0


def test_nothing_but_the_owner_of_the_cache_is_changed_by_root() -> None:
    spec = of("DaemonSet")["hpi-agent"]["spec"]["template"]["spec"]

    [first] = spec["initContainers"]
    assert first["command"] == ["chown", f"{USER}:{USER}", INSTALLATION.cache_path]
    assert first["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}
    assert [one["name"] for one in first["volumeMounts"]] == ["cache"]
    assert spec["securityContext"]["runAsUser"] == USER


def test_the_job_that_renews_kinds_may_change_ours_alone() -> None:
    [role] = [one for one in kinds_job(INSTALLATION) if one["kind"] == "ClusterRole"]

    names = {name for rule in role["rules"] for name in rule.get("resourceNames", ())}
    unnamed = [rule["verbs"] for rule in role["rules"] if "resourceNames" not in rule]
    assert names == {kind.crd_name for kind in KINDS}
    assert unnamed == [["create"]]


def test_a_pod_that_ends_has_time_to_give_the_lease_back() -> None:
    spec = of("Deployment")["hpi-operator"]["spec"]["template"]["spec"]

    assert spec["terminationGracePeriodSeconds"] > 3 * STOP_SECONDS


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"namespace": "hpi", "agent_namespace": "hpi"}, "operator and agents cannot both live in hpi"),
        ({"namespace": "HPI"}, "'HPI' is no name of a namespace"),
        ({"agent_namespace": "a.b"}, "'a.b' is no name of a namespace"),
        ({"image": ""}, "'' is no name of an image"),
        ({"image": "i:1 --privileged"}, "is no name of an image"),
        ({"agent_image": "A"}, "'A' is no name of an image"),
        ({"cache_path": "/"}, "'/' is no folder of a node"),
        ({"cache_path": "var/lib/hpi"}, "'var/lib/hpi' is no folder of a node"),
        ({"cache_path": "/var/../etc"}, "'/var/../etc' is no folder of a node"),
        ({"cache_path": "/var/lib/hpi/"}, "'/var/lib/hpi/' is no folder of a node"),
    ],
)
def test_names_that_are_none_are_refused(said: dict[str, str], message: str) -> None:
    with pytest.raises(Refused, match=re.escape(message)):
        Installation(**{"image": "i:1", **said})


@pytest.mark.parametrize("path", ["/hpi", "/var/lib/hpi", "/data/.hpi/v1.2"])
def test_a_whole_path_is_a_folder_of_the_cache(path: str) -> None:
    assert Installation("i:1", cache_path=path).cache_path == path


def test_a_sentence_becomes_an_expression() -> None:
    assert (
        sentence("it's {object.a}: \\d {variables.b}")
        == r"'it\'s ' + string(object.a) + ': \\d ' + string(variables.b)"
    )
