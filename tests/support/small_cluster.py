"""A cluster small enough to be a dictionary: it takes plans, and its controllers do with Deployments what real ones do.

    cluster = SmallCluster(a_pipeline(replicas=3), [a_node("n")])
    cluster.settle()                                      # passes and controllers, until nothing moves any more
    cluster.change(replicas=5)

What is real: the plan, Deployments with surge and pods that may be away, a scheduler that counts devices, pods that
start, crash or lack their image by what the test says of their revision, progress deadlines, Jobs, statuses as they are
stored. What is not: time passes only in `wait`.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.pipeline_status import PipelineStatus
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.digest import canonical_json, digest_of_json
from hpi_core.names import CLASS, REVISION, TRACK
from hpi_operator.act.drift import differs, stamped
from hpi_operator.plan.intent import Manifest, ObjectKey, Plan, key_of
from hpi_operator.plan.observed import NodeGroup, NodeView, ObservedPipeline, PodView
from hpi_operator.plan.pipeline import plan_pipeline
from support.manifests import Document
from support.nodes import PlayedNode
from support.observed import CLASSES, NOW, SETTINGS, UID, a_seen_node, a_supply, usual_runtimes

Course = Literal["serves", "crashes", "image-missing", "never-ready"]

START_SECONDS: Final = 5
"""How long a pod takes to answer once it has a node."""
CRASH_SECONDS: Final = 10
QUIET_SECONDS: Final = 180
DEPLOYMENTS: Final = "Deployment"


class Pod:
    """One pod of the cluster."""

    def __init__(self, name: str, deployment: ObjectKey, template: Document, digest: str, created_at: datetime) -> None:
        self.name = name
        self.deployment = deployment
        self.template = template
        self.digest = digest
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


class SmallCluster:
    """One pipeline and the cluster around it."""

    def __init__(
        self,
        pipeline: HPIPipeline,
        nodes: Iterable[PlayedNode],
        *,
        runtimes: Iterable[HPIRuntime] | None = None,
        apis: Iterable[str] = (),
        references: Mapping[ObjectKey, str | None] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.generation = 1
        self.now = NOW
        self.nodes = list(nodes)
        self.runtimes = tuple(usual_runtimes() if runtimes is None else runtimes)
        self.apis = frozenset(apis)
        self.references = dict(references or {})
        self.objects: dict[ObjectKey, Document] = {}
        self.pods: dict[str, Pod] = {}
        self.courses: dict[str, Course] = {}
        """What becomes of the pods of a revision; those that are not named serve."""
        self.jobs_end: Literal["complete", "fail", "never"] = "complete"
        self.engines: tuple[HPIEngine, ...] = ()
        self.writes: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.fewest_ready = 0
        """Fewest ready pods since `watch`."""
        self._deadlines: dict[ObjectKey, tuple[str, int, datetime]] = {}
        self._complete: dict[ObjectKey, str] = {}
        self._names = 0
        self._seen: object = None
        self._settled: dict[ObjectKey, tuple[Manifest, int]] = {}
        """What was found to be as it is stated, so that nothing is compared twice."""
        self._viewed: tuple[tuple[PlayedNode, ...], list[tuple[PlayedNode, NodeView]]] | None = None
        self._digests: dict[tuple[str, int], str] = {}
        self._supply: tuple[NodeGroup, ...] = ()

    # What people do.

    def change(self, **spec: Any) -> None:
        """Set fields of the pipeline's spec; `...` takes one out."""
        written = self.pipeline.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        merged = {key: value for key, value in {**written, **spec}.items() if value is not ...}
        self.pipeline = HPIPipeline.model_validate(
            {
                "apiVersion": self.pipeline.api_version,
                "kind": "HPIPipeline",
                "metadata": self.pipeline.metadata.model_dump(mode="json", exclude_none=True),
                "spec": merged,
            }
        ).model_copy(update={"status": self.pipeline.status})
        self.generation += 1

    def scale(self, deployment: str, replicas: int) -> None:
        """Do what an autoscaler does: write the replicas of a Deployment."""
        self._settled.clear()
        live = self.named(DEPLOYMENTS, deployment)
        live["spec"]["replicas"] = replicas
        live["metadata"]["generation"] += 1
        for key, scaler in self.objects.items():
            if key.kind == "HorizontalPodAutoscaler" and scaler["spec"]["scaleTargetRef"]["name"] == deployment:
                scaler["status"] = {"lastScaleTime": self.now.isoformat()}

    # What the operator does.

    def observe(self) -> ObservedPipeline:
        """Look at everything."""
        seen = (tuple(self.nodes), self.runtimes)
        if self._seen != seen:
            self._seen = seen
            self._supply = a_supply(*self.nodes, runtimes=[one.metadata.name for one in self.runtimes])
        return ObservedPipeline(
            pipeline=self.pipeline,
            uid=UID,
            generation=self.generation,
            created_at=NOW,
            supply=self._supply,
            runtimes=self.runtimes,
            now=self.now,
            settings=SETTINGS,
            children=dict(self.objects),
            pods=tuple(self._view(pod) for pod in self.pods.values()),
            engines=self.engines,
            references=self.references,
            apis=self.apis,
        )

    def plan(self) -> Plan:
        """Decide."""
        return plan_pipeline(self.observe(), CLASSES)

    def make_pass(self) -> int:
        """Observe, plan, perform; return how many writes it took."""
        plan = self.plan()
        before = len(self.writes)
        for manifest in plan.apply:
            self._apply(manifest)
        for deletion in plan.delete:
            assert self.objects[deletion.key]["metadata"]["uid"] == deletion.uid
            self._delete(deletion.key)
        if plan.status is not None:
            self._state(plan.status)
        self.events += [(one.reason, one.message) for one in plan.events]
        return len(self.writes) - before

    def _apply(self, manifest: Manifest) -> None:
        key = key_of(manifest)
        if self._settled.get(key) == (manifest, id(self.objects.get(key))):
            return
        intent: Document = json.loads(canonical_json(stamped(manifest)))
        if key.kind == "HPIEngine":
            self.engines = (*self.engines, HPIEngine.model_validate({**intent, "metadata": _plain(intent)}))
            self.writes.append(str(key))
            return
        live = self.objects.get(key)
        if not differs(live, intent):
            self._settled[key] = (manifest, id(live))
            return
        self.writes.append(str(key))
        if live is None:
            self._names += 1
            made = {"uid": f"uid-{self._names}", "generation": 1, "creationTimestamp": self.now.isoformat()}
            intent["metadata"] = {**intent["metadata"], **made}
            if key.kind == DEPLOYMENTS:
                intent["spec"].setdefault("replicas", 1)
            self.objects[key] = intent
            return
        if live.get("immutable"):
            assert live["data"] == intent["data"], f"{key} is immutable"
        kept = {name: live["metadata"][name] for name in ("uid", "generation", "creationTimestamp")}
        if key.kind == DEPLOYMENTS:
            # Fields that nobody states any more keep what their other owner wrote.
            intent["spec"].setdefault("replicas", live["spec"]["replicas"])
        if live.get("spec") != intent.get("spec"):
            kept["generation"] += 1
        status = {"status": live["status"]} if "status" in live else {}
        self.objects[key] = {**intent, **status, "metadata": {**intent["metadata"], **kept}}

    def _delete(self, key: ObjectKey) -> None:
        self.writes.append(f"delete {key}")
        del self.objects[key]
        self.pods = {name: pod for name, pod in self.pods.items() if pod.deployment != key}

    def _state(self, status: Manifest) -> None:
        stored = PipelineStatus.model_validate(json.loads(canonical_json(status)))
        written = stored.model_dump(mode="json", by_alias=True, exclude_none=True)
        before = self.pipeline.status
        if before is None or before.model_dump(mode="json", by_alias=True, exclude_none=True) != written:
            self.writes.append("status")
            self.pipeline = self.pipeline.model_copy(update={"status": stored})

    # What controllers, scheduler and kubelets do.

    def control(self) -> None:
        """Let controllers and scheduler do what they can at this moment."""
        for key, live in sorted(self.objects.items()):
            if key.kind == DEPLOYMENTS:
                self._roll(key, live)
            elif key.kind == "Job" and self.jobs_end != "never":
                kind = "Complete" if self.jobs_end == "complete" else "Failed"
                live["status"] = {"conditions": [{"type": kind, "status": "True", "message": "BackoffLimitExceeded"}]}
            elif key.kind == "PersistentVolumeClaim":
                live["status"] = {"phase": "Bound"}
            elif key.kind == "HTTPRoute":
                live["status"] = {"parents": [{"parentRef": {"name": "g"}, "conditions": []}]}
        self._schedule()
        for pod in self.pods.values():
            self._run(pod)
        for key, live in self.objects.items():
            if key.kind == DEPLOYMENTS:
                self._report(key, live)
        self.fewest_ready = min(self.fewest_ready, self.ready())

    def _roll(self, key: ObjectKey, live: Document) -> None:
        """Do one step of a rolling update.

        Source:
            kubernetes 1.34, `pkg/controller/deployment/rolling.go`: new pods up to replicas and surge; old pods down to
            what must be available, those that are not ready first.
        """
        spec, template = live["spec"], live["spec"]["template"]
        digest = self._digest(live)
        pods = [pod for pod in self.pods.values() if pod.deployment == key]
        new = [pod for pod in pods if pod.digest == digest]
        old = [pod for pod in pods if pod.digest != digest]
        replicas = spec["replicas"]
        rolling = spec["strategy"]["rollingUpdate"]
        away, surge = (_share(rolling[name], replicas) for name in ("maxUnavailable", "maxSurge"))
        if spec["paused"] and (old or not new):
            for pod in _spare(pods, len(pods) - replicas):
                del self.pods[pod.name]
            return
        for pod in _spare(new, len(new) - replicas):
            del self.pods[pod.name]
        room = min(replicas - len(new), replicas + (surge if old else 0) - len(pods))
        for _ in range(room):
            self._names += 1
            name = f"{key.name}-{self._names}"
            self.pods[name] = Pod(name, key, copy.deepcopy(template), digest, self.now)
        if old:
            ready = sum(pod.ready_at is not None for pod in pods)
            not_ready_old = [pod for pod in old if pod.ready_at is None]
            new_not_ready = sum(pod.ready_at is None for pod in new)
            spare = len(pods) - (replicas - away) - new_not_ready
            for pod in _spare(not_ready_old, min(spare, len(not_ready_old))):
                del self.pods[pod.name]
            for pod in _spare([one for one in old if one.ready_at is not None], ready - (replicas - away)):
                del self.pods[pod.name]

    def _digest(self, live: Document) -> str:
        of = (live["metadata"]["uid"], live["metadata"]["generation"])
        if of not in self._digests:
            self._digests[of] = digest_of_json(live["spec"]["template"])
        return self._digests[of]

    def _schedule(self) -> None:
        free = {}
        for node, view in self._views():
            free[node.name] = {name: count for name, count in view.allocatable.items() if "/" in name}
        for pod in self.pods.values():
            if pod.node in free:
                _take(free[pod.node], pod.template)
            elif pod.node is not None:
                # Its node has gone: another pod will be made in its place.
                pod.node = pod.ready_at = pod.scheduled_at = None
        for pod in self.pods.values():
            if pod.node is not None:
                continue
            found = next((node for node, view in self._views() if _fits(view, free[node.name], pod.template)), None)
            if found is None:
                pod.unschedulable_since = pod.unschedulable_since or self.now
                continue
            _take(free[found.name], pod.template)
            pod.node, pod.scheduled_at, pod.unschedulable_since = found.name, self.now, None

    def _views(self) -> list[tuple[PlayedNode, NodeView]]:
        if self._viewed is None or self._viewed[0] != tuple(self.nodes):
            self._viewed = (tuple(self.nodes), [(node, a_seen_node(node)) for node in self.nodes])
        return self._viewed[1]

    def _run(self, pod: Pod) -> None:
        if pod.node is None or pod.scheduled_at is None:
            return
        age = (self.now - pod.scheduled_at).total_seconds()
        course = self.courses.get(pod.revision, "serves")
        if course == "image-missing" and pod.ready_at is None:
            pod.waiting = "ImagePullBackOff"
        elif course == "crashes" and pod.ready_at is None:
            pod.restarts = int(age // CRASH_SECONDS)
            pod.waiting = "CrashLoopBackOff" if pod.restarts else None
        elif course == "serves" and age >= START_SECONDS:
            pod.waiting = None
            pod.ready_at = pod.ready_at or self.now

    def _report(self, key: ObjectKey, live: Document) -> None:
        pods = [pod for pod in self.pods.values() if pod.deployment == key]
        digest = self._digest(live)
        updated = [pod for pod in pods if pod.digest == digest]
        ready = [pod for pod in pods if pod.ready_at is not None]
        # Progress is another template, or another number of pods that answer: then the deadline begins anew.
        progress, since = (digest, len([pod for pod in updated if pod.ready_at])), self.now
        known = self._deadlines.get(key)
        if known is not None and known[:2] == progress and not live["spec"]["paused"]:
            since = known[2]
        self._deadlines[key] = (*progress, since)
        if len(updated) == len(pods) == len(ready) == live["spec"]["replicas"]:
            # A template that was everywhere once is not judged again: not when it is scaled either.
            self._complete[key] = digest
        late = (self.now - since).total_seconds() > live["spec"]["progressDeadlineSeconds"]
        condition = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}
        if late and self._complete.get(key) != digest and not live["spec"]["paused"]:
            condition = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": len(pods),
            "updatedReplicas": len(updated),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready),
            "conditions": [condition],
        }

    def _view(self, pod: Pod) -> PodView:
        course = self.courses.get(pod.revision, "serves")
        message = {"crashes": "libnvinfer.so.10 is missing", "image-missing": "manifest unknown"}.get(course, "")
        if pod.unschedulable_since is not None:
            message = "0/1 nodes are available"
        return PodView(
            name=pod.name,
            uid=f"uid-{pod.name}",
            revision=pod.revision,
            class_=pod.labels[CLASS],
            track=pod.labels[TRACK],
            node=pod.node,
            phase="Pending" if pod.node is None else "Running",
            ready=pod.ready_at is not None,
            created_at=pod.created_at,
            restarts=pod.restarts,
            waiting_reason=pod.waiting,
            message=message,
            container="serve",
            exit_code=1 if pod.restarts else None,
            unschedulable_since=pod.unschedulable_since,
            scheduled_at=pod.scheduled_at,
            ready_at=pod.ready_at,
        )

    # Time.

    def wait(self, seconds: float, step_seconds: float = 5.0) -> None:
        """Let time pass, with passes and controllers at every step."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=step_seconds))
            self._turn()

    def settle(self, seconds: float = 3_600) -> None:
        """Let time pass until nothing has moved for three minutes.

        Raises:
            AssertionError: Something still moves after so many seconds.
        """
        quiet, end = 0.0, self.now + timedelta(seconds=seconds)
        while quiet < QUIET_SECONDS:
            assert self.now < end, f"still moving: {self.writes[-10:]}"
            before = (len(self.writes), set(self.pods), self.ready())
            self.wait(10.0)
            quiet = quiet + 10.0 if before == (len(self.writes), set(self.pods), self.ready()) else 0.0

    def until(self, holds: Callable[[], bool], seconds: float = 3_600) -> None:
        """Let time pass until something holds."""
        end = self.now + timedelta(seconds=seconds)
        while not holds():
            assert self.now < end, "it did not come to hold"
            self.wait(5.0)

    def _turn(self) -> None:
        # Passes follow changes at once: two are enough for what one of them has made.
        self.make_pass()
        self.control()
        self.make_pass()
        self.control()

    def watch(self) -> None:
        """Begin to look for the fewest ready pods."""
        self.fewest_ready = self.ready()

    # What a test looks at.

    def ready(self, class_: str | None = None, revision: str | None = None) -> int:
        """Return how many pods answer."""
        return sum(
            pod.ready_at is not None and class_ in (None, pod.labels[CLASS]) and revision in (None, pod.revision)
            for pod in self.pods.values()
        )

    def named(self, kind: str, name: str) -> Document:
        """Return a live object."""
        return next(live for key, live in self.objects.items() if (key.kind, key.name) == (kind, name))

    def names(self, kind: str) -> list[str]:
        """Return the names of the live objects of a kind."""
        return sorted(key.name for key in self.objects if key.kind == kind)

    def replicas(self) -> dict[str, int]:
        """Return the replicas of each live Deployment."""
        return {
            key.name: live["spec"]["replicas"] for key, live in sorted(self.objects.items()) if key.kind == DEPLOYMENTS
        }

    @property
    def status(self) -> PipelineStatus:
        """The pipeline's status."""
        assert self.pipeline.status is not None
        return self.pipeline.status

    def condition(self, type_: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        one = next(one for one in self.status.conditions if one.type == type_)
        return one.status, one.reason, one.message


def with_engines_decided(engines: Iterable[HPIEngine]) -> tuple[HPIEngine, ...]:
    """Return engines as agents leave them when they have decided."""
    return tuple(
        HPIEngine.model_validate(
            {
                **one.model_dump(mode="json", by_alias=True, exclude_none=True),
                "status": {
                    "chosen": "openvino",
                    "candidates": [
                        {"name": "openvino", "backend": "openvino", "precision": "float32", "verdict": "Chosen"}
                    ],
                },
            }
        )
        for one in engines
    )


def _plain(manifest: Document) -> Document:
    return {key: manifest["metadata"][key] for key in ("name", "namespace")}


def _share(count: int | str, of: int) -> int:
    return count if isinstance(count, int) else math.ceil(of * int(count.rstrip("%")) / 100)


def _spare(pods: Iterable[Pod], count: int) -> list[Pod]:
    """Return pods to delete: those without a node first, then those that do not answer, then the youngest."""
    ordered = sorted(pods, key=lambda pod: (pod.node is not None, pod.ready_at is not None, pod.name))
    return ordered[: max(0, count)]


def _fits(view: NodeView, free: Mapping[str, int], template: Document) -> bool:
    spec = template["spec"]
    if not view.ready or view.unschedulable:
        return False
    if any(view.labels.get(key) != value for key, value in spec["nodeSelector"].items()):
        return False
    asked = _asked(template)
    if any(free.get(name, 0) < count for name, count in asked.items()):
        return False
    terms = (
        ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
        or {}
    ).get("nodeSelectorTerms")
    return not terms or any(
        all(view.labels.get(one["key"]) in one["values"] for one in term.get("matchExpressions", ())) for term in terms
    )


def _asked(template: Document) -> dict[str, int]:
    limits = template["spec"]["containers"][0].get("resources", {}).get("limits", {})
    return {name: int(count) for name, count in limits.items() if "/" in name}


def _take(free: dict[str, int], template: Document) -> None:
    for name, count in _asked(template).items():
        free[name] = free.get(name, 0) - count
