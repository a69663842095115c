"""`explain NAME`: why this hardware, this runtime and these engines, and what the next best would have been."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from hpi_core import reasons
from hpi_operator.kubectl.reports.base import REPORT_VERSION, Report, ReportVersion, Summary
from hpi_operator.kubectl.reports.documents import (
    Document,
    conditions,
    listed,
    name_of,
    namespace_of,
    part,
    summary,
    three_valued,
)
from hpi_operator.kubectl.reports.engines import EngineChoice, EngineLine, engine_choice, engine_line
from hpi_operator.kubectl.reports.models import ModelLine, model_lines
from hpi_operator.kubectl.reports.pipelines import NOBODY
from hpi_operator.kubectl.reports.sight import Sight
from hpi_operator.kubectl.reports.tree import Asked, Obtained, asked, obtained

CLASS_SEPARATOR: Final = "; class "
"""How the operator's message about the placement begins with another class of hardware."""


class ClassReplicas(Report):
    """Replicas on one class of hardware."""

    hardware_class: str
    """The class."""
    wanted: int
    """Replicas that are wanted there."""
    ready: int
    """Replicas that answer there."""


class PlacementChoice(Report):
    """On which hardware, and why."""

    placed: Summary
    """The condition Placed."""
    lines: tuple[str, ...]
    """Its message, a line for each class of hardware."""
    replicas: tuple[ClassReplicas, ...] = ()
    """Replicas by class of hardware."""


class RuntimeLine(Report):
    """One HPIRuntime, and why it was chosen or not."""

    name: str
    """Its name."""
    accelerator: str = ""
    """Hardware that it is for."""
    version: str = ""
    """Its version."""
    backends: tuple[str, ...] = ()
    """Backends that it has."""
    usable_nodes: int = 0
    """Nodes where its self-test passed."""
    wanted_nodes: int = 0
    """Nodes that shall have it."""
    verdict: Literal["Chosen", "Fits", "NotUsable", "Excluded"]
    """Fits: nothing that can be seen from here speaks against it, and another one was preferred."""
    reason: str = ""
    """Why."""


class Explanation(Report):
    """Answer of `kubectl hpi explain NAME -o json`."""

    api_version: ReportVersion = REPORT_VERSION
    """Version of the form."""
    kind: Literal["Explanation"] = "Explanation"
    """Which report it is."""
    namespace: str
    """Namespace of the pipeline."""
    name: str
    """Name of the pipeline."""
    ready: Summary
    """Whether it serves as wanted."""
    asked: Asked
    """What the spec asks for."""
    obtained: Obtained
    """What there is."""
    placement: PlacementChoice
    """On which hardware, and why."""
    runtimes: tuple[RuntimeLine, ...] = ()
    """Every HPIRuntime, the chosen one first."""
    models: tuple[EngineChoice, ...] = ()
    """Each model's engine with all its candidates, where there is an HPIEngine."""
    served: tuple[ModelLine, ...] = ()
    """Models that pods of the serving revision run, whether there is an HPIEngine or not."""
    unknown_engines: tuple[EngineLine, ...] = ()
    """Engines that the status names and that could not be read."""
    notes: tuple[str, ...] = ()
    """What was asked and could not be honoured as asked."""
    unseen: tuple[str, ...] = ()
    """What could not be read, and why."""


def explanation(pipeline: Document, sight: Sight) -> Explanation:
    """Return why a pipeline runs as it does."""
    status = part(pipeline, "status")
    named = {str(one["engine"]) for one in listed(status, "models") if one.get("engine")}
    names = sorted(named | set(sight.engines))
    found = [engine_choice(sight.engines[name]) for name in names if name in sight.engines]
    return Explanation(
        namespace=namespace_of(pipeline),
        name=name_of(pipeline),
        ready=summary(pipeline, NOBODY),
        asked=asked(pipeline),
        obtained=obtained(pipeline),
        placement=_placement(pipeline),
        runtimes=tuple(_runtimes(pipeline, sight.runtimes)),
        models=tuple(sorted(found, key=lambda one: (one.engine.model, one.hardware, one.engine.name))),
        served=model_lines(
            sight.hpi_nodes.values(), namespace_of(pipeline), name_of(pipeline), str(status.get("revision") or "")
        ),
        unknown_engines=tuple(engine_line(name, None) for name in names if name not in sight.engines),
        notes=tuple(str(one) for one in status.get("notes") or ()),
        unseen=sight.unseen,
    )


