"""`kubectl hpi status NAME`: pipeline → revisions → pods → engines."""

from __future__ import annotations

from typing import Any, Final

import pytest

from hpi_core.names import REVISION
from hpi_operator.kubectl.reports.pods import pod_lines
from hpi_operator.kubectl.reports.tree import PipelineTree, pipeline_tree
from hpi_operator.kubectl.text.terminal import Style
from hpi_operator.kubectl.text.tree import MAX_PODS, tree_text
from support.manifests import Document
from support.people_sights import (
    NOW,
    REVISION_NAME,
    a_candidate,
    a_condition,
    a_seen_engine,
    a_seen_node,
    a_seen_pipeline,
    a_seen_pod,
    a_served_model,
    a_sight,
    a_workload,
)

ENGINE: Final = a_seen_engine("e-1", a_candidate("openvino", "Chosen", 14_200, "1.1 times as fast as onnxruntime"))


def shown(tree: PipelineTree) -> list[str]:
    return list(tree_text(tree, Style(), NOW))


def state_of(pod: Document) -> tuple[str, bool]:
    [[line]] = pod_lines([pod], {}, "ocr").values()
    return line.state, line.wrong


@pytest.mark.parametrize(
    ("pod", "state", "wrong"),
    [
        (a_seen_pod("p", ready=True), "Ready", False),
        (a_seen_pod("p"), "Starting", False),
        (a_seen_pod("p", waiting="ContainerCreating"), "Pending", False),
        (a_seen_pod("p", node=None, message="0/3 nodes are available"), "Unschedulable", True),
        (a_seen_pod("p", waiting="ImagePullBackOff"), "ImagePullBackOff", True),
        (
            a_seen_pod("p", waiting="CrashLoopBackOff", ended="Error", exit_code=1, restarts=3),
            "CrashLoopBackOff",
            True,
        ),
        (
            a_seen_pod("p", waiting="CrashLoopBackOff", ended="OOMKilled", exit_code=137, restarts=3),
            "OOMKilled",
            True,
        ),
    ],
    ids=["serves", "starts", "is made", "no node", "no image", "crashes", "out of memory"],
)
def test_a_pod_has_one_word_for_its_state(pod: Document, state: str, wrong: bool) -> None:
    assert state_of(pod) == (state, wrong)


def test_a_pod_that_is_being_deleted_is_not_wrong() -> None:
    pod = a_seen_pod("p", waiting="CrashLoopBackOff", ended="Error", exit_code=1, restarts=3)
    pod["metadata"]["deletionTimestamp"] = "2026-03-01T09:59:00Z"

    assert state_of(pod) == ("Ending", False)


def test_engines_stand_under_the_revision_whose_pods_use_them_with_how_many_do() -> None:
    nodes = [a_seen_node(name, workloads=[a_workload(engines=["e-1"])]) for name in ("n1", "n2")]
    pods = [a_seen_pod("ocr-1", ready=True), a_seen_pod("ocr-2", ready=True, node="n2")]

    tree = pipeline_tree(a_seen_pipeline(), a_sight(pods=pods, hpi_nodes=nodes, engines=[ENGINE]))

    [revision] = tree.revisions
    [used] = revision.engines
    assert (used.engine.name, used.pods, used.engine.p50_microseconds) == ("e-1", 2, 14_200)
    assert tree.engines == ()
    [line] = [one for one in shown(tree) if "└─ engine" in one]
    assert line.split("  ")[-1] == "1.1 times as fast as onnxruntime"
    assert "14.2 ms" in line
    assert "28.4 ms" in line


def test_models_without_an_hpi_engine_stand_under_their_revision_with_backend_and_milliseconds() -> None:
    nodes = [
        a_seen_node("n1", workloads=[a_workload(models=[a_served_model("det", 9_100), a_served_model("rec", None)])]),
        a_seen_node("n2", workloads=[a_workload(models=[a_served_model("det", 8_000, pods=2)])]),
    ]

    tree = pipeline_tree(a_seen_pipeline(), a_sight(pods=[a_seen_pod("ocr-1", ready=True)], hpi_nodes=nodes))

    [det, rec] = [line.split() for line in shown(tree) if "model " in line]
    assert det[1:] == ["model", "det", "Measured", "3", "pods", "openvino", "float32", "9.1", "ms", "18.2", "ms"]
    assert rec[1:] == ["model", "rec", "Building", "1", "pod", "openvino", "float32"]


def test_a_model_whose_hpi_engine_is_told_is_not_told_twice() -> None:
    node = a_seen_node(
        workloads=[a_workload(engines=["e-1"], models=[a_served_model(ENGINE["spec"]["modelName"], 9_100)])]
    )

    tree = pipeline_tree(
        a_seen_pipeline(), a_sight(pods=[a_seen_pod("ocr-1", ready=True)], hpi_nodes=[node], engines=[ENGINE])
    )

    assert len(tree.revisions[0].models) == 1
    assert not [line for line in shown(tree) if "model " in line]


def test_an_engine_that_no_agent_reports_stands_alone_and_says_so() -> None:
    models = [{"name": "det", "engine": "e-1"}, {"name": "rec", "engine": "e-gone"}]

    tree = pipeline_tree(a_seen_pipeline(models=models), a_sight(engines=[ENGINE]))

    assert [(one.name, one.state) for one in tree.engines] == [("e-gone", "Gone"), ("e-1", "Measured")]
    assert [line for line in shown(tree) if "no pod reports it" in line]


