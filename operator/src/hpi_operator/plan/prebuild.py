"""Engines that are built before a revision needs them: HPIEngines, one Job for each class of hardware, and the wait.

The operator only makes the objects. That a resolution is built once is seen to by the agents, through the Lease of its
name; a Job that finds another builder waits for it and takes what it has made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from hpi_core import reasons
from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.engine import EngineSpec, HPIEngine, engine_name
from hpi_core.api.v1alpha1.hardware import HardwareClass
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.names import MANAGED_BY
from hpi_operator.plan.conditions import Observation, observation
from hpi_operator.plan.effective_request import WantedModel, is_listed_whole, wanted_models
from hpi_operator.plan.hardware import hardware_class, hardware_in_words
from hpi_operator.plan.intent import Manifest, ObjectKey
from hpi_operator.plan.observed import NodeGroup, ObservedPipeline
from hpi_operator.plan.ownership import is_owned
from hpi_operator.plan.revisions import Revision
from hpi_operator.plan.workload.build_job import BuildPlan, build_job
from hpi_operator.plan.workload.parts import ClassPlan, Owner

MAX_BUILDS: Final = 8
"""Builds ahead of one revision: one for each class of hardware, those with most nodes first."""
MAX_PINNED_NODES: Final = 5
UNLISTED_MODELS: Final = 8
"""Models that a pipeline of PaddleX's registry is taken to have, for the time that its build may take."""
START_SECONDS: Final = 600
"""What a build takes beside building: a free device, the image, the models."""
LONGEST_SECONDS: Final = 86_400
GRACE_SECONDS: Final = 60
"""How much later than a Job's own deadline the wait for it is given up, for a Job that never came to be."""


@dataclass(frozen=True)
class Prebuild:
    """What is built ahead of one revision."""

    objects: tuple[Manifest, ...] = ()
    """HPIEngines and Jobs to make; those that are there are left alone: they cannot be changed."""
    jobs: frozenset[ObjectKey] = frozenset()
    """Jobs that shall stay: they are the record of what was built."""
    engines: frozenset[str] = frozenset()
    """HPIEngines that the revision wants."""
    condition: Observation | None = None
    """EnginesReady; None: nothing is built ahead."""
    waits_for: str = ""
    """What the revision must wait for, in words; empty: nothing."""
    look_again_seconds: float | None = None


@dataclass(frozen=True)
class _Build:
    plan: BuildPlan
    specs: tuple[EngineSpec, ...]
    job: Manifest | None
    """The live Job."""
    is_decided: bool
    """Whether every engine that is known by name has been decided, and no other model is left."""

    @property
    def ended(self) -> tuple[str, str] | None:
        """`Complete` or `Failed` and the message; None: the Job is not over."""
        conditions = ((self.job or {}).get("status") or {}).get("conditions") or ()
        found = [one for one in conditions if one["type"] in ("Complete", "Failed") and one["status"] == "True"]
        return (found[0]["type"], found[0].get("message", "")) if found else None


def prebuild(
    observed: ObservedPipeline, owner: Owner, revision: Revision, pipeline: HPIPipeline, classes: Sequence[ClassPlan]
) -> Prebuild:
    """Return what is built ahead of a revision, and whether it must wait.

    Args:
        observed: Everything that was observed.
        owner: The pipeline.
        revision: The revision that the spec asks for.
        pipeline: Its pipeline, with everything that changes no pod as it is now.
        classes: Classes of hardware that the revision gets.
    """
    if pipeline.spec.build.policy != "Prebuild" or revision.given_up:
        return Prebuild()
    models = wanted_models(pipeline)
    unknown = [one.name for one in models if one.digest is None]
    found = list(_builds(observed, owner, revision, pipeline, classes, models, all_known=not unknown))
    builds = sorted(found, key=lambda one: (-one[1], one[0].plan.name))[:MAX_BUILDS]
    return _summed_up(observed, revision, [one for one, _ in builds], unknown, len(found) - len(builds), pipeline)


