"""`kubectl hpi why`: from what does not hold down to its cause, with what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import pytest

from hpi_core.reasons import REASONS
from hpi_operator.kubectl.reports.causes import Causes, Finding
from hpi_operator.kubectl.reports.commands import Place
from hpi_operator.kubectl.reports.node_causes import node_causes
from hpi_operator.kubectl.reports.pipeline_causes import pipeline_causes
from hpi_operator.kubectl.text.causes import causes_text
from hpi_operator.kubectl.text.terminal import Style
from support.manifests import Document
from support.observed import a_runtime
from support.people_sights import (
    NOW,
    a_condition,
    a_seen_engine,
    a_seen_node,
    a_seen_pipeline,
    a_seen_pod,
    a_sight,
    a_workload,
)

PLACE: Final = Place(namespace="shop", name="ocr")
NO_REPLICA: Final = (
    a_condition("Ready", "False", "NoReplica"),
    a_condition("Available", "False", "NoReplica", "0 of 2 replicas answer; pod p, container serve: Error: bad_alloc"),
)
CRASHED: Final = a_seen_pod(
    "p", waiting="CrashLoopBackOff", ended="Error", exit_code=1, message="bad_alloc", restarts=3
)


def why(*conditions: Document, behind: bool = False, place: Place = PLACE, **seen: Any) -> Causes:
    return pipeline_causes(a_seen_pipeline("ocr", *conditions, behind=behind), a_sight(**seen), place)


def why_node(**seen: Any) -> Causes:
    return node_causes("n1", a_sight(**seen), Place())


def shown(report: Causes) -> list[str]:
    return list(causes_text(report, Style(), NOW))


def flat(findings: Iterable[Finding]) -> Iterator[Finding]:
    for one in findings:
        yield one
        yield from flat(one.causes)


def test_a_pipeline_on_which_all_holds_has_no_findings() -> None:
    report = why(
        a_condition("Available", "True", "EnoughReplicas"), a_condition("Progressing", "False", "RolloutComplete")
    )

    assert (report.ready.status, report.findings) == ("True", ())
    assert shown(report) == ["HPIPipeline shop/ocr is ready, for 15 min"]


def test_a_crash_leads_to_its_container_its_last_words_and_its_log() -> None:
    report = why(*NO_REPLICA, pods=[CRASHED])

    [available] = report.findings
    [pod] = available.causes
    assert (available.reason, available.remedy) == ("NoReplica", REASONS["NoReplica"].remedy)
    assert pod.what == "container serve: CrashLoopBackOff, exit code 1, 3 restarts, on n1"
    assert pod.message == "bad_alloc"
    assert pod.next[0] == "kubectl logs p -n shop -c serve --previous"


def test_what_stands_below_is_not_told_above_as_well() -> None:
    lines = shown(why(*NO_REPLICA, pods=[CRASHED]))

    assert [line for line in lines if "bad_alloc" in line] == ["     bad_alloc"]
    assert "  0 of 2 replicas answer" in lines


def test_pods_that_fail_alike_are_one_link_with_their_number() -> None:
    pods = [
        a_seen_pod(f"p{number}", waiting="CrashLoopBackOff", ended="Error", exit_code=1, restarts=number)
        for number in (1, 3, 2)
    ]

    [available] = why(*NO_REPLICA, pods=pods).findings

    [pod] = available.causes
    assert pod.object == "Pod shop/p3"
    assert pod.what.endswith("and 2 more like it")


def test_a_pod_without_a_node_leads_to_the_nodes_and_the_schedulers_words() -> None:
    waiting = a_seen_pod("p", node=None, message="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")

    [available] = why(*NO_REPLICA, pods=[waiting]).findings

    [pod] = available.causes
    assert (pod.reason, pod.message) == ("Unschedulable", "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.")
    assert "kubectl hpi nodes" in pod.next


def test_events_say_what_a_pod_cannot() -> None:
    event = {"reason": "FailedMount", "message": "timed out", "count": 7, "lastTimestamp": "2026-03-01T09:58:00Z"}
    pod = a_seen_pod("p", waiting="ContainerCreating")

    lines = shown(why(*NO_REPLICA, pods=[pod], events={"uid-of-p": [event]}))

    assert "  └─ Event: FailedMount, 7 times, 2 min ago" in lines


def test_a_quota_is_told_where_no_pod_could_be_made() -> None:
    deployment = {
        "metadata": {"name": "ocr-cpu", "namespace": "shop"},
        "spec": {"replicas": 2},
        "status": {"conditions": [a_condition("ReplicaFailure", "True", "FailedCreate", "exceeded quota: small")]},
    }

    [available] = why(*NO_REPLICA, deployments=[deployment]).findings

    [cause] = available.causes
    assert (cause.object, cause.message) == ("Deployment shop/ocr-cpu", "exceeded quota: small")
    assert cause.next == ("kubectl describe deployment ocr-cpu -n shop",)


def test_what_only_follows_from_a_placement_that_fails_is_not_told() -> None:
    placed = a_condition("Placed", "False", "NoMatchingNode", "class NVIDIA: 3 nodes: no nvidia.com/gpu")
    active = a_condition("EngineActive", "Unknown", "NotReported")

    report = why(*NO_REPLICA, placed, active)

    assert [one.what for one in report.findings] == ["Placed is False"]
    assert report.findings[0].next == ("kubectl hpi nodes",)


def test_a_runtime_that_is_not_usable_leads_to_the_nodes_on_which_its_self_test_failed() -> None:
    runtime = a_runtime().model_dump(mode="json", by_alias=True)
    runtime["status"] = {"conditions": [a_condition("Usable", "False", "SelfTestFailed", "n1: libnvinfer is missing")]}
    failed = {
        "name": "hpi-cpu-1.0.0",
        "state": "Failed",
        "selfTest": {"state": "Failed", "message": "libnvinfer is missing"},
    }
    nodes = [a_seen_node("n1", runtimes=[failed]), a_seen_node("n2")]

    report = why(a_condition("Placed", "False", "RuntimeNotUsable"), runtimes=[runtime], hpi_nodes=nodes)

    chain = [(one.object, one.reason) for one in flat(report.findings)]
    assert chain == [
        ("HPIPipeline shop/ocr", "RuntimeNotUsable"),
        ("HPIRuntime hpi-cpu-1.0.0", "SelfTestFailed"),
        ("Node n1", "SelfTestFailed"),
    ]


@pytest.mark.parametrize(("state", "reason"), [("Failed", "RuntimeInstallFailed"), ("Installing", "RuntimeInstalling")])
def test_a_runtime_that_is_not_installed_leads_to_the_nodes_and_their_words(state: str, reason: str) -> None:
    runtime = a_runtime().model_dump(mode="json", by_alias=True)
    runtime["status"] = {"conditions": [a_condition("Usable", "False", reason, "on 1 of 1 nodes")]}
    row = {"name": "hpi-cpu-1.0.0", "state": state, "message": "it lacks a wheel"}

    report = why(
        a_condition("Placed", "False", "RuntimeNotUsable"),
        runtimes=[runtime],
        hpi_nodes=[a_seen_node("n1", runtimes=[row])],
    )

    *_, last = flat(report.findings)
    assert (last.object, last.reason, last.message) == ("Node n1", reason, "it lacks a wheel")
    assert last.next == ("kubectl get pods -n hpi-agents -o wide",)


def test_a_cache_that_is_full_is_told_although_the_node_is_ready() -> None:
    full = a_condition("CacheReady", "False", "CacheFull", "make room there")
    node = a_seen_node("n1", a_condition("Ready", "True", "SelfTestPassed"), full)

    report = why_node(hpi_nodes=[node])

    assert [(one.object, one.reason, one.message) for one in report.findings] == [
        ("HPINode n1", "CacheFull", "make room there")
    ]


def test_an_engine_that_failed_is_told_although_the_pipeline_is_ready() -> None:
    message = "onnxruntime serves: openvino ended with SIGILL"
    node = a_seen_node("n1", workloads=[a_workload("fallback", engines=["e-1"], message=message)])
    failed = a_seen_engine("e-1", lastFailure={"reason": "BuildFailed", "message": "SIGILL", "time": ""})

    report = why(a_condition("EngineActive", "False", "Fallback", message), hpi_nodes=[node], engines=[failed])

    assert report.ready.status == "True"
    [active] = report.findings
    assert [(one.object, one.message) for one in active.causes] == [
        ("Node n1", message),
        ("HPIEngine shop/e-1", "BuildFailed: SIGILL"),
    ]


def test_pods_of_a_new_revision_that_fail_are_told_before_any_condition_says_so() -> None:
    report = why(a_condition("Progressing", "True", "Progressing"), pods=[a_seen_pod("old", ready=True), CRASHED])

    assert report.ready.status == "True"
    [finding] = report.findings
    assert [one.object for one in finding.causes] == ["Pod shop/p"]


def test_that_no_agent_reports_on_pods_that_do_not_answer_is_no_finding() -> None:
    unknown = a_condition("EngineActive", "Unknown", "NotReported")

    report = why(*NO_REPLICA, unknown, pods=[CRASHED])

    assert [one.reason for one in report.findings] == ["NoReplica"]


def test_pods_that_answer_and_that_no_agent_names_lead_to_the_agent_of_their_node() -> None:
    unknown = a_condition("EngineActive", "Unknown", "NotReported")

    [active] = why(unknown, pods=[a_seen_pod("p", ready=True)]).findings

    [cause] = active.causes
    assert (cause.object, cause.reason) == ("Node n1", "NoReport")
    assert cause.next == ("kubectl get pods -n hpi-agents -o wide --field-selector spec.nodeName=n1",)


def test_a_revision_that_was_rolled_back_tells_of_its_pod_which_is_gone() -> None:
    failed = {"reason": "Error", "message": "no model", "revision": "cccc", "pod": "ocr-9", "container": "serve"}
    pipeline = a_seen_pipeline("ocr", a_condition("Progressing", "False", "RolledBack"), lastFailure=failed)

    report = pipeline_causes(pipeline, a_sight(), PLACE)

    [progressing] = report.findings
    [gone] = progressing.causes
    assert (gone.object, gone.message) == ("Pod shop/ocr-9", "no model")


def a_lease(renewed: str, holder: str = "pod-1") -> Document:
    spec = {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 60}
    return {"metadata": {"name": "hpi-operator", "namespace": "hpi-system"}, "spec": spec}


def told_of_operator(lease: Document | None) -> str:
    report = why(behind=True, lease=lease)
    assert (report.ready.status, report.ready.reason) == ("Unknown", "NotLookedAt")
    [behind] = report.findings
    [operator] = behind.causes
    return operator.what


def test_a_spec_that_nobody_looked_at_leads_to_the_operator() -> None:
    assert "no operator has ever led" in told_of_operator(None)
    assert "nobody leads" in told_of_operator(a_lease("2026-03-01T09:59:00Z", holder=""))
    assert "leads, and has renewed it 60 s ago" in told_of_operator(a_lease("2026-03-01T09:59:00.000000Z"))
    assert "it is gone" in told_of_operator(a_lease("2026-03-01T09:58:59.000000Z"))


def test_commands_name_the_context_that_was_asked() -> None:
    place = Place(namespace="shop", name="ocr", kubectl="kubectl --context prod")
    placed = a_condition("Placed", "False", "NoMatchingRuntime")

    [finding] = why(placed, place=place).findings

    assert finding.next == (
        "kubectl hpi explain ocr -n shop --context prod",
        "kubectl --context prod get hpiruntimes",
    )


def a_kubernetes_node(ready: str = "True", **spec: Any) -> Document:
    conditions = [a_condition("Ready", ready, "KubeletNotReady", "the network is not ready")]
    return {"metadata": {"name": "n1"}, "spec": spec, "status": {"conditions": conditions}}


def test_a_node_on_which_all_holds_has_no_findings() -> None:
    report = why_node(nodes=[a_kubernetes_node()], hpi_nodes=[a_seen_node()])

    assert (report.ready.status, report.findings) == ("True", ())


def test_a_node_that_kubernetes_calls_not_ready_is_not_ready_whatever_its_agent_said() -> None:
    report = why_node(nodes=[a_kubernetes_node("Unknown")], hpi_nodes=[a_seen_node()])

    assert (report.ready.status, report.ready.reason) == ("False", "NodeNotReady")
    assert report.findings[0].next == ("kubectl describe node n1",)


def test_a_self_test_that_cannot_begin_leads_to_the_cordon() -> None:
    untested = {"name": "hpi-cpu-1.0.0", "state": "Installed"}
    node = a_seen_node("n1", a_condition("Ready", "False", "SelfTestRunning"), runtimes=[untested])

    report = why_node(nodes=[a_kubernetes_node(unschedulable=True)], hpi_nodes=[node])

    [ready] = report.findings
    assert [one.what for one in ready.causes] == [
        "hpi-cpu-1.0.0 is Installed, and has not been tested yet",
        "it is cordoned: no new pod lands there, and no self-test",
    ]


def test_a_node_whose_agent_is_silent_leads_to_the_agents_pod() -> None:
    silent = {**a_seen_node(), "status": {}}

    report = why_node(nodes=[a_kubernetes_node()], hpi_nodes=[silent])

    assert (report.ready.status, report.ready.reason) == ("Unknown", "NoReport")
    assert report.findings[0].reason == "NoReport"
    assert [one.object for one in flat(report.findings)] == ["HPINode n1", "Node n1"]


def test_a_node_without_an_hpi_node_leads_to_the_operator_unless_it_may_not_be_read() -> None:
    nobody = why_node(nodes=[a_kubernetes_node()])
    hidden = why_node(nodes=[a_kubernetes_node()], unseen=("hpinodes: you may not",))

    assert [one.reason for one in nobody.findings] == ["NotLookedAt"]
    assert hidden.findings == ()
    assert shown(hidden)[-2:] == ["not seen", "  hpinodes: you may not"]
