"""The pods of a small cluster: where they land, and what becomes of them by what a test says of their revision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final, Literal

from hpi_core.names import CLASS, REVISION, TRACK
from hpi_operator.plan.intent import ObjectKey
from hpi_operator.plan.observed import NodeView, PodView
from support.manifests import Document

Course = Literal["serves", "crashes", "image-missing", "never-ready"]

START_SECONDS: Final = 5
"""How long a pod takes to answer once it has a node."""
CRASH_SECONDS: Final = 10
"""How long a pod lives that crashes."""
LAST_WORDS: Final[Mapping[Course, str]] = {
    "crashes": "libnvinfer.so.10 is missing",
    "image-missing": "manifest unknown",
}


class Pod:
    """One pod."""

    def __init__(self, name: str, deployment: ObjectKey, template: Document, digest: str, created_at: datetime) -> None:
        self.name = name
        self.deployment = deployment
        self.template = template
        self.digest = digest
        """Of the template."""
        self.created_at = created_at
        self.node: str | None = None
        self.scheduled_at: datetime | None = None
        self.unschedulable_since: datetime | None = None
        self.ready_at: datetime | None = None
        self.restarts = 0
        self.waiting: str | None = None

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        labels: Mapping[str, str] = self.template["metadata"]["labels"]
        return labels

    @property
    def revision(self) -> str:
        """Revision that it is of."""
        return self.labels[REVISION]

    def run(self, course: Course, now: datetime) -> None:
        """Do what its containers do until now."""
        if self.node is None or self.scheduled_at is None or self.ready_at is not None:
            return
        age = (now - self.scheduled_at).total_seconds()
        if course == "image-missing":
            self.waiting = "ImagePullBackOff"
        elif course == "crashes":
            self.restarts = int(age // CRASH_SECONDS)
            self.waiting = "CrashLoopBackOff" if self.restarts else None
        elif course == "serves" and age >= START_SECONDS:
            self.waiting, self.ready_at = None, now

    def view(self, course: Course) -> PodView:
        """Return it as the operator sees it."""
        waits = self.unschedulable_since is not None
        return PodView(
            name=self.name,
            uid=f"uid-{self.name}",
            revision=self.revision,
            class_=self.labels[CLASS],
            track=self.labels[TRACK],
            node=self.node,
            phase="Pending" if self.node is None else "Running",
            ready=self.ready_at is not None,
            created_at=self.created_at,
            restarts=self.restarts,
            waiting_reason=self.waiting,
            message="0/1 nodes are available" if waits else LAST_WORDS.get(course, ""),
            container="serve",
            exit_code=1 if self.restarts else None,
            unschedulable_since=self.unschedulable_since,
            scheduled_at=self.scheduled_at,
            ready_at=self.ready_at,
        )


def schedule(pods: Iterable[Pod], nodes: Iterable[NodeView], now: datetime) -> None:
    """Give pods nodes: those that are ready, have the labels that are asked for, and devices left."""
    views = list(nodes)
    free = {one.name: {name: count for name, count in one.allocatable.items() if "/" in name} for one in views}
    waiting = []
    for pod in pods:
        if pod.node in free:
            _take(free[pod.node], pod)
            continue
        # One whose node has gone is made again elsewhere.
        pod.node = pod.ready_at = pod.scheduled_at = None
        waiting.append(pod)
    for pod in waiting:
        found = next((one for one in views if _fits(one, free[one.name], pod)), None)
        if found is None:
            pod.unschedulable_since = pod.unschedulable_since or now
            continue
        _take(free[found.name], pod)
        pod.node, pod.scheduled_at, pod.unschedulable_since = found.name, now, None


def _fits(node: NodeView, free: Mapping[str, int], pod: Pod) -> bool:
    spec = pod.template["spec"]
    if not node.ready or node.unschedulable:
        return False
    if any(node.labels.get(key) != value for key, value in spec["nodeSelector"].items()):
        return False
    if any(free.get(name, 0) < count for name, count in _asked(pod).items()):
        return False
    nodes = spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    terms = nodes.get("nodeSelectorTerms")
    return not terms or any(
        all(node.labels.get(one["key"]) in one["values"] for one in term.get("matchExpressions", ())) for term in terms
    )


def _asked(pod: Pod) -> dict[str, int]:
    limits = pod.template["spec"]["containers"][0].get("resources", {}).get("limits", {})
    return {name: int(count) for name, count in limits.items() if "/" in name}


def _take(free: dict[str, int], pod: Pod) -> None:
    for name, count in _asked(pod).items():
        free[name] = free.get(name, 0) - count
