"""The agents that are played report as real ones must: what they see, in the contract's words, once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hpi_core.api.base import GROUP
from hpi_core.api.v1alpha1.kinds import KINDS
from support.agent_stage import NUMBERS, Stage
from support.agent_world import OWN
from support.api_calls import asks
from support.api_proxy import ApiProxy
from support.audit import AuditLog, now, told
from support.cluster_client import MERGE, ApiError, ClusterClient
from support.control_plane.cluster import ControlPlane
from support.eventually import eventually
from support.fake_agents import AGENT, FakeAgents
from support.manifests import Document
from support.nodes import a_node
from support.pods import a_course
from support.populate import create_nodes, delete_nodes
from support.resolution_lease import lease_path
from support.tables import overview, shown


@pytest.fixture
def stage(played_control_plane: ControlPlane, played_namespace: str) -> Iterator[Stage]:
    """A node, its HPINode and a runtime of the test's own."""
    with ClusterClient(played_control_plane) as client:
        stage = Stage(played_control_plane, client, played_namespace)
        yield stage
        delete_nodes(client, [stage.node.name])
        client.request("DELETE", f"{OWN}/hpiruntimes/{stage.runtime['metadata']['name']}")


@pytest.fixture
def agents(played_control_plane: ControlPlane, stage: Stage) -> Iterator[FakeAgents]:
    """The agent of the node."""
    with FakeAgents(played_control_plane, [stage.node], lease_seconds=2) as running:
        yield running


def condition(status: Document, type_: str = "Ready") -> tuple[str, str]:
    [found] = [one for one in status["conditions"] if one["type"] == type_]
    return found["status"], found["reason"]


def test_an_agent_reports_the_hardware_and_what_is_installed(stage: Stage, agents: FakeAgents) -> None:
    status = eventually(stage.status)

    assert [one["name"] for one in status["hardware"]["devices"]] == ["NVIDIA A100-SXM4-40GB"]
    assert stage.runtime_status() == {
        "name": stage.runtime["metadata"]["name"],
        "lockDigest": stage.runtime["spec"]["lockDigest"],
        "state": "Installed",
        "message": "",
        "backends": [],
    }
    assert condition(status) == ("False", "SelfTestRunning")


@pytest.mark.parametrize(
    ("outcome", "states", "ready"),
    [
        (None, ("Passed", "Usable"), ("True", "SelfTestPassed")),
        ("crashes", ("Failed", "Failed"), ("False", "SelfTestFailed")),
    ],
)
def test_a_self_test_is_told_as_its_pod_ended_and_stays_told_when_the_pod_is_gone(
    stage: Stage, agents: FakeAgents, outcome: None, states: tuple[str, str], ready: tuple[str, str]
) -> None:
    path = stage.self_test("test", annotations=a_course(outcome, message="openvino: no such file"))
    eventually(
        lambda: (stage.runtime_status().get("selfTest", {}).get("state"), stage.runtime_status()["state"]) == states
    )

    stage.client.request("DELETE", path)
    eventually(lambda: stage.client.find(path) is None)
    # Something else changes, so the agent states its status once more.
    stage.serving("other")
    eventually(lambda: stage.status().get("workloads"))

    runtime = stage.runtime_status()
    assert (runtime["selfTest"]["state"], runtime["selfTest"]["message"]) == (states[0], "openvino: no such file")
    assert runtime["backends"] == (stage.runtime["spec"]["backends"] if outcome is None else [])
    assert condition(stage.status()) == ready


def test_a_self_test_may_be_told_to_fail(stage: Stage, agents: FakeAgents) -> None:
    agents.fail_self_test(stage.runtime["metadata"]["name"], "libnvinfer.so.10 is missing", node=stage.node.name)

    stage.self_test("test")

    eventually(lambda: stage.runtime_status().get("selfTest", {}).get("state") == "Failed")
    assert stage.runtime_status()["selfTest"]["message"] == "libnvinfer.so.10 is missing"


def test_the_self_test_of_another_lock_proves_nothing(stage: Stage, agents: FakeAgents) -> None:
    stage.self_test("test")
    eventually(lambda: stage.runtime_status()["state"] == "Usable")
    other = f"sha256:{'0' * 64}"
    name = stage.runtime["metadata"]["name"]
    image = f"registry.example/hpi-cpu@{other}"
    # An HPIRuntime's lock never changes; another HPIRuntime may take its name.
    images = [{**one, "image": image} for one in stage.runtime["spec"]["images"]]
    stage.client.request("DELETE", f"{OWN}/hpiruntimes/{name}")
    stage.runtime["spec"] |= {"lockDigest": other, "images": images}
    stage.client.request("POST", f"{OWN}/hpiruntimes", stage.runtime)

    wanted = {"spec": {"runtimes": [{"name": name, "lockDigest": other}]}}
    stage.client.request("PATCH", f"{OWN}/hpinodes/{stage.node.name}", wanted, content_type=MERGE)

    eventually(lambda: stage.runtime_status()["lockDigest"] == other)
    eventually(lambda: "selfTest" not in stage.runtime_status())


