"""A cluster small enough to be a dictionary: it takes plans, and its controllers do what real ones do with them.

    cluster = SmallCluster(a_pipeline(replicas=3), [a_node("n")])
    cluster.settle()                                      # passes and controllers, until nothing moves any more
    cluster.change(replicas=5)

What is real: the plan, Deployments with surge and pods that may be away, a scheduler that counts devices, pods that
start, crash or lack their image by what the test says of their revision, progress deadlines, statuses as they are
stored. What is not: time passes only in `wait`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.pipeline_status import PipelineStatus
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.digest import canonical_json
from hpi_core.names import CLASS
from hpi_operator.act.drift import differs, stamped
from hpi_operator.plan.intent import Manifest, ObjectKey, Plan, key_of
from hpi_operator.plan.observed import NodeGroup, NodeView, ObservedPipeline
from hpi_operator.plan.pipeline import plan_pipeline
from support.manifests import Document
from support.nodes import PlayedNode
from support.observed import CLASSES, NOW, SETTINGS, UID, a_seen_node, a_supply, usual_runtimes
from support.small_deployments import DeploymentController
from support.small_pods import Course, Pod, schedule

QUIET_SECONDS: Final = 180
DEPLOYMENT: Final = "Deployment"

__all__ = ["Course", "SmallCluster", "with_engines_decided"]


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
        self.now: datetime = NOW
        self.nodes = list(nodes)
        self.runtimes = tuple(usual_runtimes() if runtimes is None else runtimes)
        self.apis = frozenset(apis)
        self.references = dict(references or {})
        self.objects: dict[ObjectKey, Document] = {}
        self.courses: dict[str, Course] = {}
        """What becomes of the pods of a revision; those that are not named serve."""
        self.jobs_end: Literal["complete", "fail", "never"] = "complete"
        self.engines: tuple[HPIEngine, ...] = ()
        self.writes: list[str] = []
        self.events: list[tuple[str, str]] = []
        self.fewest_ready = 0
        """Fewest ready pods since `watch`."""
        self._controller = DeploymentController()
        self._made = 0
        self._settled: dict[ObjectKey, tuple[Manifest, int]] = {}
        """What was found to be as it is stated, so that nothing is compared twice."""
        self._supply: tuple[object, tuple[NodeGroup, ...]] = (None, ())
        self._views: tuple[object, list[NodeView]] = (None, [])

    # What people do.

    def change(self, **spec: Any) -> None:
        """Set fields of the pipeline's spec; `...` takes one out."""
        written = self.pipeline.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
        merged = {key: value for key, value in {**written, **spec}.items() if value is not ...}
        document = {
            "apiVersion": self.pipeline.api_version,
            "kind": "HPIPipeline",
            "metadata": self.pipeline.metadata.model_dump(mode="json", exclude_none=True),
            "spec": merged,
        }
        changed = HPIPipeline.model_validate(document)
        self.pipeline = changed.model_copy(update={"status": self.pipeline.status})
        self.generation += 1

    def scale(self, deployment: str, replicas: int) -> None:
        """Do what an autoscaler does: write the replicas of a Deployment."""
        self._settled.clear()
        live = self.named(DEPLOYMENT, deployment)
        live["spec"]["replicas"] = replicas
        live["metadata"]["generation"] += 1
        for key, scaler in self.objects.items():
            if key.kind == "HorizontalPodAutoscaler" and scaler["spec"]["scaleTargetRef"]["name"] == deployment:
                scaler["status"] = {"lastScaleTime": self.now.isoformat()}

    # What the operator does.

    def observe(self) -> ObservedPipeline:
        """Look at everything."""
        seen = (tuple(self.nodes), self.runtimes)
        if self._supply[0] != seen:
            names = [one.metadata.name for one in self.runtimes]
            self._supply = (seen, a_supply(*self.nodes, runtimes=names))
        return ObservedPipeline(
            pipeline=self.pipeline,
            uid=UID,
            generation=self.generation,
            created_at=NOW,
            supply=self._supply[1],
            runtimes=self.runtimes,
            now=self.now,
            settings=SETTINGS,
            children=dict(self.objects),
            pods=tuple(pod.view(self._course(pod)) for pod in self.pods.values()),
            engines=self.engines,
            references=self.references,
            apis=self.apis,
        )

    def plan(self) -> Plan:
        """Decide."""
        return plan_pipeline(self.observe(), CLASSES)

    def make_pass(self) -> None:
        """Observe, plan, perform, report."""
        plan = self.plan()
        for manifest in plan.apply:
            self._apply(manifest)
        for deletion in plan.delete:
            assert self.objects[deletion.key]["metadata"]["uid"] == deletion.uid
            self.writes.append(f"delete {deletion.key}")
            del self.objects[deletion.key]
            self._controller.forget(deletion.key)
        if plan.status is not None:
            self._state(plan.status)
        self.events += [(one.reason, one.message) for one in plan.events]

    def _apply(self, manifest: Manifest) -> None:
        key = key_of(manifest)
        if self._settled.get(key) == (manifest, id(self.objects.get(key))):
            return
        intent: Document = json.loads(canonical_json(stamped(manifest)))
        if key.kind == "HPIEngine":
            metadata = {name: intent["metadata"][name] for name in ("name", "namespace")}
            self.engines = (*self.engines, HPIEngine.model_validate({**intent, "metadata": metadata}))
            self.writes.append(str(key))
            return
        live = self.objects.get(key)
        if not differs(live, intent):
            self._settled[key] = (manifest, id(live))
            return
        self.writes.append(str(key))
        self.objects[key] = self._created(key, intent) if live is None else self._merged(key, live, intent)

    def _created(self, key: ObjectKey, intent: Document) -> Document:
        self._made += 1
        made = {"uid": f"uid-{self._made}", "generation": 1, "creationTimestamp": self.now.isoformat()}
        if key.kind == DEPLOYMENT:
            intent["spec"].setdefault("replicas", 1)
        return {**intent, "metadata": {**intent["metadata"], **made}}

    def _merged(self, key: ObjectKey, live: Document, intent: Document) -> Document:
        assert not live.get("immutable") or live["data"] == intent["data"], f"{key} is immutable"
        kept = {name: live["metadata"][name] for name in ("uid", "generation", "creationTimestamp")}
        if key.kind == DEPLOYMENT:
            # A field that nobody states any more keeps what its other owner wrote.
            intent["spec"].setdefault("replicas", live["spec"]["replicas"])
        if live.get("spec") != intent.get("spec"):
            kept["generation"] += 1
        status = {"status": live["status"]} if "status" in live else {}
        return {**intent, **status, "metadata": {**intent["metadata"], **kept}}

    def _state(self, status: Manifest) -> None:
        stored = PipelineStatus.model_validate(json.loads(canonical_json(status)))
        if self.pipeline.status != stored:
            self.writes.append("status")
            self.pipeline = self.pipeline.model_copy(update={"status": stored})

    # What controllers, scheduler and kubelets do.

    @property
    def pods(self) -> dict[str, Pod]:
        """The pods of its Deployments by name."""
        return self._controller.pods

    def control(self) -> None:
        """Let controllers, scheduler and kubelets do what they can at this moment."""
        deployments = [(key, live) for key, live in sorted(self.objects.items()) if key.kind == DEPLOYMENT]
        for key, live in deployments:
            self._controller.roll(key, live, self.now)
        if self._views[0] != tuple(self.nodes):
            self._views = (tuple(self.nodes), [a_seen_node(one) for one in self.nodes])
        schedule(self.pods.values(), self._views[1], self.now)
        for pod in self.pods.values():
            pod.run(self._course(pod), self.now)
        for key, live in deployments:
            self._controller.report(key, live, self.now)
        for key, live in self.objects.items():
            self._control_others(key, live)
        self.fewest_ready = min(self.fewest_ready, self.ready())

    def _control_others(self, key: ObjectKey, live: Document) -> None:
        if key.kind == "Job" and self.jobs_end != "never":
            end = "Complete" if self.jobs_end == "complete" else "Failed"
            live["status"] = {"conditions": [{"type": end, "status": "True", "message": "BackoffLimitExceeded"}]}
        elif key.kind == "PersistentVolumeClaim":
            live["status"] = {"phase": "Bound"}
        elif key.kind == "HTTPRoute":
            live["status"] = {"parents": [{"parentRef": {"name": "g"}, "conditions": []}]}

    def _course(self, pod: Pod) -> Course:
        return self.courses.get(pod.revision, "serves")

    # Time.

    def wait(self, seconds: float, step_seconds: float = 5.0) -> None:
        """Let time pass, with passes and controllers at every step."""
        end = self.now + timedelta(seconds=seconds)
        while self.now < end:
            self.now = min(end, self.now + timedelta(seconds=step_seconds))
            # Passes follow changes at once: a second one sees what the first has made.
            for _ in range(2):
                self.make_pass()
                self.control()

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
            key.name: live["spec"]["replicas"] for key, live in sorted(self.objects.items()) if key.kind == DEPLOYMENT
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


DECIDED: Final[Document] = {
    "chosen": "openvino",
    "candidates": [{"name": "openvino", "backend": "openvino", "precision": "float32", "verdict": "Chosen"}],
}


def with_engines_decided(engines: Iterable[HPIEngine]) -> tuple[HPIEngine, ...]:
    """Return engines as agents leave them when they have decided."""
    written = (one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in engines)
    return tuple(HPIEngine.model_validate({**one, "status": DECIDED}) for one in written)
