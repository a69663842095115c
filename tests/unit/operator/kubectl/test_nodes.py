"""`kubectl hpi nodes`: what each node offers, has and does."""

from __future__ import annotations

from typing import Final

from hpi_operator.kubectl.reports.nodes import node_line, node_list
from hpi_operator.kubectl.text.nodes import node_text, nodes_text
from hpi_operator.kubectl.text.terminal import Style
from support.kinds import manifest
from support.manifests import Document
from support.people_sights import NOW, a_condition, a_seen_node, a_workload

FAILED: Final[Document] = {
    "name": "hpi-cpu-1.0.0",
    "state": "Failed",
    "selfTest": {"state": "Failed", "message": "libnvinfer.so.10 is missing"},
}


def shown(*nodes: Document) -> list[str]:
    return list(nodes_text(node_list(nodes), Style()))


def test_the_broken_come_first_with_why_and_the_next_command() -> None:
    failed = a_condition("Ready", "False", "SelfTestFailed", "hpi-cpu-1.0.0: libnvinfer.so.10 is missing")

    lines = shown(a_seen_node("a"), a_seen_node("z", failed, runtimes=[FAILED]), {**a_seen_node("m"), "status": {}})

    assert [line.split()[0] for line in lines[1:4]] == ["z", "m", "a"]
    assert lines[1].endswith("SelfTestFailed: hpi-cpu-1.0.0: libnvinfer.so.10 is missing")
    assert lines[2].endswith("NoReport: its agent has not reported")
    assert lines[-1] == "2 of 3 not ready; next: kubectl hpi why node/z"


def test_a_runtime_that_is_wanted_and_of_which_the_agent_says_nothing_is_absent() -> None:
    [line] = node_line(a_seen_node("n1", runtimes=[])).runtimes

    assert (line.name, line.state, line.wanted, line.self_test) == ("hpi-cpu-1.0.0", "Absent", True, "")


def test_wanted_engines_are_counted_by_their_state() -> None:
    engines = [{"namespace": "shop", "name": f"e-{number}", "state": "Cached"} for number in range(3)]
    engines.append({"namespace": "shop", "name": "e-9", "state": "Building"})

    assert node_line(a_seen_node("n1", engines=engines)).engines == {"Building": 1, "Cached": 3}


def test_pods_are_counted_over_pipelines() -> None:
    works = [a_workload(pods=2), {**a_workload("building"), "revision": "bbbb"}, {**a_workload(), "pipeline": "table"}]

    [_, row] = shown(a_seen_node("n1", workloads=works))

    assert "4 pods, 2 pipelines" in row


def test_every_field_that_an_agent_may_report_finds_a_line() -> None:
    lines = list(node_text(node_line(manifest("HPINode", "full")), Style(), NOW))

    titles = {line.strip().split("  ")[0] for line in lines}
    assert {"pool", "processors", "memory", "devices", "drivers", "cache", "engines", "agent"} <= titles
    assert any(line.startswith("  RUNTIME") for line in lines)
    assert any(line.startswith("  PIPELINE") for line in lines)
