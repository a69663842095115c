"""What pods tell a real `hpi-agent node`, and what becomes of it on a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from hpi_agent.exchange.reports import resolution_name
from hpi_core.api.v1alpha1.engine import EngineSpec, engine_name
from hpi_core.names import SELF_TEST_ACCOUNT, self_test_name
from hpi_operator.plan.node import plan_node
from support.cluster_client import MERGE
from support.eventually import eventually
from support.kinds import manifest
from support.manifests import Document
from support.node_agents import OWN, AgentSite, NodeAgent, written
from support.nodes import a_node
from support.observed import CLASSES, CPU_RUNTIME, a_digest, a_runtime, an_observed_node

LOCK = a_digest("a")
KEY = "sha256:" + "5" * 64
MODEL = {
    "name": "det",
    "backend": "openvino",
    "precision": "float32",
    "state": "Measured",
    "p50Microseconds": 9_100,
    "p99Microseconds": 12_000,
}
RUNTIME = CPU_RUNTIME
OPERATOR = "hpi-system"


@pytest.fixture(scope="module")
def shared(agent_site: AgentSite) -> Iterator[NodeAgent]:
    """An agent that several tests speak to, each in a namespace of its own."""
    with NodeAgent(agent_site, agent_site.make_node()) as agent:
        written(agent_site, agent.node)
        yield agent


def a_workload(active: str = "Measured", **fields: Any) -> Document:
    """Return the report of a serving pod of the pipeline `ocr`."""
    return {"pipeline": "ocr", "revision": "5d8c7b9f4a", "engineActive": active, **fields}


def workloads(site: AgentSite, node: str) -> list[tuple[str, dict[str, int]]]:
    """Return pipelines and counts as the status has them."""
    rows = site.status(node).get("workloads", [])
    return [(one["pipeline"], {key: count for key, count in one["engineActive"].items() if count}) for one in rows]


def an_engine(site: AgentSite, namespace: str) -> Document:
    """Make an HPIEngine; return it."""
    document = manifest("HPIEngine")
    document["spec"]["tenant"] = namespace
    document["metadata"] = {"name": engine_name(EngineSpec.model_validate(document["spec"])), "namespace": namespace}
    return site.admin.request("POST", f"{OWN}/namespaces/{namespace}/hpiengines", document)


def asked_of(engine: Document) -> Document:
    """Return what a pod asks for that means an HPIEngine."""
    spec = engine["spec"]
    names = ("modelName", "modelDigest", "modelFormat", "request", "fallback", "driverMatch", "mode", "accuracy")
    return {"key": KEY, **{name: spec[name] for name in names if name in spec}}


def a_decision(token: int, **fields: Any) -> Document:
    """Return what a pod tells of a build that ended well."""
    candidate = {"backend": "openvino", "precision": "float32", "key": KEY, "p50Microseconds": 5_000}
    return {
        "token": token,
        "candidates": [
            {**candidate, "name": "openvino", "verdict": "Chosen"},
            {**candidate, "name": "onnxruntime", "backend": "onnxruntime", "verdict": "Slower", "reason": "9 ms"},
        ],
        "chosen": "openvino",
        "quality": "Measured",
        "artifact": {"key": KEY, "digest": "sha256:" + "6" * 64, "bytes": 1_000},
        "buildSeconds": 12,
        **fields,
    }


def build(agent: NodeAgent, verb: str, token: str, body: Document) -> tuple[int, Document]:
    """Say something of the build; return status and answer."""
    answer = agent.ask("POST", f"/v1/resolutions/{resolution_name(KEY)}/{verb}", token, body)
    return answer.status_code, answer.json() if answer.content else {}


def the_lease(site: AgentSite, namespace: str) -> Document:
    """Return the spec of the Lease of the build."""
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{resolution_name(KEY)}"
    spec: Document = site.admin.request("GET", path)["spec"]
    return spec


def wanted_engine(site: AgentSite, node: str, engine: Document) -> None:
    """Name an HPIEngine in an HPINode, as the operator does."""
    named = {"namespace": engine["metadata"]["namespace"], "name": engine["metadata"]["name"]}
    site.admin.request("PATCH", f"{OWN}/hpinodes/{node}", {"spec": {"engines": [named]}}, content_type=MERGE)
    eventually(lambda: [one["name"] for one in site.status(node).get("engines", [])] == [named["name"]])


def test_the_reports_of_two_pods_are_summed_up_and_a_pod_that_leaves_is_forgotten(
    agent_site: AgentSite, agent_namespace: str
) -> None:
    node = agent_site.make_node()
    one, other = (agent_site.serving_pod(agent_namespace, node) for _ in range(2))

    with NodeAgent(agent_site, node) as agent:
        told = a_workload(backends=["openvino"], models=[MODEL])
        assert agent.ask("POST", "/v1/workload", one, told).status_code == 204
        assert agent.ask("POST", "/v1/workload", other, a_workload("Building", message="it builds")).status_code == 204
        eventually(lambda: workloads(agent_site, node) == [("ocr", {"measured": 1, "building": 1})])
        [row] = agent_site.status(node)["workloads"]
        assert (row["namespace"], row["message"], row["backends"]) == (agent_namespace, "it builds", ["openvino"])
        assert row["models"] == [{**MODEL, "pods": 1}]

        assert agent.ask("DELETE", "/v1/workload", other).status_code == 204

        eventually(lambda: workloads(agent_site, node) == [("ocr", {"measured": 1})])


def test_a_pod_reports_on_no_pipeline_but_its_own(
    agent_site: AgentSite, shared: NodeAgent, agent_namespace: str
) -> None:
    agent, node = shared, shared.node
    pod = agent_site.serving_pod(agent_namespace, node, "another")

    answer = agent.ask("POST", "/v1/workload", pod, a_workload())

    assert answer.status_code == 403
    assert "runs as another and reports on pipeline ocr" in answer.json()["error"]


def test_who_is_not_a_pod_of_this_node_is_nobody(
    agent_site: AgentSite, shared: NodeAgent, agent_namespace: str
) -> None:
    agent, node, elsewhere = shared, shared.node, agent_site.make_node()
    far = agent_site.serving_pod(agent_namespace, elsewhere)
    for_the_server = agent_site.serving_pod(
        agent_namespace, node, audience="https://kubernetes.default.svc.cluster.local"
    )
    head, payload, signature = agent_site.serving_pod(agent_namespace, node).split(".")
    forged = f"{head}.{payload}.{signature[::-1]}"

    told = {
        name: agent.ask("POST", "/v1/workload", token, a_workload())
        for name, token in {"far": far, "server": for_the_server, "forged": forged, "noise": "x.y"}.items()
    }

    assert {answer.status_code for answer in told.values()} == {401}
    assert f"is of a pod on node {elsewhere}, this is the agent of {node}" in told["far"].json()["error"]
    assert "for another audience" in told["server"].json()["error"]
    assert "does not know the token" in told["forged"].json()["error"]


def test_a_build_is_decided_under_its_lease(agent_site: AgentSite, shared: NodeAgent, agent_namespace: str) -> None:
    agent, node = shared, shared.node
    engine = an_engine(agent_site, agent_namespace)
    path = f"{OWN}/namespaces/{agent_namespace}/hpiengines/{engine['metadata']['name']}"
    pod, other = (agent_site.serving_pod(agent_namespace, node) for _ in range(2))

    wanted_engine(agent_site, node, engine)
    code, granted = build(agent, "acquire", pod, asked_of(engine))
    assert (code, granted) == (200, {"token": 0, "seconds": 60})
    assert the_lease(agent_site, agent_namespace)["holderIdentity"] == node
    during = agent_site.admin.request("GET", path)["status"]
    assert (during["attempts"], during["holder"]) == (1, node)
    eventually(lambda: agent_site.status(node)["engines"][0]["state"] == "Building")

    held = build(agent, "acquire", other, asked_of(engine))
    assert (held[0], held[1]["holder"], held[1]["here"]) == (423, node, True)
    assert build(agent, "renew", other, {"token": 0})[0] == 409
    assert build(agent, "renew", pod, {"token": 0}) == (200, granted)

    assert build(agent, "decided", pod, a_decision(0))[0] == 204

    status = agent_site.admin.request("GET", path)["status"]
    assert (status["chosen"], status["quality"], status["attempts"]) == ("openvino", "Measured", 1)
    assert [one["verdict"] for one in status["candidates"]] == ["Chosen", "Slower"]
    assert [(one["type"], one["reason"]) for one in status["conditions"]] == [("Ready", "Decided")]
    assert not the_lease(agent_site, agent_namespace).get("holderIdentity")
    # Nobody has pushed the artifact: that it is decided does not bring it here.
    eventually(lambda: agent_site.status(node)["engines"][0]["state"] == "Absent")
    told = agent_site.admin.items(f"/apis/events.k8s.io/v1/namespaces/{agent_namespace}/events")[0]
    assert [one["reason"] for one in told if one["regarding"]["name"] == engine["metadata"]["name"]] == ["Decided"]


def test_what_was_chosen_on_busy_cores_is_told_to_whoever_builds_next_until_a_choice_is_final(
    agent_site: AgentSite, shared: NodeAgent, agent_namespace: str
) -> None:
    agent, node = shared, shared.node
    asked = asked_of(an_engine(agent_site, agent_namespace))
    one, other = (agent_site.serving_pod(agent_namespace, node) for _ in range(2))

    def chooses(pod: str, quality: str) -> Document:
        code, granted = build(agent, "acquire", pod, asked)
        assert code == 200
        assert build(agent, "decided", pod, a_decision(granted["token"], quality=quality))[0] == 204
        return granted

    first, second, third = chooses(one, "Provisional"), chooses(other, "Measured"), chooses(one, "Measured")

    assert "chosenBefore" not in first
    assert second["chosenBefore"] == KEY
    assert "chosenBefore" not in third


def test_a_build_that_fails_says_why_and_may_be_tried_again(
    agent_site: AgentSite, shared: NodeAgent, agent_namespace: str
) -> None:
    agent, node = shared, shared.node
    engine = an_engine(agent_site, agent_namespace)
    path = f"{OWN}/namespaces/{agent_namespace}/hpiengines/{engine['metadata']['name']}"
    pod = agent_site.serving_pod(agent_namespace, node)

    # Not named in the HPINode: the pod was told of it.
    named = {**asked_of(engine), "engines": [engine["metadata"]["name"]]}
    build(agent, "acquire", pod, named)
    failure = {"token": 0, "reason": "OutOfMemory", "message": "every candidate was killed"}
    assert build(agent, "failed", pod, failure)[0] == 204
    status = agent_site.admin.request("GET", path)["status"]
    assert (status["lastFailure"]["reason"], status["conditions"][0]["reason"]) == ("OutOfMemory", "EngineFailed")

    again = build(agent, "acquire", pod, asked_of(engine))

    # Another right than the first: the one that was given back is worth nothing.
    assert again == (200, {"token": 1, "seconds": 60})
    assert build(agent, "decided", pod, a_decision(0))[0] == 409
    assert agent_site.admin.request("GET", path)["status"]["attempts"] == 2


@pytest.mark.slow
def test_two_nodes_do_not_build_one_resolution(agent_site: AgentSite, agent_namespace: str) -> None:
    nodes = [agent_site.make_node() for _ in range(2)]
    pods = [agent_site.serving_pod(agent_namespace, node) for node in nodes]
    asked = asked_of({"spec": manifest("HPIEngine")["spec"]})

    with NodeAgent(agent_site, nodes[0]) as one, NodeAgent(agent_site, nodes[1]) as other:
        first = build(one, "acquire", pods[0], asked)
        second = build(other, "acquire", pods[1], asked)
        build(one, "release", pods[0], {"token": first[1]["token"]})
        third = build(other, "acquire", pods[1], asked)

    assert (first[0], second[0], third[0]) == (200, 423, 200)
    assert (second[1]["holder"], second[1]["here"]) == (nodes[0], False)
    assert third[1]["token"] == 1


def test_the_right_to_build_outlives_an_agent_that_is_killed(agent_site: AgentSite, agent_namespace: str) -> None:
    node = agent_site.make_node()
    pod, other = (agent_site.serving_pod(agent_namespace, node) for _ in range(2))
    asked = asked_of({"spec": manifest("HPIEngine")["spec"]})

    with NodeAgent(agent_site, node) as agent:
        build(agent, "acquire", pod, asked)
        agent.kill()
        agent.start()

        assert build(agent, "acquire", other, asked)[0] == 423
        assert build(agent, "renew", pod, {"token": 0})[0] == 200


@pytest.mark.slow
def test_the_lease_of_a_holder_that_was_killed_is_taken_over_after_it_has_expired(
    agent_site: AgentSite, agent_namespace: str
) -> None:
    nodes = [agent_site.make_node() for _ in range(2)]
    pods = [agent_site.serving_pod(agent_namespace, node) for node in nodes]
    asked = asked_of({"spec": manifest("HPIEngine")["spec"]})

    with NodeAgent(agent_site, nodes[0]) as one, NodeAgent(agent_site, nodes[1]) as other:
        build(one, "acquire", pods[0], asked)
        one.kill()
        assert build(other, "acquire", pods[1], asked)[0] == 423
        answers = []

        def is_granted() -> bool:
            answers.append(build(other, "acquire", pods[1], asked))
            return answers[-1][0] == 200

        eventually(is_granted, seconds=90, pause_seconds=1.0)
        code, granted = answers[-1]
        one.start()
        late = build(one, "renew", pods[0], {"token": 0})

    assert (code, granted["token"]) == (200, 1)
    assert the_lease(agent_site, agent_namespace)["leaseTransitions"] == 1
    assert late[0] == 409


def a_result(passed: bool, **fields: Any) -> Document:
    """Return the report of a self-test."""
    backends = ["onnxruntime", "openvino"] if passed else []
    return {"runtime": RUNTIME, "lockDigest": LOCK, "passed": passed, "backends": backends, **fields}


@pytest.fixture
def tested(agent_site: AgentSite) -> tuple[str, str]:
    """A node that wants a runtime, and the token of the self-test that the operator makes for it."""
    node = agent_site.make_node(runtimes=[{"name": RUNTIME, "lockDigest": LOCK}])
    seen = an_observed_node(a_node(node), runtimes=[a_runtime()])
    seen = replace(seen, node=replace(seen.node, uid=agent_site.node_uid(node)))
    [pod] = [one for one in plan_node(seen, CLASSES).apply if one["kind"] == "Pod"]
    return node, agent_site.token_of_pod({**pod, "spec": {**pod["spec"], "nodeName": node}})


@pytest.mark.parametrize(
    ("passed", "state", "ready"),
    [(True, "Usable", ("True", "SelfTestPassed")), (False, "Failed", ("False", "SelfTestFailed"))],
)
def test_a_self_test_is_answered_when_its_result_stands_in_the_status(
    agent_site: AgentSite, tested: tuple[str, str], passed: bool, state: str, ready: tuple[str, str]
) -> None:
    node, token = tested
    message = "2 of 2 backends" if passed else "openvino: libopenvino.so is missing"

    with NodeAgent(agent_site, node) as agent:
        assert "runtimes" not in written(agent_site, node) or not agent_site.status(node)["runtimes"]
        answer = agent.ask("POST", "/v1/self-test", token, a_result(passed, message=message))
        status = agent_site.status(node)

    [runtime] = status["runtimes"]
    assert answer.status_code == 204
    assert (runtime["name"], runtime["lockDigest"], runtime["state"]) == (RUNTIME, LOCK, state)
    assert (runtime["selfTest"]["message"], runtime["backends"]) == (message, a_result(passed)["backends"])
    assert [(one["status"], one["reason"]) for one in status["conditions"] if one["type"] == "Ready"] == [ready]


@pytest.mark.slow
def test_a_result_stays_when_its_agent_is_killed(agent_site: AgentSite, tested: tuple[str, str]) -> None:
    node, token = tested
    with NodeAgent(agent_site, node) as agent:
        written(agent_site, node)
        agent.ask("POST", "/v1/self-test", token, a_result(True))
        agent.kill()
        agent.start()
        pod = agent_site.serving_pod("default", node)
        agent.ask("POST", "/v1/workload", pod, a_workload())
        eventually(lambda: workloads(agent_site, node))

    assert [one["state"] for one in agent_site.status(node)["runtimes"]] == ["Usable"]


@pytest.mark.parametrize(
    ("namespace", "account", "suffix", "says"),
    [
        (OPERATOR, SELF_TEST_ACCOUNT, "-0", "is not the self-test of"),
        (OPERATOR, "default", "", "is no self-test"),
        ("default", SELF_TEST_ACCOUNT, "", "is no self-test"),
    ],
)
def test_no_other_pod_is_a_self_test(
    agent_site: AgentSite, tested: tuple[str, str], namespace: str, account: str, suffix: str, says: str
) -> None:
    node, _ = tested
    name = self_test_name(node, agent_site.node_uid(node), RUNTIME, LOCK)
    if (namespace, suffix) == (OPERATOR, ""):
        # The operator's own pod has the name.
        path = f"/api/v1/namespaces/{OPERATOR}/pods/{name}"
        agent_site.admin.request("DELETE", path, query={"gracePeriodSeconds": "0"})
    token = agent_site.token_of(namespace, node, account, f"{name}{suffix}")

    with NodeAgent(agent_site, node) as agent:
        written(agent_site, node)
        answer = agent.ask("POST", "/v1/self-test", token, a_result(True))

    assert answer.status_code == 403
    assert says in answer.text
