"""`explain NAME` for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hpi_operator.kubectl.reports.engines import CHOSEN, REJECTED, Candidate, EngineChoice
from hpi_operator.kubectl.reports.explanation import Explanation
from hpi_operator.kubectl.reports.models import without_engine
from hpi_operator.kubectl.text.terminal import Cell, Row, Style, folded, table
from hpi_operator.kubectl.text.words import (
    asked_words,
    milliseconds,
    obtained_words,
    reason_and_message,
    short_engine,
    size,
    state_cell,
)

CANDIDATES: Final = ("CANDIDATE", "PRECISION", "P50", "P99", "MEMORY", "DEVICE", "DIFFERENCE", "VERDICT", "WHY")
RUNTIMES: Final = ("RUNTIME", "FOR", "VERSION", "USABLE ON", "BACKENDS", "VERDICT", "WHY")
SERVED: Final = ("MODEL", "SERVES ON", "P50", "P99", "STATE", "WHERE")
NO_ENGINE: Final = (
    "There is no HPIEngine of these: the operator makes them where spec.build.policy is Prebuild, of models whose "
    "digest the spec states. The pods themselves know every candidate: GET /engines of one says why each was rejected."
)
INDENT: Final = "  "


def explanation_text(report: Explanation, style: Style) -> Iterator[str]:
    """Yield the lines."""
    yield style.paint(f"{report.namespace}/{report.name}", "bold")
    yield from folded(asked_words(report.asked), style, " " * 12, "  asked     ")
    yield from folded(obtained_words(report.obtained), style, " " * 12, "  obtained  ")
    for note in report.notes:
        yield from folded(note, style, " " * 12, "  note      ")
    yield from _placement(report, style)
    yield from _runtimes(report, style)
    for model in report.models:
        yield from _model(model, style)
    yield from _served(report, style)
    for engine in report.unknown_engines:
        yield f"engine {engine.name}: {engine.reason}"
    if report.unseen:
        yield ""
        yield "not seen"
        for line in report.unseen:
            yield from folded(line, style, INDENT)


def _placement(report: Explanation, style: Style) -> Iterator[str]:
    placed = report.placement.placed
    yield ""
    word = {"True": "hardware", "False": style.paint("hardware: NOT PLACED", "red"), "Unknown": "hardware: unknown"}
    yield f"{word[placed.status]}  {placed.reason}"
    for line in report.placement.lines:
        yield from folded(line, style, INDENT + "  ", INDENT)
    for one in report.placement.replicas:
        yield f"{INDENT}{one.hardware_class}: {one.ready} of {one.wanted} replicas answer"


def _runtimes(report: Explanation, style: Style) -> Iterator[str]:
    if not report.runtimes:
        return
    rows: list[Row] = [
        (
            INDENT + one.name,
            one.accelerator,
            one.version,
            f"{one.usable_nodes} of {one.wanted_nodes} nodes",
            ", ".join(one.backends),
            state_cell(one.verdict),
            one.reason,
        )
        for one in report.runtimes
    ]
    yield ""
    yield from table((INDENT + RUNTIMES[0], *RUNTIMES[1:]), rows, style)


def _served(report: Explanation, style: Style) -> Iterator[str]:
    """Yield what serves where no HPIEngine says why."""
    rows: list[Row] = [
        (
            INDENT + one.name,
            " ".join(word for word in (one.backend, one.precision) if word),
            Cell(milliseconds(one.p50_microseconds), right=True),
            Cell(milliseconds(one.p99_microseconds), right=True),
            state_cell(one.state),
            f"{one.pods} pod{'' if one.pods == 1 else 's'}",
        )
        for one in without_engine(report.served, (one.engine.model for one in report.models))
    ]
    if rows:
        yield ""
        yield from table((INDENT + SERVED[0], *SERVED[1:]), rows, style)
        yield ""
        yield from folded(NO_ENGINE, style, INDENT)
    elif not report.models:
        yield ""
        yield "engines: no pod has told yet what it serves on"


def _model(model: EngineChoice, style: Style) -> Iterator[str]:
    engine = model.engine
    yield ""
    yield f"{style.paint(f'model {engine.model}', 'bold')}   {short_engine(engine.name)}   {model.hardware}"
    yield from folded(_serves(model), style, " " * 12, "  serves    ")
    if model.next_best is not None:
        percent = model.next_best_slowdown_percent
        slower = "" if percent is None else f", {percent} % slower" if percent >= 0 else f", {-percent} % faster"
        yield f"  next best {model.next_best}{slower}"
    elif model.candidates:
        yield "  next best none: no other candidate could serve"
    asked = [f"backend {engine.asked}" if engine.asked else "the best backend", f"fallback {model.fallback}"]
    yield f"  asked     {', '.join([*asked, model.mode, model.runtime])}"
    if model.accuracy or model.reference:
        judge = f"{model.accuracy}; reference: {model.reference or 'none yet'}"
        yield from folded(judge, style, " " * 12, "  judged by ")
    if model.attempts or model.holder:
        yield from folded(_built(model), style, " " * 12, "  built     ")
    if model.last_failure is not None:
        words = reason_and_message(model.last_failure.reason, model.last_failure.message)
        yield from folded(words, style, " " * 12, "  failed    ")
    rows = [_row(one) for one in model.candidates]
    yield from table((INDENT + CANDIDATES[0], *CANDIDATES[1:]), rows, style)


def _serves(model: EngineChoice) -> str:
    engine = model.engine
    if not engine.chosen:
        return f"nothing is decided yet: {engine.state}"
    words = [f"{engine.chosen} {engine.precision}", milliseconds(engine.p50_microseconds), engine.state, engine.reason]
    return ", ".join(word for word in words if word)


def _built(model: EngineChoice) -> str:
    words = [f"{model.attempts} attempt{'' if model.attempts == 1 else 's'}"]
    words += [f"{model.build_seconds} s"] if model.build_seconds is not None else []
    words += [f"by {model.holder}"] if model.holder else []
    words += [f"{size(model.artifact_bytes)} artifact"] if model.artifact_bytes is not None else []
    if model.verified_on_drivers:
        words.append(f"right under drivers {', '.join(model.verified_on_drivers)}")
    return ", ".join(words)


def _row(one: Candidate) -> Row:
    difference = one.largest_difference_parts_per_million
    colour = "green" if one.verdict == CHOSEN else "red" if one.verdict in REJECTED[:2] else ""
    return (
        Cell(INDENT + one.name, "bold" if one.verdict == CHOSEN else ""),
        one.precision,
        Cell(milliseconds(one.p50_microseconds), right=True),
        Cell(milliseconds(one.p99_microseconds), right=True),
        Cell(size(one.memory_bytes), right=True),
        Cell(size(one.device_memory_bytes), right=True),
        Cell("" if difference is None else f"{difference} ppm", right=True),
        Cell(one.verdict, "green" if colour == "green" else "red" if colour == "red" else ""),
        one.reason,
    )