def test_ready_pods_are_counted_as_they_are_told(stage: Stage, agents: FakeAgents) -> None:
    path = stage.serving("one")
    stage.serving("two")
    stage.serving("late", annotations=a_course("never-ready"))

    def workloads() -> list[Document]:
        found: list[Document] = stage.status().get("workloads", [])
        return found

    expected = {"namespace": stage.namespace, "pipeline": "ocr", "revision": "5d8c7b9f4a"}
    counts = {"measured": 0, "provisional": 0, "fallback": 0, "building": 0}
    eventually(lambda: [one["engineActive"] for one in workloads()] == [{**counts, "measured": 2}])
    agents.tell(stage.namespace, "ocr", "fallback", message="tensorrt: out of memory")
    eventually(lambda: [one["engineActive"] for one in workloads()] == [{**counts, "fallback": 2}])
    assert [{**expected, "message": "tensorrt: out of memory"}] == [
        {key: value for key, value in one.items() if key in {*expected, "message"}} for one in workloads()
    ]
    stage.client.request("DELETE", path)
    eventually(lambda: [one["engineActive"] for one in workloads()] == [{**counts, "fallback": 1}])


def test_engines_count_as_measured_after_a_while(played_control_plane: ControlPlane, stage: Stage) -> None:
    with FakeAgents(played_control_plane, [stage.node], settle_seconds=3600):
        stage.serving("young")

        eventually(lambda: [one["engineActive"]["building"] for one in stage.status().get("workloads", [])] == [1])
    with FakeAgents(played_control_plane, [stage.node], settle_seconds=1):
        eventually(lambda: [one["engineActive"]["measured"] for one in stage.status()["workloads"]] == [1])


def test_a_build_ends_in_a_decision_and_gives_its_lease_back(stage: Stage, agents: FakeAgents) -> None:
    engine = stage.engine()
    wanted = {"spec": {"engines": [{"namespace": stage.namespace, "name": engine}]}}
    stage.client.request("PATCH", f"{OWN}/hpinodes/{stage.node.name}", wanted, content_type=MERGE)

    stage.prebuild("build", engine)

    eventually(lambda: "chosen" in stage.engine_status(engine))
    status = stage.engine_status(engine)
    assert (status["chosen"], status["quality"], status["attempts"]) == ("openvino", "Measured", 1)
    assert [one["verdict"] for one in status["candidates"]] == ["Chosen", "Slower", "Slower"]
    assert condition(status) == ("True", "Decided")
    path = f"{lease_path(stage.namespace)}/{engine}"
    eventually(lambda: not stage.client.request("GET", path)["spec"].get("holderIdentity"))
    eventually(lambda: [one["state"] for one in stage.status()["engines"]] == ["Cached"])


def test_of_two_nodes_one_builds_and_a_builder_that_dies_loses_its_lease(stage: Stage, agents: FakeAgents) -> None:
    other = a_node(f"agent-{next(NUMBERS)}", taints=["rig:NoSchedule"])
    create_nodes(stage.client, [other])
    stage.make_hpi_node(other)
    engine = stage.engine()
    long = a_course(runs_for_seconds=3600)
    stage.prebuild("first", engine, annotations=long)
    eventually(lambda: stage.engine_status(engine).get("holder") == stage.node.name)
    agents.add(other)
    stage.prebuild("second", engine, node=other.name)
    eventually(lambda: stage.status(other.name))

    agents.kill(stage.node.name)

    eventually(lambda: "chosen" in stage.engine_status(engine))
    status = stage.engine_status(engine)
    delete_nodes(stage.client, [other.name])
    assert (status["holder"], status["attempts"]) == (other.name, 2)
    lease = stage.client.request("GET", f"{lease_path(stage.namespace)}/{engine}")
    assert lease["spec"]["leaseTransitions"] == 1


