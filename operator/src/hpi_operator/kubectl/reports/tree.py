"""`status NAME`: pipeline → revisions → pods → engines, what was asked beside what was obtained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

from hpi_core.names import CLASS, REVISION
from hpi_operator.kubectl.reports.base import REPORT_VERSION, Failure, Report, ReportVersion, Summary
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
from hpi_operator.kubectl.reports.engines import EngineLine, engine_line
from hpi_operator.kubectl.reports.models import ModelLine, model_lines
from hpi_operator.kubectl.reports.pipelines import NOBODY, attention
from hpi_operator.kubectl.reports.pods import PodLine, pod_lines
from hpi_operator.kubectl.reports.sight import Sight

STATES_OF_ENGINES: Final = ("Failed", "Gone", "Building", "Undecided", "Provisional")
"""The order in which engines are told; others, which are all right, come last."""


class Asked(Report):
    """What the spec asks for."""

    pipeline: str
    """PaddleX's name of what is served."""
    replicas: str
    """How many replicas, in words: `2`, `1 to 5`."""
    classes: tuple[str, ...]
    """Classes of hardware in the order of wish."""
    policy: str = ""
    """What happens when the first class is full: `First` or `Spill`."""
    backend: str = ""
    """The backend that was asked for. Empty: the best."""
    runtime: str = ""
    """The HPIRuntime, or the variant. Empty: the best that fits."""
    build: str = ""
    """When engines are built: `Prebuild`, `OnDemand`, `Never`."""


class Obtained(Report):
    """What there is."""

    ready_replicas: int = 0
    """Replicas that answer."""
    wanted_replicas: int = 0
    """Replicas that are wanted."""
    hardware: str = ""
    """Hardware in use."""
    backend: str = ""
    """Backends in use."""
    runtime: str = ""
    """The HPIRuntime that was chosen."""
    engines_ready: int = 0
    """Engines that are decided."""
    engines_wanted: int = 0
    """Engines that are wanted."""
    url: str = ""
    """Where it answers inside the cluster."""


class EngineInUse(Report):
    """An engine that pods of a revision use."""

    engine: EngineLine
    """The engine."""
    pods: int
    """Pods of the revision on nodes where it is in use."""


class DeploymentLine(Report):
    """A Deployment that has a revision."""

    name: str
    """Its name."""
    hardware_class: str = ""
    """Class of hardware, in lower case."""
    replicas: int = 0
    """Pods that it wants."""
    ready_replicas: int = 0
    """Pods that are ready."""
    problem: str = ""
    """Why it makes no pods, or no progress."""


class RevisionLine(Report):
    """One revision."""

    name: str
    """Its name."""
    number: int | None = None
    """Its number. Absent: it is older than those that the status keeps."""
    state: str = ""
    """`Active`, `Progressing`, `Failed`, `Retired`."""
    wanted: bool = False
    """Whether it is the one that the spec asks for."""
    serves: bool = False
    """Whether it has the traffic."""
    weight_percent: int | None = None
    """Share of the requests that it has as a canary. Unit: percent."""
    deployments: tuple[DeploymentLine, ...] = ()
    """Deployments that have it."""
    pods: tuple[PodLine, ...] = ()
    """Its pods, those that fail first."""
    engines: tuple[EngineInUse, ...] = ()
    """HPIEngines that its pods use, those that need attention first."""
    models: tuple[ModelLine, ...] = ()
    """Models that its pods serve, whether there is an HPIEngine or not."""


class PipelineTree(Report):
    """Answer of `kubectl hpi status NAME -o json`."""

    api_version: ReportVersion = REPORT_VERSION
    """Version of the form."""
    kind: Literal["PipelineTree"] = "PipelineTree"
    """Which report it is."""
    namespace: str
    """Namespace of the pipeline."""
    name: str
    """Name of the pipeline."""
    ready: Summary
    """Whether it serves as wanted."""
    behind: bool = False
    """Whether its status is of an older spec."""
    attention: str = ""
    """What is not as asked although it is ready."""
    asked: Asked
    """What the spec asks for."""
    obtained: Obtained
    """What there is."""
    revisions: tuple[RevisionLine, ...]
    """Revisions that have pods, the wanted and the serving one, and failed ones."""
    engines: tuple[EngineLine, ...] = ()
    """Engines that the status names, or that are built ahead, and that no agent reports in use."""
    last_failure: Failure | None = None
    """The last failure of a revision."""
    notes: tuple[str, ...] = ()
    """What was asked and could not be honoured as asked."""
    unseen: tuple[str, ...] = ()
    """What could not be read, and why."""


def pipeline_tree(pipeline: Document, sight: Sight) -> PipelineTree:
    """Return the report on one pipeline."""
    revisions = tuple(_revisions(pipeline, sight))
    in_use = {one.engine.name for revision in revisions for one in revision.engines}
    named = {str(one["engine"]) for one in listed(pipeline, "status", "models") if one.get("engine")}
    status = part(pipeline, "status")
    return PipelineTree(
        namespace=namespace_of(pipeline),
        name=name_of(pipeline),
        ready=summary(pipeline, NOBODY),
        behind=is_behind(pipeline),
        attention=attention(pipeline),
        asked=asked(pipeline),
        obtained=obtained(pipeline),
        revisions=revisions,
        engines=tuple(
            _told_first(engine_line(name, sight.engines.get(name)) for name in (named | set(sight.engines)) - in_use)
        ),
        last_failure=failure(part(status, "lastFailure")),
        notes=tuple(str(one) for one in status.get("notes") or ()),
        unseen=sight.unseen,
    )


