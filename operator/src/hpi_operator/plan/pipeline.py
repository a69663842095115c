"""The decision for one pipeline: from everything that was observed to everything that should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.acceptance import Blocked, blocked, read_config
from hpi_operator.plan.clearing import deletions
from hpi_operator.plan.findings import Findings
from hpi_operator.plan.intent import Manifest, Plan, key_of
from hpi_operator.plan.objects import HTTP_ROUTE, Wanted, objects, taken
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.ownership import is_owned
from hpi_operator.plan.pipeline_status import ACTIVE, pipeline_status
from hpi_operator.plan.placing import Placing, Scene, not_usable, place, still_holds
from hpi_operator.plan.prebuild import Prebuild, prebuild
from hpi_operator.plan.present import Present, of_track, present_deployments
from hpi_operator.plan.replicas import count_pods, may_be_away, spread, wanted_replicas
from hpi_operator.plan.revisions import (
    MAX_DATA_BYTES,
    Revision,
    data_bytes,
    new_revision,
    newest_of_spec,
    revision_data,
    spec_digest,
    stored_revisions,
    with_present,
)
from hpi_operator.plan.rollout import decide, sooner
from hpi_operator.plan.rollout_state import RolloutDecision, RolloutObserved
from hpi_operator.plan.workload.parts import STABLE, ClassPlan, Owner

__all__ = ["HTTP_ROUTE", "plan_pipeline"]

TAKEN_SECONDS: Final = 10.0
"""How soon to look again at an object of somebody else's that has a name that the pipeline needs."""


def plan_pipeline(observed: ObservedPipeline, classes: Mapping[ClassName, ClassData]) -> Plan:
    """Return what should be for one pipeline.

    Where the spec or the cluster does not let anything new be made, what is there goes on serving.

    Args:
        observed: Everything that was observed.
        classes: The classes of hardware as data.
    """
    observed = _in_order(observed)
    refused = blocked(observed, classes)
    config = read_config(observed) if refused is None else None
    if isinstance(config, Blocked):
        refused, config = config, None
    if refused is not None:
        return pipeline_status(observed, Findings(blocked=refused))
    return _Look(observed, classes, config).plan()


def _in_order(observed: ObservedPipeline) -> ObservedPipeline:
    """Return the same in one order: whoever tells first decides nothing."""
    return replace(
        observed,
        supply=tuple(sorted(observed.supply, key=lambda one: (one.examples, repr(sorted(one.labels.items()))))),
        runtimes=tuple(sorted(observed.runtimes, key=lambda one: one.metadata.name)),
        children={key: observed.children[key] for key in sorted(observed.children)},
        pods=tuple(sorted(observed.pods, key=lambda one: (one.name, one.uid))),
        engines=tuple(sorted(observed.engines, key=lambda one: one.metadata.name)),
        engines_in_use=tuple(sorted(set(observed.engines_in_use))),
        backends_in_use=tuple(sorted(set(observed.backends_in_use))),
        engine_messages=tuple(sorted(observed.engine_messages)),
    )


