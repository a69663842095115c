"""Pods of a pipeline: the state of each in one word, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from hpi_core.names import PART
from hpi_core.reasons import Reason
from hpi_operator.kubectl.reports.base import Counts, Report
from hpi_operator.kubectl.reports.documents import Document, counts, labels_of, listed, part
from hpi_operator.observe.projections import pod as seen_pod
from hpi_operator.plan.failures import is_failing
from hpi_operator.plan.observed import PodView

READY: Final = "Ready"

IMAGE_REMEDY: Final = (
    "Read the message: a wrong name or digest in the HPIRuntime, a registry that is away, a missing pull secret."
)

STATES: Final[Mapping[str, Reason]] = {
    one.name: one
    for one in (
        Reason(READY, "A real inference has passed on the engine that now serves.", "Nothing."),
        Reason("Starting", "Its container runs, and no inference has passed yet.", "Wait, or read its log."),
        Reason("Pending", "It has a node, and its container does not run yet.", "Wait, or read its events."),
        Reason(
            "Unschedulable",
            "No node takes it.",
            "Read the scheduler's words: free devices, taints, nodes whose self-test has not passed.",
        ),
        Reason("Ending", "It is being deleted, and finishes what it has accepted.", "Nothing."),
        Reason(
            "CrashLoopBackOff",
            "Its container ended again and again.",
            "Read the log of the container that ended: kubectl logs --previous.",
        ),
        Reason(
            "OOMKilled",
            "Its container took more memory than its limit.",
            "Raise the limit, or lower spec.build.deviceMemoryBytes and the limits on pixels and pages.",
        ),
        Reason(
            "ImagePullBackOff",
            "The image cannot be pulled.",
            IMAGE_REMEDY,
        ),
        Reason(
            "ErrImagePull",
            "The image could not be pulled; the kubelet tries again.",
            IMAGE_REMEDY,
        ),
        Reason(
            "CreateContainerConfigError",
            "Its container cannot be made as it is described.",
            "Read the message: a ConfigMap, a Secret or a key that is not there.",
        ),
        Reason("Error", "Its container ended with an error.", "Read the log of the container that ended."),
        Reason("Completed", "It ended in order; a pod that builds ahead does so.", "Nothing."),
    )
}
"""Words for the state of a pod; other words are Kubernetes' own reasons."""


class PodLine(Report):
    """One pod."""

    name: str
    """Its name."""
    node: str | None = None
    """Node that it runs on. Absent: none yet."""
    hardware_class: str = ""
    """Class of hardware, in lower case."""
    state: str
    """One word: `Ready`, `Starting`, `Unschedulable`, `CrashLoopBackOff`, …"""
    wrong: bool = False
    """Whether no waiting mends it."""
    restarts: int = 0
    """Restarts of its containers."""
    container: str | None = None
    """The container that the state is about."""
    exit_code: int | None = None
    """How it ended last."""
    message: str = ""
    """Last words of the container, or the scheduler's."""
    engine_active: Counts | None = None
    """What the node's agent says of all pods of this revision on that node. Absent: it has said nothing."""
    engines: tuple[str, ...] = ()
    """HPIEngines that they use."""
    told: str = ""
    """Why they are not on measured engines."""


def pod_lines(pods: Iterable[Document], hpi_nodes: Mapping[str, Document], pipeline: str) -> dict[str, list[PodLine]]:
    """Return the pods of each revision, those that fail first.

    Args:
        pods: Objects that carry the pipeline's label; those that do not serve are left out.
        hpi_nodes: HPINodes by name, whose agents speak for the pods.
        pipeline: Name of the pipeline.
    """
    found: dict[str, list[PodLine]] = {}
    for one in pods:
        if labels_of(one).get(PART, "serving") != "serving":
            continue
        view = seen_pod(one)
        namespace = str(part(one, "metadata").get("namespace"))
        work = workload(hpi_nodes.get(view.node or ""), namespace, pipeline, view.revision)
        found.setdefault(view.revision, []).append(pod_line(one, view, work))
    return {revision: sorted(lines, key=_urgency) for revision, lines in found.items()}


def pod_line(pod: Document, view: PodView, work: Document) -> PodLine:
    """Return what is told of one pod, and what the agent of its node says."""
    word = state(pod, view)
    return PodLine(
        name=view.name,
        node=view.node,
        hardware_class=view.class_,
        state=word,
        wrong=not view.deleting and (is_failing(view) or word in ("Unschedulable", "OOMKilled")),
        restarts=view.restarts,
        container=view.container,
        exit_code=view.exit_code,
        message="" if word == READY else view.message,
        engine_active=counts(part(work, "engineActive")) if work and view.ready else None,
        engines=tuple(str(one) for one in work.get("engines") or ()) if view.ready else (),
        told=str(work.get("message") or "") if view.ready else "",
    )


def state(pod: Document, view: PodView) -> str:
    """Return the state of a pod in one word."""
    if view.deleting:
        return "Ending"
    if view.ready:
        return READY
    if view.phase == "Succeeded":
        return "Completed"
    if view.node is None:
        return "Unschedulable" if view.unschedulable_since is not None else "Pending"
    if _out_of_memory(pod):
        return "OOMKilled"
    if view.waiting_reason not in (None, "ContainerCreating", "PodInitializing"):
        return str(view.waiting_reason)
    if view.phase == "Failed" or is_failing(view):
        return str(part(pod, "status").get("reason") or "Error")
    return "Starting" if view.phase == "Running" else "Pending"


def _out_of_memory(pod: Document) -> bool:
    return any(
        part(one, when, "terminated").get("reason") == "OOMKilled"
        for one in listed(pod, "status", "containerStatuses")
        if not one.get("ready")
        for when in ("state", "lastState")
    )


def workload(hpi_node: Document | None, namespace: str, pipeline: str, revision: str) -> Document:
    """Return what the agent of a node says of the pods of a revision; empty: nothing."""
    wanted = namespace, pipeline, revision
    for one in () if hpi_node is None else listed(hpi_node, "status", "workloads"):
        if (one.get("namespace"), one.get("pipeline"), one.get("revision")) == wanted:
            return one
    return {}


def _urgency(line: PodLine) -> tuple[bool, bool, int, str]:
    return not line.wrong, line.state == READY, -line.restarts, line.name