def _builds(
    observed: ObservedPipeline,
    owner: Owner,
    revision: Revision,
    pipeline: HPIPipeline,
    classes: Sequence[ClassPlan],
    models: Sequence[WantedModel],
    *,
    all_known: bool,
) -> Iterator[tuple[_Build, int]]:
    """Yield one build for each class of hardware, with its number of nodes."""
    decided = {
        one.metadata.name for one in observed.engines if one.status is not None and one.status.chosen is not None
    }
    for class_plan in classes:
        for hardware, groups in _hardware(class_plan, pipeline):
            specs = tuple(_specs(models, class_plan, hardware, owner.namespace, groups, pipeline))
            names = tuple(engine_name(one) for one in specs)
            plan = BuildPlan(
                owner,
                revision,
                pipeline,
                class_plan,
                hardware,
                tuple(sorted(name for group in groups for name in group.examples)[:MAX_PINNED_NODES]),
                names,
                _deadline_seconds(pipeline, len(models)),
                observed.settings,
            )
            job = observed.children.get(ObjectKey("batch/v1", "Job", owner.namespace, plan.name))
            live = job if job is not None and is_owned(job, owner.uid) else None
            is_decided = all_known and is_listed_whole(pipeline) and set(names) <= decided
            yield _Build(plan, specs, live, is_decided), sum(group.count for group in groups)


def _hardware(class_plan: ClassPlan, pipeline: HPIPipeline) -> Iterator[tuple[HardwareClass, list[NodeGroup]]]:
    """Yield the classes of hardware of the nodes on which the self-test has passed, each with its nodes."""
    spec = pipeline.spec
    found: dict[str, tuple[HardwareClass, list[NodeGroup]]] = {}
    for group in class_plan.chosen.usable_groups:
        one = hardware_class(
            group, class_plan.data, class_plan.offered.resource, spec.pod_template.resources.limits, spec.build
        )
        if one is not None:
            found.setdefault(one.model_dump_json(by_alias=True), (one, []))[1].append(group)
    yield from (found[key] for key in sorted(found))


def _specs(
    models: Sequence[WantedModel],
    class_plan: ClassPlan,
    hardware: HardwareClass,
    namespace: str,
    groups: Sequence[NodeGroup],
    pipeline: HPIPipeline,
) -> Iterator[EngineSpec]:
    runtime, build = class_plan.chosen.runtime, pipeline.spec.build
    for model in models:
        if model.digest is None or runtime is None:
            continue
        written: dict[str, Any] = {
            "modelName": model.name,
            "modelDigest": model.digest,
            "modelFormat": model.format,
            "request": dict(model.request),
            "fallback": build.fallback,
            "runtime": {"name": runtime.metadata.name, "lockDigest": runtime.spec.lock_digest},
            "hardwareClass": hardware.model_dump(mode="json", by_alias=True, exclude_none=True),
            "driverMatch": build.driver_match,
            "mode": build.mode,
            "accuracy": build.accuracy.model_dump(mode="json", by_alias=True, exclude_none=True),
            "tenant": "cluster" if all(group.shares_engines for group in groups) else namespace,
        }
        if build.device_memory_bytes is not None:
            written["deviceMemoryBytes"] = build.device_memory_bytes
        yield EngineSpec.model_validate(written)


def _deadline_seconds(pipeline: HPIPipeline, models: int) -> int:
    count = models if is_listed_whole(pipeline) else max(models, UNLISTED_MODELS)
    return min(LONGEST_SECONDS, START_SECONDS + pipeline.spec.build.timeout_seconds * max(1, count))