def test_a_build_that_fails_says_why_and_is_not_tried_again_by_itself(
    played_control_plane: ControlPlane, stage: Stage, agents: FakeAgents
) -> None:
    engine = stage.engine()
    agents.fail_build(stage.namespace, engine, "tensorrt: out of memory")

    agents.build(stage.node.name, stage.namespace, engine)

    eventually(lambda: "lastFailure" in stage.engine_status(engine))
    status = stage.engine_status(engine)
    assert (status["lastFailure"]["message"], status["attempts"]) == ("tensorrt: out of memory", 1)
    assert condition(status) == ("False", "EngineFailed")
    path = f"{lease_path(stage.namespace)}/{engine}"
    eventually(lambda: not stage.client.request("GET", path)["spec"].get("holderIdentity"))
    stage.serving("other")
    eventually(lambda: stage.status().get("workloads"))
    assert stage.engine_status(engine)["attempts"] == 1


def test_an_agent_that_starts_anew_and_has_nothing_new_to_say_writes_nothing(
    played_control_plane: ControlPlane, stage: Stage
) -> None:
    log = AuditLog(played_control_plane)
    stage.serving("one")
    stage.self_test("test")
    with FakeAgents(played_control_plane, [stage.node]):
        eventually(lambda: stage.status().get("workloads") and condition(stage.status())[0] == "True")
    begun = now()

    with FakeAgents(played_control_plane, [stage.node]) as agents:
        # What another pipeline is told wakes every agent, and changes nothing.
        agents.tell("elsewhere", "other", "fallback")
        stage.serving("two")
        eventually(lambda: stage.status()["workloads"][0]["engineActive"]["measured"] == 2)

    writes = log.writes(agent=AGENT, since=begun)
    assert [(call.verb, call.resource) for call in writes] == [("patch", f"hpinodes.{GROUP}/status")], told(writes)


def test_an_agent_says_nothing_before_it_has_seen_its_pods(played_control_plane: ControlPlane, stage: Stage) -> None:
    log = AuditLog(played_control_plane)
    stage.serving("one")
    with FakeAgents(played_control_plane, [stage.node]):
        eventually(lambda: stage.status().get("workloads"))
    begun = now()

    with ApiProxy(played_control_plane) as proxy:
        late = proxy.delay(asks("list", "pods"), 1.0)
        with FakeAgents(played_control_plane, [stage.node], url=proxy.url):
            stage.serving("two")
            eventually(lambda: stage.status()["workloads"][0]["engineActive"]["measured"] == 2)

    writes = log.writes(agent=AGENT, since=begun)
    assert late.hits == 1
    assert len(writes) == 1, told(writes)


def test_a_status_against_the_contract_fails_the_test_that_plays_it(
    played_control_plane: ControlPlane, stage: Stage
) -> None:
    stage.serving("one")

    def play() -> None:
        with FakeAgents(played_control_plane, [stage.node]) as agents:
            agents.tell(stage.namespace, "ocr", "fallback", message="x" * 161)
            eventually(lambda: agents.problems)

    with pytest.raises(ValueError, match="message"):
        play()


def test_an_agent_without_the_right_to_report_is_no_secret(played_control_plane: ControlPlane, stage: Stage) -> None:
    rules = [
        {"apiGroups": ["", GROUP], "resources": ["*"], "verbs": ["get", "list", "watch"]},
    ]
    name = f"reader-{stage.namespace}"
    role = {"metadata": {"name": name}, "rules": rules}
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }
    stage.client.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", role)
    stage.client.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    user = played_control_plane.client(name)

    with pytest.raises(ApiError) as refused, FakeAgents(played_control_plane, [stage.node], user=user) as agents:
        eventually(lambda: agents.problems)

    assert refused.value.code == 403


def test_a_person_sees_the_node_and_what_its_agent_said(stage: Stage, agents: FakeAgents) -> None:
    stage.self_test("test")
    eventually(lambda: stage.runtime_status()["state"] == "Usable")

    table = shown(stage.cluster, "get", "hpinodes", stage.node.name)

    command, head, row = table.splitlines()
    assert command == f"$ kubectl get hpinodes {stage.node.name}"
    assert head.split() == ["NAME", "POOL", "READY", "DEVICES", "DRIVER", "RUNTIMES", "UPGRADE", "AGE"]
    for word in (stage.node.name, "True", "NVIDIA A100-SXM4-40GB", "550.54.15", stage.runtime["metadata"]["name"]):
        assert word in row


def test_an_overview_has_every_kind(stage: Stage, agents: FakeAgents) -> None:
    stage.serving("one")

    text = overview(stage.cluster, stage.namespace)

    for kind in KINDS:
        assert f"$ kubectl get {kind.plural}" in text
    assert "No resources found" in text
    assert stage.node.name in text
