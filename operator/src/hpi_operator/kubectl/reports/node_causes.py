"""Why a node is not as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from hpi_core import reasons
from hpi_core.names import PART, RUNTIME, shortened
from hpi_operator.kubectl.reports.base import Summary
from hpi_operator.kubectl.reports.causes import Causes, Finding, finding, finding_of
from hpi_operator.kubectl.reports.commands import AGENTS, Place, filled
from hpi_operator.kubectl.reports.documents import Document, conditions, is_behind, listed, part
from hpi_operator.kubectl.reports.nodes import NOBODY, RuntimeOnNode, node_line, node_summary, runtimes_on
from hpi_operator.kubectl.reports.operator_causes import operator_findings
from hpi_operator.kubectl.reports.sight import Sight


def node_causes(name: str, sight: Sight, place: Place) -> Causes:
    """Return the chain from what does not hold on a node to its causes."""
    place = replace(place, node=name)
    node, hpi_node = sight.nodes.get(name), sight.hpi_nodes.get(name)
    findings = [*_of_node(name, node, place), *_of_hpi_node(name, hpi_node, sight, place)]
    cordon = _cordon(name, node, place)
    if cordon and not any(cordon[0] in one.causes for one in findings):
        findings = [*cordon, *findings]
    return Causes(
        object=f"Node {name}", ready=_ready(name, node, hpi_node, place), findings=tuple(findings), unseen=sight.unseen
    )


INSTALLATION: Final = {"Failed": "RuntimeInstallFailed", "Installing": "RuntimeInstalling"}
"""Reasons for states of a runtime that the node's agent installs."""


def self_test_finding(node: str, runtime: RuntimeOnNode, place: Place) -> Finding:
    """Return the link for a self-test that has not passed."""
    selector = f"{PART}=self-test,{RUNTIME}={shortened(runtime.name, 63)}"
    pods = filled(f"kubectl get pods -A -o wide -l {selector} --field-selector spec.nodeName={node}", place)
    reason = {"Failed": "SelfTestFailed", "Running": "SelfTestRunning"}.get(runtime.self_test, "")
    if reason:
        what = f"self-test of {runtime.name}: {runtime.self_test}"
    elif runtime.state in INSTALLATION:
        what, reason = f"{runtime.name}: {runtime.state}", INSTALLATION[runtime.state]
        pods = filled(AGENTS, place)
    elif runtime.state == "Absent":
        what = f"{runtime.name} is wanted, and the agent says nothing of it"
    else:
        what = f"{runtime.name} is {runtime.state}, and has not been tested yet"
    found = finding(f"Node {node}", what, reason, place, message=runtime.message)
    return found.model_copy(update={"next": (pods,)})


def _ready(name: str, node: Document | None, hpi_node: Document | None, place: Place) -> Summary:
    for one in _of_node(name, node, place):
        return Summary(status="False", reason=one.reason, message=one.message or one.what, since=one.since)
    if hpi_node is None:
        return Summary(status="Unknown", reason="NotLookedAt", message="the operator has made no HPINode of it")
    return node_summary(hpi_node)


def _of_node(name: str, node: Document | None, place: Place) -> Iterator[Finding]:
    if node is None:
        return
    ready = conditions(node).get("Ready")
    if ready is None or ready.status != "True":
        message = "Kubernetes has not heard of it" if ready is None else f"{ready.reason}: {ready.message}"
        since = "" if ready is None else ready.since
        yield finding(
            f"Node {name}", "Kubernetes calls it not ready", "NodeNotReady", place, message=message, since=since
        )


def _cordon(name: str, node: Document | None, place: Place) -> list[Finding]:
    if node is None or not part(node, "spec").get("unschedulable"):
        return []
    return [
        Finding(
            object=f"Node {name}",
            what="it is cordoned: no new pod lands there, and no self-test",
            remedy="Uncordon it when its maintenance is over.",
            next=(filled(f"kubectl uncordon {name}", place),),
        )
    ]


def _of_hpi_node(name: str, hpi_node: Document | None, sight: Sight, place: Place) -> Iterator[Finding]:
    about = f"HPINode {name}"
    if hpi_node is None:
        if not any("hpinodes" in one for one in sight.unseen):
            what = "there is none: the operator has not looked at the node"
            yield finding(about, what, "NotLookedAt", place, causes=operator_findings(sight, place))
        return
    ready = conditions(hpi_node).get(reasons.READY)
    tests = [
        self_test_finding(name, one, place) for one in runtimes_on(hpi_node) if one.wanted and one.self_test != "Passed"
    ]
    if any(one.reason != "SelfTestFailed" for one in tests):
        # A self-test is a pod, and needs a node that takes pods.
        tests += _cordon(name, sight.nodes.get(name), place)
    if ready is None:
        yield finding(about, NOBODY, "NoReport", place, causes=tests)
    elif ready.status != "True":
        yield finding_of(about, ready, place, tests)
    elif is_behind(hpi_node):
        what = "its status is of an older spec: the agent has not looked since"
        yield finding(about, what, "NoReport", place, causes=tests)
    else:
        yield from tests
    if not listed(hpi_node, "spec", "runtimes") and (ready is None or ready.reason != "NoRuntimeFits"):
        pool = part(hpi_node, "spec").get("pool")
        what = "no runtime is wanted there" + ("" if pool else ", because no HPINodePool selects it")
        yield finding(about, what, "NoRuntimeFits", place)
    cache = conditions(hpi_node).get(reasons.CACHE_READY)
    if cache is not None and cache.status == "False":
        yield finding_of(about, cache, place, ())
    line = node_line(hpi_node)
    if line.notes and (ready is None or ready.reason != "HardwareFaulty"):
        yield finding(about, "the hardware has notes", "HardwareFaulty", place, message="; ".join(line.notes))
    if line.upgrade.startswith("Failed"):
        yield Finding(object=about, what="its upgrade failed", message=line.upgrade)
    for work in line.workloads:
        if work.message:
            yield Finding(
                object=f"HPIPipeline {work.namespace}/{work.pipeline}",
                what=f"revision {work.revision} does not serve on measured engines here",
                message=work.message,
                next=(filled(f"kubectl hpi why pipeline/{work.pipeline} -n {work.namespace}", place),),
            )