@dataclass(frozen=True)
class _Look:
    """One look at one pipeline."""

    observed: ObservedPipeline
    classes: Mapping[ClassName, ClassData]
    config: Mapping[str, Any] | None
    """The YAML of the ConfigMap that the spec names."""

    def plan(self) -> Plan:
        """Decide."""
        observed, pipeline = self.observed, self.observed.pipeline
        deployments = present_deployments(observed.children, observed.uid)
        # A pod without a track builds ahead: it serves nobody.
        serving = tuple(pod for pod in observed.pods if pod.track)
        counted = count_pods(
            [pod for pod in serving if pod.track == STABLE],
            observed.now,
            observed.settings.spill_after_seconds,
            of_track(deployments, STABLE).values(),
        )
        total = self._total(deployments)
        look = (observed.supply, observed.runtimes, self.classes, deployments, counted, total)
        scene = Scene(*look, pod_security=observed.pod_security)
        stored = stored_revisions(pipeline, self._own("ConfigMap"))
        wanted, placing = self._wanted(scene, stored)
        if wanted is None or not placing.classes:
            return pipeline_status(observed, Findings(placing=placing, wanted_replicas=total))
        if data_bytes(wanted.data or revision_data(wanted)) > MAX_DATA_BYTES:
            too_large = Blocked("InvalidSpec", f"the spec and its configuration must not need {MAX_DATA_BYTES} bytes")
            return pipeline_status(observed, Findings(blocked=too_large))
        owner = Owner(pipeline, observed.uid, pipeline.metadata.namespace or "default")
        ahead = prebuild(
            observed, owner, wanted, with_present(wanted, pipeline), self._built_for(placing.classes, pipeline)
        )
        decision = decide(self._rollout(scene, stored, wanted, placing, ahead, serving))
        return self._carried_out(scene, owner, stored, placing, ahead, decision)

    def _total(self, deployments: tuple[Present, ...]) -> int:
        """Return how many pods are wanted: an autoscaler says so by the Deployment that it scales."""
        spec, live = self.observed.pipeline.spec, of_track(deployments, STABLE)
        first = next(
            (live[one.class_.lower()] for one in spec.placement.accelerators if one.class_.lower() in live), None
        )
        scaled = self._scaled_class(live)
        if scaled is not None:
            first = live.get(scaled, first)
        return wanted_replicas(spec.replicas, spec.autoscaling, None if first is None else first.replicas)

    def _scaled_class(self, live: Mapping[str, Present]) -> str | None:
        """Return the class whose Deployment the pipeline's autoscaler scales; None: there is no autoscaler yet."""
        targets = [one["spec"]["scaleTargetRef"]["name"] for one in self._own("HorizontalPodAutoscaler")]
        return next((label for label, one in sorted(live.items()) if one.key.name in targets), None)

    def _own(self, kind: str) -> list[Manifest]:
        observed = self.observed
        return [one for key, one in observed.children.items() if key.kind == kind and is_owned(one, observed.uid)]

    def _wanted(self, scene: Scene, stored: tuple[Revision, ...]) -> tuple[Revision | None, Placing]:
        """Return the revision that the spec asks for, and what the cluster offers it.

        The stored one, as long as its runtimes can be had; else a new one, on those that can.
        """
        pipeline = self.observed.pipeline
        known = newest_of_spec(stored, spec_digest(pipeline, self.config))
        if known is not None:
            placing = place(scene, with_present(known, pipeline), known.runtimes, known.name)
            if still_holds(scene, placing, known.runtimes, known.name):
                return known, placing
        placing = place(scene, pipeline, {}, None)
        if not placing.classes:
            return known, placing
        number = 1 + max((one.number for one in stored), default=0)
        new = new_revision(pipeline, self.config, placing.records(), number, self.observed.now)
        found = next((one for one in stored if one.name == new.name), new)
        # Its Deployments may be there already, where its ConfigMap was lost.
        return found, place(scene, with_present(found, pipeline), found.runtimes, found.name)

    def _built_for(self, classes: tuple[ClassPlan, ...], pipeline: HPIPipeline) -> tuple[ClassPlan, ...]:
        return classes if pipeline.spec.placement.policy == "Spill" else classes[:1]

    def _rollout(
        self,
        scene: Scene,
        stored: tuple[Revision, ...],
        wanted: Revision,
        placing: Placing,
        ahead: Prebuild,
        serving: tuple[Any, ...],
    ) -> RolloutObserved:
        spec, status = self.observed.pipeline.spec, self.observed.pipeline.status
        failure = None if status is None else status.last_failure
        # On the last class nobody stands in for a pod that waits for a node.
        excused = [one.label for one in placing.classes[:-1]] if spec.placement.policy == "Spill" else []
        return RolloutObserved(
            rollout=spec.rollout,
            wanted=wanted,
            stored=stored,
            active=None if status is None else status.revision,
            canary=None if status is None or status.wanted_revision != wanted.name else status.canary,
            completed=next((one.name for one in status.revisions if one.state == ACTIVE), None) if status else None,
            told=None if failure is None else (failure.revision, failure.reason),
            deployments=scene.deployments,
            pods=serving,
            replicas=scene.replicas,
            now=self.observed.now,
            has_gateway=spec.route is not None and HTTP_ROUTE in self.observed.apis,
            waits_for=ahead.waits_for,
            waits_for_node=not_usable(placing.classes[0]),
            excused=frozenset(excused),
        )

    def _carried_out(
        self,
        scene: Scene,
        owner: Owner,
        stored: tuple[Revision, ...],
        placing: Placing,
        ahead: Prebuild,
        decision: RolloutDecision,
    ) -> Plan:
        observed, spec = self.observed, self.observed.pipeline.spec
        stable = self._classes_of(scene, decision.stable, decision.wanted, placing)
        labels = [one.label for one in stable]
        counts = spread(labels, scene.replicas, scene.pods, spec.placement.policy) if stable else {}
        in_use = tuple(one for one in stable if counts[one.label] > 0 or one is stable[0])
        canary = decision.canary
        canary_class = (
            None
            if canary is None
            else next(iter(self._classes_of(scene, canary.revision, decision.wanted, placing)), None)
        )
        wanted = Wanted(
            decision=decision,
            classes=in_use,
            canary_class=canary_class,
            counts=counts,
            may_be_away=may_be_away(labels, counts, scene.pods) if spec.placement.policy == "Spill" else {},
            waiting=sum(scene.pods.waiting.get(label, 0) for label in labels[:-1])
            if spec.placement.policy == "Spill"
            else 0,
            scene=scene,
            stored=stored,
            ahead=ahead,
        )
        made = tuple(objects(observed, owner, wanted))
        others = taken(observed, made)
        findings = Findings(
            placing=placing,
            classes=in_use,
            counts=counts,
            wanted_replicas=scene.replicas,
            decision=decision,
            waiting=scene.pods.waiting,
            ahead=ahead,
            taken=tuple(words for _, words in others),
        )
        status = pipeline_status(observed, findings)
        names = {key for key, _ in others}
        gone = tuple(deletions(observed, made, wanted))
        spoiled = {one.key for one in gone}
        apply = tuple(one for one in made if key_of(one) not in names | spoiled)
        again = [
            status.look_again_seconds,
            decision.look_again_seconds,
            ahead.look_again_seconds,
            scene.pods.next_seconds if spec.placement.policy == "Spill" else None,
            TAKEN_SECONDS if others else None,
        ]
        return replace(
            status,
            apply=apply,
            delete=gone,
            look_again_seconds=sooner(again),
        )

    def _classes_of(
        self, scene: Scene, revision: Revision | None, wanted: Revision, placing: Placing
    ) -> tuple[ClassPlan, ...]:
        """Return the classes of hardware of a revision; none: there is no such revision, or no place for it now."""
        if revision is None:
            return ()
        if revision.name == wanted.name:
            return placing.classes
        pipeline = with_present(revision, self.observed.pipeline)
        return place(scene, pipeline, revision.runtimes, revision.name).classes
