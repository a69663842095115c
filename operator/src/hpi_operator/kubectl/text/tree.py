"""`status NAME` for people: a head with what was asked beside what was obtained, and a tree."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from hpi_operator.kubectl.reports.engines import EngineLine
from hpi_operator.kubectl.reports.models import ModelLine, without_engine
from hpi_operator.kubectl.reports.pods import PodLine
from hpi_operator.kubectl.reports.tree import EngineInUse, PipelineTree, RevisionLine
from hpi_operator.kubectl.text.terminal import Cell, Colour, Row, Style, folded, table
from hpi_operator.kubectl.text.words import (
    active_words,
    age,
    asked_words,
    milliseconds,
    obtained_words,
    reason_and_message,
    short_engine,
    state_cell,
)

HEADER: Final = ("", "STATE", "WHERE", "ASKED", "OBTAINED", "P50", "P99", "WHY")
BRANCHES: Final = {False: ("├─ ", "└─ ", "│  ", "   "), True: ("|- ", "`- ", "|  ", "   ")}
VERDICTS: Final[dict[str, tuple[str, Colour]]] = {
    "True": ("ready", "green"),
    "False": ("NOT READY", "red"),
    "Unknown": ("UNKNOWN", "yellow"),
}
MAX_MESSAGES: Final = 3
"""Messages of failing pods that are told whole below the tree."""
MAX_PODS: Final = 20
"""Pods of one revision that are shown one by one; those that fail come first."""


def tree_text(report: PipelineTree, style: Style, now: datetime) -> Iterator[str]:
    """Yield the lines."""
    yield from head(report, style, now)
    if report.revisions or report.engines:
        yield ""
        yield from table(HEADER, _rows(report, style), style)
    if style.width is not None:
        yield from _whole_messages(report, style)
    yield from _more("notes", report.notes, style)
    yield from _more("not seen", report.unseen, style)


def _whole_messages(report: PipelineTree, style: Style) -> Iterator[str]:
    """Yield what failing pods say where the table had to cut it, each text once."""
    wrong = [pod for revision in report.revisions for pod in revision.pods if pod.wrong and pod.message]
    texts = {pod.message: pod for pod in reversed(wrong)}
    for pod in list(reversed(texts.values()))[:MAX_MESSAGES]:
        yield ""
        yield from folded(f"{pod.name}: {pod.state}: {pod.message}", style, "  ", "")


def head(report: PipelineTree, style: Style, now: datetime) -> Iterator[str]:
    """Yield whether a pipeline is ready, what was asked, what was obtained."""
    ready, since = report.ready, age(report.ready.since, now)
    word, colour = VERDICTS[ready.status]
    name = style.paint(f"{report.namespace}/{report.name}", "bold")
    for_so_long = f" for {since}" if since else ""
    but = f", but {report.attention}" if ready.status == "True" and report.attention else ""
    yield f"{name}: {style.paint(word, 'yellow' if but else colour)}{for_so_long}{but}"
    if ready.status != "True":
        yield from folded(reason_and_message(ready.reason, ready.message), style, "  ")
    if report.behind and ready.reason != "NotLookedAt":
        yield "  the operator has not looked at the newest spec: all of this is about an older one"
    yield from folded(asked_words(report.asked), style, "            ", "  asked     ")
    yield from folded(obtained_words(report.obtained), style, "            ", "  obtained  ")
    failed = report.last_failure
    shown = {pod.name for revision in report.revisions for pod in revision.pods if pod.wrong}
    if (
        failed is not None
        and failed.pod not in shown
        and (ready.status != "True" or report.attention in ("RolledBack", "RevisionFailed"))
    ):
        where = f" in pod {failed.pod}" if failed.pod else ""
        code = "" if failed.exit_code is None else f", exit code {failed.exit_code}"
        words = (
            f"{failed.reason}{code}{where} of revision {failed.revision}, {age(failed.time, now)} ago: {failed.message}"
        )
        yield from folded(words, style, "            ", "  failed    ")
    if ready.status != "True" or report.attention:
        yield f"  next      kubectl hpi why pipeline/{report.name} -n {report.namespace}"


def _rows(report: PipelineTree, style: Style) -> Iterator[Row]:
    branch, last, through, blank = BRANCHES[style.ascii]
    yield (Cell(f"pipeline {report.name}", "bold"), "", "", "", "", "", "", "")
    tops = len(report.revisions) + len(report.engines)
    for place, revision in enumerate(report.revisions):
        is_last = place == tops - 1
        yield _revision_row((last if is_last else branch), revision)
        inner = blank if is_last else through
        shown, hidden = revision.pods[:MAX_PODS], revision.pods[MAX_PODS:]
        children: list[Row] = [_pod_row(one) for one in shown]
        children += [(f"and {len(hidden)} more pods", "", "", "", "", "", "", "")] if hidden else []
        children += [_engine_row(one) for one in revision.engines]
        told = (one.engine.model for one in revision.engines)
        children += [_model_row(one) for one in without_engine(revision.models, told)]
        for number, child in enumerate(children):
            mark = last if number == len(children) - 1 else branch
            yield (f"{inner}{mark}{_text(child)}", *child[1:])
    for place, engine in enumerate(report.engines, len(report.revisions)):
        row = _engine_row(EngineInUse(engine=engine, pods=0))
        yield (f"{last if place == tops - 1 else branch}{_text(row)}", *row[1:])


def _text(row: Row) -> str:
    first = row[0]
    return first.text if isinstance(first, Cell) else first


def _revision_row(mark: str, revision: RevisionLine) -> Row:
    number = f" #{revision.number}" if revision.number is not None else ""
    roles = [
        "serves" if revision.serves else "",
        "wanted" if revision.wanted and not revision.serves else "",
        f"{revision.weight_percent} % of requests" if revision.weight_percent is not None else "",
    ]
    asked = sum(one.replicas for one in revision.deployments)
    ready = sum(one.ready_replicas for one in revision.deployments)
    problem = "; ".join(f"{one.name}: {one.problem}" for one in revision.deployments if one.problem)
    return (
        f"{mark}revision {revision.name}{number}",
        state_cell(revision.state),
        ", ".join(role for role in roles if role),
        f"{asked} pods" if revision.deployments else "",
        f"{ready} ready" if revision.deployments else "",
        "",
        "",
        problem,
    )


def _pod_row(pod: PodLine) -> Row:
    why = [f"exit code {pod.exit_code}" if pod.exit_code not in (None, 0) else ""]
    why += [f"{pod.restarts} restart{'' if pod.restarts == 1 else 's'}" if pod.restarts else ""]
    why += [pod.message or pod.told]
    return (
        f"pod {pod.name}",
        state_cell(pod.state, wrong=pod.wrong),
        pod.node or "",
        pod.hardware_class,
        active_words(pod.engine_active) or ("not reported" if pod.state == "Ready" else ""),
        "",
        "",
        "; ".join(word for word in why if word),
    )


def _engine_row(used: EngineInUse) -> Row:
    engine: EngineLine = used.engine
    where = f"{used.pods} pod{'' if used.pods == 1 else 's'}" if used.pods else "no pod reports it"
    return (
        f"engine {engine.model or short_engine(engine.name)}",
        state_cell(engine.state),
        where,
        engine.asked or "the best",
        " ".join(word for word in (engine.chosen or engine.backend, engine.precision) if word),
        Cell(milliseconds(engine.p50_microseconds), right=True),
        Cell(milliseconds(engine.p99_microseconds), right=True),
        engine.reason,
    )


def _model_row(model: ModelLine) -> Row:
    return (
        f"model {model.name}",
        state_cell(model.state),
        f"{model.pods} pod{'' if model.pods == 1 else 's'}",
        "",
        " ".join(word for word in (model.backend, model.precision) if word),
        Cell(milliseconds(model.p50_microseconds), right=True),
        Cell(milliseconds(model.p99_microseconds), right=True),
        "",
    )


def _more(title: str, lines: tuple[str, ...], style: Style) -> Iterator[str]:
    if lines:
        yield ""
        yield title
        for line in lines:
            yield from folded(line, style, "  ")
