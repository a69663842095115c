"""Why a pipeline is not as wanted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from hpi_core import reasons
from hpi_core.names import PART, RUNTIME, shortened
from hpi_operator.kubectl.reports.base import Observed, Summary
from hpi_operator.kubectl.reports.causes import MAX_SHOWN, Causes, Finding, and_more, finding, finding_of
from hpi_operator.kubectl.reports.commands import Place, filled
from hpi_operator.kubectl.reports.documents import (
    Document,
    conditions,
    failure,
    is_behind,
    labels_of,
    listed,
    name_of,
    namespace_of,
    part,
    summary,
)
from hpi_operator.kubectl.reports.engines import engine_line
from hpi_operator.kubectl.reports.node_causes import self_test_finding
from hpi_operator.kubectl.reports.nodes import runtimes_on
from hpi_operator.kubectl.reports.operator_causes import operator_findings
from hpi_operator.kubectl.reports.pipelines import NOBODY
from hpi_operator.kubectl.reports.pod_causes import pod_findings, pods_to_tell
from hpi_operator.kubectl.reports.sight import Sight
from hpi_operator.kubectl.reports.tree import asked, deployment_line

ORDER: Final = (
    reasons.ACCEPTED,
    reasons.PLACED,
    reasons.CACHE_READY,
    reasons.AVAILABLE,
    reasons.PROGRESSING,
    reasons.ENGINES_READY,
    reasons.ROUTED,
    reasons.ENGINE_ACTIVE,
)
"""Conditions from cause to effect: what stands first explains what follows."""
STALLED: Final = (
    "RolledBack",
    "RevisionFailed",
    "Paused",
    "ProgressDeadlineExceeded",
    "FieldConflict",
    "ObjectRefused",
)
"""Reasons of Progressing that no waiting mends."""
WORTH_TELLING: Final = ("Spilled", "Provisional", "ScaledToZero")
"""Reasons of conditions that hold, and are not what was asked all the same."""


def pipeline_causes(pipeline: Document, sight: Sight, place: Place) -> Causes:
    """Return the chain from what does not hold to its causes."""
    about = f"HPIPipeline {namespace_of(pipeline)}/{name_of(pipeline)}"
    ready = summary(pipeline, NOBODY)
    findings: list[Finding] = []
    if is_behind(pipeline):
        generation = part(pipeline, "metadata").get("generation", 1)
        seen = part(pipeline, "status").get("observedGeneration")
        what = f"generation {generation} of its spec has not been looked at"
        message = "it has no status" if seen is None else f"its status is of generation {seen}"
        findings.append(
            finding(about, what, "NotLookedAt", place, message=message, causes=operator_findings(sight, place))
        )
    findings += _of_conditions(pipeline, about, sight, place)
    if ready.status != "True" and not findings:
        # A newer operator may have conditions that this release does not know.
        one = Observed(type=reasons.READY, status=ready.status, reason=ready.reason, message=ready.message)
        findings.append(finding_of(about, one, place))
    return Causes(object=about, ready=_ready(ready, pipeline), findings=tuple(findings), unseen=sight.unseen)


def _ready(ready: Summary, pipeline: Document) -> Summary:
    """Return whether it is ready; what is said of an older spec is said of nothing that is asked for now."""
    if ready.status == "True" and is_behind(pipeline):
        return Summary(status="Unknown", reason="NotLookedAt", message="its status is of an older spec")
    return ready


def _of_conditions(pipeline: Document, about: str, sight: Sight, place: Place) -> Iterator[Finding]:
    found = conditions(pipeline)
    # The pods are told once, under the first condition that they explain.
    pods = pod_findings(sight, place)
    told_pods = False
    blocked = any(found[type_].status != "True" for type_ in (reasons.ACCEPTED, reasons.PLACED) if type_ in found)
    for type_ in ORDER:
        one = found.get(type_)
        if one is None or _is_fine(one):
            continue
        if one.reason == "NotReported" and not _answering(sight):
            # Agents report on pods that answer.
            continue
        if blocked and not sight.pods and type_ in (reasons.AVAILABLE, reasons.PROGRESSING, reasons.ENGINE_ACTIVE):
            # It only says that the cause above has its effect.
            continue
        causes: list[Finding] = []
        if type_ == reasons.PLACED:
            causes = list(_of_placement(one, pipeline, sight, place))
        elif type_ in (reasons.AVAILABLE, reasons.PROGRESSING) and not told_pods:
            causes = [*_of_deployments(sight, place), *pods]
            told_pods = bool(pods)
            if type_ == reasons.PROGRESSING or not causes:
                causes += _last_failure(pipeline, place, pods)
        elif type_ in (reasons.ENGINE_ACTIVE, reasons.ENGINES_READY):
            causes = list(_of_engines(one, pipeline, sight, place))
        yield finding_of(about, one, place, causes)
    if not told_pods and any(line.wrong for _, line, _ in pods_to_tell(sight.pods)):
        # A new revision may fail for a while before a condition says so; the old one answers meanwhile.
        yield Finding(object=about, what="pods fail, and no condition tells of it yet", causes=tuple(pods))


def _is_fine(one: Observed) -> bool:
    if one.type == reasons.PROGRESSING:
        return one.reason not in STALLED and one.status != "Unknown"
    return one.status == "True" and one.reason not in WORTH_TELLING


def _last_failure(pipeline: Document, place: Place, pods: Sequence[Finding]) -> list[Finding]:
    """Return what is on record of a revision whose pods are gone since."""
    one = failure(part(pipeline, "status", "lastFailure"))
    if one is None or any(one.pod is not None and one.pod in pod.object for pod in pods):
        return []
    where = f"Pod {place.namespace}/{one.pod}" if one.pod else f"revision {one.revision}"
    code = "" if one.exit_code is None else f", exit code {one.exit_code}"
    container = f"container {one.container}: " if one.container else ""
    words = f"{container}{one.reason}{code}; revision {one.revision} failed"
    return [Finding(object=where, what=words, reason=one.reason, message=one.message, since=one.time)]


def _of_deployments(sight: Sight, place: Place) -> list[Finding]:
    found = []
    for one in sight.deployments:
        line = deployment_line(one)
        has_pods = any(part(pod, "metadata").get("name", "").startswith(f"{line.name}-") for pod in sight.pods)
        if line.problem and not has_pods:
            name = f"{namespace_of(one)}/{line.name}"
            command = filled(f"kubectl describe deployment {line.name} -n NAMESPACE", place)
            what = f"{line.ready_replicas} of {line.replicas} pods are ready"
            found.append(Finding(object=f"Deployment {name}", what=what, message=line.problem, next=(command,)))
    return found


def _of_placement(one: Observed, pipeline: Document, sight: Sight, place: Place) -> Iterator[Finding]:
    if one.reason != "RuntimeNotUsable":
        return
    classes = asked(pipeline).classes
    for runtime in sight.runtimes:
        usable = conditions(runtime).get(reasons.USABLE)
        if part(runtime, "spec").get("accelerator") not in classes or (usable is not None and usable.status == "True"):
            continue
        name = name_of(runtime)
        tests = list(_self_tests(name, sight, place))
        about = f"HPIRuntime {name}"
        shown = (*tests[:MAX_SHOWN], *and_more(f"Nodes with {name}", len(tests) - MAX_SHOWN))
        if usable is None:
            yield finding(about, "nobody has looked at it yet", "NotLookedAt", place, causes=shown)
            continue
        command = filled(f"kubectl get pods -A -o wide -l {PART}=self-test,{RUNTIME}={shortened(name, 63)}", place)
        yield finding_of(about, usable, place, shown).model_copy(update={"next": (command,)})


def _self_tests(runtime: str, sight: Sight, place: Place) -> Iterator[Finding]:
    for name, hpi_node in sorted(sight.hpi_nodes.items()):
        for one in runtimes_on(hpi_node):
            if one.name == runtime and one.wanted and one.self_test != "Passed":
                yield self_test_finding(name, one, place)


def _of_engines(one: Observed, pipeline: Document, sight: Sight, place: Place) -> Iterator[Finding]:
    name, namespace = name_of(pipeline), namespace_of(pipeline)
    told = 0
    speakers = sorted(sight.hpi_nodes.items()) if one.type == reasons.ENGINE_ACTIVE else []
    for node, hpi_node in speakers:
        for work in listed(hpi_node, "status", "workloads"):
            if (work.get("namespace"), work.get("pipeline")) == (namespace, name) and work.get("message"):
                told += 1
                if told <= MAX_SHOWN:
                    what = f"revision {work.get('revision')}: {_counts_in_words(work)}"
                    yield Finding(object=f"Node {node}", what=what, message=str(work["message"]))
    yield from and_more("Nodes that say why", told - MAX_SHOWN)
    for engine, document in sorted(sight.engines.items()):
        line = engine_line(engine, document)
        if line.state in ("Failed", "Building", "Undecided"):
            reason = {"Failed": "EngineFailed", "Building": "Building"}.get(line.state, "")
            command = filled(f"kubectl describe hpiengine {engine} -n NAMESPACE", place)
            what = f"{line.model}: {line.state.lower()}"
            yield finding(f"HPIEngine {namespace}/{engine}", what, reason, place, message=line.reason).model_copy(
                update={"next": (command,)}
            )
    if one.reason == "NotReported":
        silent = sorted({str(part(pod, "spec").get("nodeName") or "") for pod in _answering(sight)} - {""})
        for silent_node in silent[:MAX_SHOWN]:
            has_reported = bool(part(sight.hpi_nodes.get(silent_node, {}), "status"))
            word = "its agent does not name these pods" if has_reported else "its agent has not reported"
            yield finding(f"Node {silent_node}", word, "NoReport", replace(place, node=silent_node))
        yield from and_more("Nodes without a report", len(silent) - MAX_SHOWN)


def _answering(sight: Sight) -> list[Document]:
    serving = (pod for pod in sight.pods if labels_of(pod).get(PART, "serving") == "serving")
    return [pod for pod in serving if "Ready" in (found := conditions(pod)) and found["Ready"].status == "True"]


def _counts_in_words(work: Document) -> str:
    active = part(work, "engineActive")
    return ", ".join(f"{active[name]} {name}" for name in sorted(active) if active[name]) or "no pods"
