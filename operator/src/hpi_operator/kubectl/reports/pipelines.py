"""`status`: one line for each pipeline, the broken ones first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from hpi_core import reasons
from hpi_operator.kubectl.reports.base import REPORT_VERSION, Counts, Report, ReportVersion, Summary
from hpi_operator.kubectl.reports.documents import (
    Document,
    conditions,
    counts,
    is_behind,
    listed,
    name_of,
    namespace_of,
    part,
    summary,
)

NOBODY: Final = "the operator has not looked at it yet"


class SlowestModel(Report):
    """The model of a pipeline that takes longest."""

    name: str
    """PaddleX's name of it."""
    p50_microseconds: int
    """Median time of one inference. Unit: microseconds."""


class EngineCounts(Report):
    """Engines that a pipeline uses or wants."""

    wanted: int = 0
    """All of them."""
    ready: int = 0
    """Decided."""
    building: int = 0
    """Being built."""
    failed: int = 0
    """Given up."""


class PipelineLine(Report):
    """One pipeline in short."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    pipeline: str = ""
    """PaddleX's name of what it serves."""
    ready: Summary
    """Whether it serves as wanted."""
    behind: bool = False
    """Whether its status is of an older spec: the operator has not looked since."""
    ready_replicas: int = 0
    """Replicas that answer."""
    wanted_replicas: int = 0
    """Replicas that are wanted."""
    backend: str = ""
    """Backends in use."""
    hardware: str = ""
    """Hardware in use."""
    engines: EngineCounts
    """Its engines."""
    engine_active: Counts
    """Its pods by how their engines came to be."""
    slowest: SlowestModel | None = None
    """Its slowest model. Absent: none has been measured."""
    attention: str = ""
    """What is not as asked although it is ready: `Fallback`, `Building`, `RolledBack`, …"""


class PipelineList(Report):
    """Answer of `kubectl hpi status -o json`."""

    api_version: ReportVersion = REPORT_VERSION
    """Version of the form."""
    kind: Literal["PipelineList"] = "PipelineList"
    """Which report it is."""
    items: tuple[PipelineLine, ...]
    """The broken ones first, then those that need attention, then by name."""


ATTENTION: Final = (
    (reasons.PROGRESSING, ("RolledBack", "RevisionFailed", "Paused")),
    (reasons.PLACED, ("Spilled",)),
)
"""Reasons that matter although the pipeline is ready, by the condition that has them."""


def pipeline_list(pipelines: Iterable[Document]) -> PipelineList:
    """Return the report on pipelines."""
    return PipelineList(items=tuple(sorted((pipeline_line(one) for one in pipelines), key=_urgency)))


def pipeline_line(pipeline: Document) -> PipelineLine:
    """Return one pipeline in short."""
    status = part(pipeline, "status")
    engines = part(status, "engines")
    behind = is_behind(pipeline)
    return PipelineLine(
        namespace=namespace_of(pipeline),
        name=name_of(pipeline),
        pipeline=str(status.get("pipeline") or part(pipeline, "spec").get("pipeline") or ""),
        ready=summary(pipeline, NOBODY),
        behind=behind,
        ready_replicas=int(status.get("readyReplicas") or 0),
        wanted_replicas=int(status.get("wantedReplicas") or 0),
        backend=str(status.get("backend") or ""),
        hardware=str(status.get("hardware") or ""),
        engines=EngineCounts(**{name: int(engines.get(name) or 0) for name in EngineCounts.model_fields}),
        engine_active=counts(part(status, "engineActive")),
        slowest=_slowest(pipeline),
        attention=attention(pipeline),
    )


def attention(pipeline: Document) -> str:
    """Return the most telling reason that something is not as asked, although the pipeline may be ready."""
    found = conditions(pipeline)
    if is_behind(pipeline):
        return "NotLookedAt"
    for type_, words in ATTENTION:
        if type_ in found and found[type_].reason in words:
            return found[type_].reason
    for type_ in (reasons.ENGINE_ACTIVE, reasons.ENGINES_READY):
        one = found.get(type_)
        if one is not None and (one.status != "True" or one.reason == "Provisional"):
            return one.reason
    return ""


def _slowest(pipeline: Document) -> SlowestModel | None:
    timed = [one for one in listed(pipeline, "status", "models") if one.get("p50Microseconds")]
    if not timed:
        return None
    slowest = max(timed, key=lambda one: (int(one["p50Microseconds"]), str(one.get("name"))))
    return SlowestModel(name=str(slowest.get("name", "")), p50_microseconds=int(slowest["p50Microseconds"]))


def _urgency(line: PipelineLine) -> tuple[int, int, str, str]:
    order = {"False": 0, "Unknown": 1, "True": 2}
    return order[line.ready.status], 0 if line.attention else 1, line.namespace, line.name