def _placement(pipeline: Document) -> PlacementChoice:
    found = conditions(pipeline).get(reasons.PLACED)
    if found is None:
        return PlacementChoice(placed=Summary(status="Unknown", reason="NotLookedAt", message=NOBODY), lines=())
    placed = Summary(status=three_valued(found.status), reason=found.reason, message=found.message, since=found.since)
    return PlacementChoice(
        placed=placed,
        lines=tuple(found.message.replace(CLASS_SEPARATOR, "\nclass ").splitlines()),
        replicas=tuple(
            ClassReplicas(
                hardware_class=str(one.get("class")),
                wanted=int(one.get("replicas") or 0),
                ready=int(one.get("readyReplicas") or 0),
            )
            for one in listed(pipeline, "status", "classes")
        ),
    )


def _runtimes(pipeline: Document, runtimes: Iterable[Document]) -> Iterable[RuntimeLine]:
    order = {"Chosen": 0, "Fits": 1, "NotUsable": 2, "Excluded": 3}
    lines = [_runtime_line(pipeline, one) for one in runtimes]
    return sorted(lines, key=lambda one: (order[one.verdict], one.name))


def _runtime_line(pipeline: Document, runtime: Document) -> RuntimeLine:
    spec, nodes = part(runtime, "spec"), part(runtime, "status", "nodes")
    verdict, reason = _verdict(pipeline, runtime)
    return RuntimeLine(
        name=name_of(runtime),
        accelerator=str(spec.get("accelerator") or ""),
        version=str(spec.get("version") or ""),
        backends=tuple(str(one) for one in spec.get("backends") or ()),
        usable_nodes=int(nodes.get("usable") or 0),
        wanted_nodes=int(nodes.get("wanted") or 0),
        verdict=verdict,
        reason=reason,
    )


def _verdict(pipeline: Document, runtime: Document) -> tuple[Literal["Chosen", "Fits", "NotUsable", "Excluded"], str]:
    """Return what a reader can tell without the operator's picture of the nodes."""
    wish, spec = part(pipeline, "spec", "runtime"), part(runtime, "spec")
    chosen = part(pipeline, "status").get("runtime")
    if name_of(runtime) == chosen:
        return "Chosen", "by name" if wish.get("name") == chosen else "the best that fits"
    asked_for = asked(pipeline).classes
    if spec.get("accelerator") not in asked_for:
        return "Excluded", f"for {spec.get('accelerator')}; the placement asks for {' or else '.join(asked_for)}"
    if wish.get("name"):
        return "Excluded", f"spec.runtime.name is {wish['name']}"
    if wish.get("variant") not in (None, spec.get("variant")):
        return "Excluded", f"spec.runtime.variant is {wish['variant']}"
    if spec.get("state") == "Withdrawn":
        return "Excluded", "withdrawn: never chosen"
    if spec.get("state") == "Deprecated":
        return "Excluded", "deprecated: chosen only by name"
    usable = conditions(runtime).get(reasons.USABLE)
    if usable is None or usable.status != "True":
        words = "nobody has looked at it yet" if usable is None else f"{usable.reason}: {usable.message}".rstrip(": ")
        return "NotUsable", words
    bound = f"; spec.runtime.versionConstraint is {wish['versionConstraint']}" if wish.get("versionConstraint") else ""
    return "Fits", f"another one was preferred, or its nodes are not those of the placement{bound}"