def _summed_up(
    observed: ObservedPipeline,
    revision: Revision,
    builds: Sequence[_Build],
    unknown: Sequence[str],
    left_out: int,
    pipeline: HPIPipeline,
) -> Prebuild:
    known = {one.metadata.name for one in observed.engines}
    engines = {engine_name(spec): spec for one in builds for spec in one.specs}
    missing = [engine_manifest(spec, builds[0].plan.owner.namespace) for spec in engines.values()] if builds else []
    new_engines = [one for one in missing if one["metadata"]["name"] not in known]
    jobs = {one.plan.name: build_job(one.plan) for one in builds if one.job is None and not one.is_decided}
    open_builds = [one for one in builds if not one.is_decided and one.ended is None]
    waits = [_gives_up_at(one, revision) - observed.now for one in open_builds]
    pending = [one for one, left in zip(open_builds, waits, strict=True) if left > timedelta()]
    failures = [*_failures(builds, observed.engines)]
    condition = _condition(builds, pending, open_builds, failures, unknown, left_out, pipeline)
    return Prebuild(
        objects=(
            *sorted(new_engines, key=lambda one: str(one["metadata"]["name"])),
            *(jobs[name] for name in sorted(jobs)),
        ),
        jobs=frozenset(ObjectKey("batch/v1", "Job", one.plan.owner.namespace, one.plan.name) for one in builds),
        engines=frozenset(engines),
        condition=condition,
        waits_for=f"engines are built ahead: {condition.message}" if pending else "",
        look_again_seconds=min((left.total_seconds() for left in waits if left > timedelta()), default=None),
    )


def engine_manifest(spec: EngineSpec, namespace: str) -> Manifest:
    """Return the HPIEngine of a spec. It belongs to no pipeline: whoever wants the same shares it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "HPIEngine",
        "metadata": {"name": engine_name(spec), "namespace": namespace, "labels": {MANAGED_BY: "hpi-operator"}},
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def _gives_up_at(build: _Build, revision: Revision) -> datetime:
    begun = revision.created_at
    if build.job is not None:
        begun = datetime.fromisoformat(build.job["metadata"].get("creationTimestamp", begun.isoformat()))
    return begun + timedelta(seconds=build.plan.deadline_seconds + GRACE_SECONDS)


def _failures(builds: Sequence[_Build], engines: Sequence[HPIEngine]) -> Iterator[str]:
    """Yield why builds have failed, in words: the agent's, else the Job's."""
    told: Mapping[str, HPIEngine] = {one.metadata.name: one for one in engines}
    for build in builds:
        ended = build.ended
        if ended is None or ended[0] != "Failed":
            continue
        words = []
        for name in build.plan.engines:
            status = told[name].status if name in told else None
            if status is not None and status.chosen is None and status.last_failure is not None:
                words.append(f"{told[name].spec.model_name}: {status.last_failure.message}")
        yield f"Job {build.plan.name}: {'; '.join(words) or ended[1] or 'it failed'}"


def _condition(
    builds: Sequence[_Build],
    pending: Sequence[_Build],
    open_builds: Sequence[_Build],
    failures: Sequence[str],
    unknown: Sequence[str],
    left_out: int,
    pipeline: HPIPipeline,
) -> Observation:
    type_ = reasons.ENGINES_READY
    rest = f"; {left_out} classes of hardware are not built ahead for: {MAX_BUILDS} at most are" if left_out else ""
    if not builds:
        message = "no agent has reported hardware of the nodes that fit: nothing can be built ahead"
        return observation(type_, "Unknown", "NotReported", message)
    if pending:
        done = len(builds) - len(open_builds)
        first = pending[0].plan
        where = f"Job {first.name} builds for {hardware_in_words(first.hardware)}"
        return observation(type_, False, "Prebuilding", f"{done} of {len(builds)} builds have ended; {where}{rest}")
    if open_builds:
        first = open_builds[0].plan
        message = f"Job {first.name} has not ended for {first.deadline_seconds} seconds; the revision goes on without"
        return observation(type_, False, "PrebuildGaveUp", message + rest)
    if failures:
        return observation(type_, False, "EngineFailed", "; ".join(failures) + rest)
    if unknown or not is_listed_whole(pipeline):
        names = ", ".join(unknown) or f"the models of pipeline {pipeline.spec.pipeline}"
        message = f"{len(builds)} builds have ended; no digest is known of {names}, so no HPIEngine tells of them ahead"
        return observation(type_, "Unknown", "ModelDigestUnknown", message + rest)
    classes = "1 class" if len(builds) == 1 else f"{len(builds)} classes"
    return observation(type_, True, "Prebuilt", f"for {classes} of hardware{rest}")
