"""`status` for people: a line for each pipeline."""

from __future__ import annotations

from collections.abc import Iterator

from hpi_operator.kubectl.reports.pipelines import EngineCounts, PipelineLine, PipelineList
from hpi_operator.kubectl.text.terminal import Cell, Style, table
from hpi_operator.kubectl.text.words import milliseconds, ready_cell, reason_and_message

HEADER = (
    "NAMESPACE",
    "NAME",
    "PIPELINE",
    "READY",
    "ANSWER",
    "HARDWARE",
    "BACKEND",
    "SLOWEST MODEL",
    "P50",
    "ENGINES",
    "WHY",
)


def pipelines_text(report: PipelineList, style: Style, *, namespaces: bool) -> Iterator[str]:
    """Yield the lines.

    Args:
        report: What to show.
        style: How lines are written.
        namespaces: Whether they are of several namespaces.
    """
    if not report.items:
        return
    yield from table(HEADER, (_row(one, namespaces) for one in report.items), style)
    broken = [one for one in report.items if one.ready.status != "True"]
    if broken:
        first = broken[0]
        where = f" -n {first.namespace}" if namespaces else ""
        yield ""
        yield f"{len(broken)} of {len(report.items)} not ready; next: kubectl hpi why {first.name}{where}"


def _row(line: PipelineLine, namespaces: bool) -> tuple[Cell | str, ...]:
    answer = f"{line.ready_replicas} of {line.wanted_replicas}"
    slowest = line.slowest
    return (
        line.namespace if namespaces else "",
        Cell(line.name, "bold"),
        line.pipeline,
        ready_cell(line.ready, attention=line.attention),
        Cell(answer, "red" if line.ready_replicas < line.wanted_replicas else ""),
        line.hardware,
        line.backend,
        "" if slowest is None else slowest.name,
        Cell("" if slowest is None else milliseconds(slowest.p50_microseconds), right=True),
        _engines(line.engines),
        _why(line),
    )


def _engines(counts: EngineCounts) -> Cell:
    if not counts.wanted:
        return Cell("")
    words = [f"{counts.ready} of {counts.wanted}"]
    words += [f"{counts.building} building"] if counts.building else []
    words += [f"{counts.failed} failed"] if counts.failed else []
    return Cell(", ".join(words), "red" if counts.failed else "yellow" if counts.building else "")


def _why(line: PipelineLine) -> str:
    if line.ready.status != "True":
        return reason_and_message(line.ready.reason, line.ready.message)
    return line.attention
