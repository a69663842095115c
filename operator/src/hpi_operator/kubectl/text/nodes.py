"""`nodes` for people: a line for each node, or one node in full."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from hpi_operator.kubectl.reports.nodes import NodeLine, NodeList, RuntimeOnNode
from hpi_operator.kubectl.text.terminal import Cell, Row, Style, folded, table
from hpi_operator.kubectl.text.words import (
    active_words,
    age,
    ready_cell,
    reason_and_message,
    short_engine,
    size,
    state_cell,
)

HEADER: Final = ("NAME", "POOL", "READY", "HARDWARE", "DRIVER", "RUNTIMES", "CACHE", "ENGINES", "WORKLOADS", "WHY")
RUNTIMES: Final = ("  RUNTIME", "STATE", "SELF-TEST", "BACKENDS", "WHY")
WORKLOADS: Final = ("  PIPELINE", "REVISION", "PODS", "ENGINES", "WHY")


def nodes_text(report: NodeList, style: Style) -> Iterator[str]:
    """Yield the lines."""
    if not report.items:
        return
    yield from table(HEADER, (_row(one) for one in report.items), style)
    broken = [one for one in report.items if one.ready.status != "True"]
    if broken:
        yield ""
        yield f"{len(broken)} of {len(report.items)} not ready; next: kubectl hpi why node/{broken[0].name}"


def _row(line: NodeLine) -> Row:
    failed = any(one.state == "Failed" for one in line.runtimes)
    return (
        Cell(line.name, "bold"),
        line.pool,
        ready_cell(line.ready),
        ", ".join(line.devices) or f"{line.cores} cores" if line.cores or line.devices else "",
        _drivers(line),
        Cell(", ".join(_runtime_words(one) for one in line.runtimes), "red" if failed else ""),
        _cache(line),
        _engines(line),
        _workloads(line),
        _why(line),
    )


def _workloads(line: NodeLine) -> str:
    pods = sum(one.engine_active.total for one in line.workloads)
    pipelines = len({(one.namespace, one.pipeline) for one in line.workloads}) + line.workloads_omitted
    if not pods:
        return ""
    return f"{pods} pod{'' if pods == 1 else 's'}, {pipelines} pipeline{'' if pipelines == 1 else 's'}"


def _runtime_words(runtime: RuntimeOnNode) -> str:
    word = runtime.self_test or runtime.state
    return f"{runtime.name} {word.lower()}" + ("" if runtime.wanted else ", not wanted")


def _drivers(line: NodeLine) -> str:
    return ", ".join(f"{one.vendor} {one.version or 'not loaded'}" for one in line.drivers)


def _cache(line: NodeLine) -> str:
    if not line.cache_quota_bytes:
        return ""
    return f"{size(line.cache_used_bytes)} of {size(line.cache_quota_bytes)}"


def _engines(line: NodeLine) -> str:
    return ", ".join(f"{count} {state.lower()}" for state, count in line.engines.items())


def _why(line: NodeLine) -> str:
    if line.ready.status != "True":
        return reason_and_message(line.ready.reason, line.ready.message)
    told = [one.message for one in line.workloads if one.message]
    return "; ".join([*line.notes, *told])


def node_text(line: NodeLine, style: Style, now: datetime) -> Iterator[str]:
    """Yield the lines on one node in full."""
    word = {"True": "ready", "False": style.paint("NOT READY", "red"), "Unknown": style.paint("UNKNOWN", "yellow")}
    since = age(line.ready.since, now)
    yield f"{style.paint(line.name, 'bold')}: {word[line.ready.status]}{f' for {since}' if since else ''}"
    if line.ready.status != "True":
        yield from folded(reason_and_message(line.ready.reason, line.ready.message), style, "  ")
        yield f"  next        kubectl hpi why node/{line.name}"
    facts = (
        ("pool", line.pool or "none: no HPINodePool selects it"),
        ("processors", f"{line.cores} cores, {line.processors}" if line.cores else "not reported"),
        ("memory", size(line.memory_bytes)),
        ("devices", ", ".join(line.devices)),
        ("drivers", _toolkits(line)),
        ("cache", _cache(line) and f"{_cache(line)}, {line.cache_entries} entries"),
        ("engines", _engines(line)),
        ("upgrade", line.upgrade),
        ("agent", line.agent_version),
    )
    for name, text in facts:
        if text:
            yield from folded(text, style, " " * 14, f"  {name:<12}")
    for note in line.notes:
        yield from folded(note, style, " " * 14, "  broken      ")
    yield from _section(table(RUNTIMES, (_runtime_row(one) for one in line.runtimes), style))
    rows = [
        (
            f"  {one.namespace}/{one.pipeline}",
            one.revision,
            active_words(one.engine_active),
            ", ".join(short_engine(name) for name in one.engines),
            one.message,
        )
        for one in line.workloads
    ]
    yield from _section(table(WORKLOADS, rows, style))
    if line.workloads_omitted:
        yield f"  and {line.workloads_omitted} more that found no place in the HPINode"


def _toolkits(line: NodeLine) -> str:
    kinds = {"NVIDIA": "CUDA", "Ascend": "CANN"}
    return ", ".join(
        f"{one.vendor} {one.version or 'not loaded'}"
        + (f" ({kinds.get(one.vendor, 'toolkit')} {one.toolkit})" if one.toolkit else "")
        for one in line.drivers
    )


def _runtime_row(one: RuntimeOnNode) -> Row:
    test = Cell(one.self_test, "red" if one.self_test == "Failed" else "")
    return (f"  {one.name}", state_cell(one.state), test, ", ".join(one.backends), one.message)


def _section(lines: list[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield from lines