def asked(pipeline: Document) -> Asked:
    """Return what the spec of a pipeline asks for."""
    spec = part(pipeline, "spec")
    runtime, scaling, placement = part(spec, "runtime"), part(spec, "autoscaling"), part(spec, "placement")
    what = (
        spec.get("pipeline")
        or part(spec, "module", "model").get("name")
        or part(spec, "config", "inline").get("pipeline_name")
        or part(pipeline, "status").get("pipeline")
    )
    constraint = f" {runtime['versionConstraint']}" if runtime.get("versionConstraint") else ""
    return Asked(
        pipeline=str(what or "a YAML of its own"),
        replicas=(
            f"{scaling.get('minReplicas', 1)} to {scaling.get('maxReplicas', '?')}"
            if scaling
            else str(spec.get("replicas", 1))
        ),
        classes=tuple(str(one.get("class")) for one in listed(placement, "accelerators")) or ("CPU",),
        policy=str(placement.get("policy") or ""),
        backend=str(part(spec, "inference", "hpiConfig").get("backend") or ""),
        runtime=str(runtime.get("name") or "") or (f"{runtime['variant']}{constraint}" if "variant" in runtime else ""),
        build=str(part(spec, "build").get("policy") or ""),
    )


def obtained(pipeline: Document) -> Obtained:
    """Return what the status of a pipeline says is there."""
    status = part(pipeline, "status")
    engines = part(status, "engines")
    return Obtained(
        ready_replicas=int(status.get("readyReplicas") or 0),
        wanted_replicas=int(status.get("wantedReplicas") or 0),
        hardware=str(status.get("hardware") or ""),
        backend=str(status.get("backend") or ""),
        runtime=str(status.get("runtime") or ""),
        engines_ready=int(engines.get("ready") or 0),
        engines_wanted=int(engines.get("wanted") or 0),
        url=str(status.get("url") or ""),
    )


def _revisions(pipeline: Document, sight: Sight) -> Iterable[RevisionLine]:
    status = part(pipeline, "status")
    pods = pod_lines(sight.pods, sight.hpi_nodes, name_of(pipeline))
    known = {str(one.get("name")): one for one in listed(status, "revisions")}
    wanted, serves = status.get("wantedRevision"), status.get("revision")
    deployments: dict[str, list[DeploymentLine]] = {}
    for one in sight.deployments:
        revision = str(part(one, "spec", "template", "metadata", "labels").get(REVISION, ""))
        deployments.setdefault(revision, []).append(deployment_line(one))
    failed = {name for name, one in known.items() if one.get("state") == "Failed"}
    shown = {*pods, *deployments, *failed} | {str(one) for one in (wanted, serves) if one}
    lines = [
        RevisionLine(
            name=name,
            number=known.get(name, {}).get("number"),
            state=str(known.get(name, {}).get("state") or ""),
            wanted=name == wanted,
            serves=name == serves,
            weight_percent=part(status, "canary").get("weightPercent") if name == wanted != serves else None,
            deployments=tuple(sorted(deployments.get(name, ()), key=lambda one: one.name)),
            pods=tuple(pods.get(name, ())),
            engines=tuple(_engines(pods.get(name, ()), sight.engines)),
            models=model_lines(sight.hpi_nodes.values(), namespace_of(pipeline), name_of(pipeline), name),
        )
        for name in shown
    ]
    return sorted(lines, key=lambda one: (not is_wrong(one), not one.wanted, -(one.number or 0), one.name))


def is_wrong(revision: RevisionLine) -> bool:
    """Return whether a revision shows what no waiting mends."""
    return any(pod.wrong for pod in revision.pods) or any(one.problem for one in revision.deployments)


def deployment_line(deployment: Document) -> DeploymentLine:
    """Return what is told of a Deployment."""
    found = conditions(deployment)
    stopped = found.get("Progressing")
    problem = next(
        (one.message for one in (found.get("ReplicaFailure"),) if one is not None and one.status == "True"), ""
    )
    if not problem and stopped is not None and stopped.status == "False":
        problem = stopped.message or stopped.reason
    return DeploymentLine(
        name=name_of(deployment),
        hardware_class=str(labels_of(deployment).get(CLASS, "")),
        replicas=int(part(deployment, "spec").get("replicas") or 0),
        ready_replicas=int(part(deployment, "status").get("readyReplicas") or 0),
        problem=problem,
    )


def _engines(pods: Iterable[PodLine], engines: Mapping[str, Document]) -> Iterable[EngineInUse]:
    users: dict[str, int] = {}
    for pod in pods:
        for name in pod.engines:
            users[name] = users.get(name, 0) + 1
    lines = _told_first(engine_line(name, engines.get(name)) for name in users)
    return [EngineInUse(engine=one, pods=users[one.name]) for one in lines]


def _told_first(lines: Iterable[EngineLine]) -> list[EngineLine]:
    def urgency(one: EngineLine) -> tuple[Any, ...]:
        place = STATES_OF_ENGINES.index(one.state) if one.state in STATES_OF_ENGINES else len(STATES_OF_ENGINES)
        return place, one.model, one.name

    return sorted(lines, key=urgency)