def test_the_revision_that_fails_stands_before_the_one_that_serves() -> None:
    status: dict[str, Any] = {
        "wantedRevision": "bbbb",
        "revisions": [
            {"name": "bbbb", "number": 2, "state": "Progressing", "createdAt": "2026-03-01T09:50:00Z"},
            {"name": REVISION_NAME, "number": 1, "state": "Active", "createdAt": "2026-03-01T09:00:00Z"},
        ],
    }
    pods = [
        a_seen_pod("old", ready=True),
        a_seen_pod("new-1", revision="bbbb"),
        a_seen_pod("new-2", revision="bbbb", waiting="ImagePullBackOff"),
    ]

    tree = pipeline_tree(a_seen_pipeline(**status), a_sight(pods=pods))

    assert [(one.name, one.wanted, one.serves) for one in tree.revisions] == [
        ("bbbb", True, False),
        (REVISION_NAME, False, True),
    ]
    assert [one.name for one in tree.revisions[0].pods] == ["new-2", "new-1"]


def test_a_deployment_that_may_make_no_pods_says_why_at_its_revision() -> None:
    quota = 'pods "ocr-cpu-x" is forbidden: exceeded quota'
    deployment = {
        "metadata": {"name": "ocr-cpu", "namespace": "shop"},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {REVISION: REVISION_NAME}}}},
        "status": {"conditions": [a_condition("ReplicaFailure", "True", "FailedCreate", quota)]},
    }

    lines = shown(pipeline_tree(a_seen_pipeline(), a_sight(deployments=[deployment])))

    assert lines[-1].endswith(f"ocr-cpu: {quota}")


def test_asked_stands_beside_obtained() -> None:
    pipeline = a_seen_pipeline(hardware="1 CPU", backend="onnxruntime", runtime="hpi-cpu-1.0.0", readyReplicas=1)
    pipeline["spec"]["inference"] = {"hpiConfig": {"backend": "openvino"}}
    pipeline["spec"]["placement"] = {"accelerators": [{"class": "NVIDIA"}, {"class": "CPU"}], "policy": "Spill"}

    lines = shown(pipeline_tree(pipeline, a_sight()))

    asked = "  asked     OCR, 2 replicas, on NVIDIA or else CPU (Spill), backend openvino, the best runtime"
    assert lines[1:3] == [asked, "  obtained  1 of 2 answer, on 1 CPU, onnxruntime, runtime hpi-cpu-1.0.0"]


def test_a_failure_of_pods_that_are_gone_is_told_and_one_that_the_tree_shows_is_not_told_twice() -> None:
    failed = {"reason": "Error", "message": "no model", "revision": "cccc", "pod": "ocr-9", "exitCode": 3, "time": ""}
    pipeline = a_seen_pipeline("ocr", a_condition("Ready", "False", "NoReplica"), lastFailure=failed)
    crashed = a_seen_pod("ocr-9", waiting="CrashLoopBackOff", ended="Error", exit_code=3, restarts=3)

    gone = shown(pipeline_tree(pipeline, a_sight()))
    there = shown(pipeline_tree(pipeline, a_sight(pods=[crashed])))

    assert [line for line in gone if line.startswith("  failed ")]
    assert not [line for line in there if line.startswith("  failed ")]


def test_many_pods_are_shown_in_part_those_that_fail_among_them() -> None:
    pods = [a_seen_pod(f"p-{number:03}", ready=True) for number in range(100)]
    pods.append(a_seen_pod("z", waiting="ImagePullBackOff"))

    lines = shown(pipeline_tree(a_seen_pipeline(), a_sight(pods=pods)))

    assert sum(" pod " in line for line in lines) == MAX_PODS
    assert [line for line in lines if "pod z" in line]
    assert lines[-1].split() == ["└─", "and", "81", "more", "pods"]


def test_what_could_not_be_read_is_said() -> None:
    lines = shown(pipeline_tree(a_seen_pipeline(), a_sight(unseen=("hpinodes: you may not list hpinodes",))))

    assert lines[-2:] == ["not seen", "  hpinodes: you may not list hpinodes"]


def test_what_a_failing_pod_says_is_told_whole_where_the_terminal_cuts_it() -> None:
    message = "Back-off pulling image registry.example/hpi-cpu:1: " + "no such thing " * 8
    pods = [a_seen_pod(name, waiting="ImagePullBackOff", message=message) for name in ("p1", "p2")]
    tree = pipeline_tree(a_seen_pipeline(), a_sight(pods=pods))

    narrow = list(tree_text(tree, Style(width=80), NOW))
    piped = shown(tree)

    assert f"p1: ImagePullBackOff: {message.strip()}" in " ".join(line.strip() for line in narrow)
    assert not [line for line in narrow if line.startswith("p2: ")]
    assert not [line for line in piped if line.startswith("p1: ")]


def test_the_branches_of_a_tree_keep_their_places() -> None:
    pods = [a_seen_pod("new", revision="bbbb"), a_seen_pod("old", ready=True)]
    tree = pipeline_tree(a_seen_pipeline(), a_sight(pods=pods))

    branches = [line.split("pod ")[0].split("revision ")[0] for line in shown(tree) if "─" in line]
    in_ascii = [line.split("pod ")[0] for line in tree_text(tree, Style(ascii=True), NOW) if "pod " in line]

    assert branches == ["├─ ", "│  └─ ", "└─ ", "   └─ "]
    assert in_ascii == ["|  `- ", "   `- "]
