"""`hpi-agent explain -f FILE`: what serves each model here, what was rejected and why, and what the store has."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from typing import Any

from hpi_agent.commands.build import checked_folder
from hpi_agent.commands.serve import (
    add_file_argument,
    add_samples_argument,
    add_sources_arguments,
    add_store_argument,
    read_manifest,
)


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("explain", help="say which engine serves each model, and why", description=__doc__)
    add_file_argument(parser)
    add_store_argument(parser)
    add_samples_argument(parser)
    add_sources_arguments(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="for people, or JSON")


def run(arguments: argparse.Namespace) -> int:
    """Explain; return the exit code: 0 when every model can be served."""
    from hpi_agent.building.explain import explain_pipeline
    from hpi_agent.models.sources.settings import SourceSettings
    from hpi_agent.store.directory import default_store_root

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    store = (arguments.store or default_store_root(dict(os.environ))).absolute()
    samples = None if arguments.samples is None else checked_folder(arguments.samples)
    sources = SourceSettings.read(os.environ, arguments.credentials, arguments.claims)
    report = explain_pipeline(read_manifest(arguments.file), arguments.file, store, samples, sources)
    if arguments.output == "json":
        print(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        _show(report)
    return 0 if all(model["serves"] is not None for model in report["models"]) else 1


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console

    from hpi_agent.commands.build_display import PIPE_WIDTH

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.print(f"pipeline {report['pipeline']}, hardware class {_short(report['hardwareClass'])}, {report['store']}")
    console.print(f"device {report['device']['asked']}: {report['device']['found']}")
    for model in report["models"]:
        console.print()
        _show_model(console, model)


def _show_model(console: Any, model: dict[str, Any]) -> None:
    serves = model["serves"] or "nothing"
    console.print(f"{model['name']}   {_short(model['digest'])}   {model['source']}", style="bold")
    console.print(f"  serves     {serves}: {model['reason']}")
    for note in model["notes"]:
        console.print(f"  table      {note}")
    decision = model["decision"]
    if decision["hit"]:
        console.print(
            f"  decision   {_short(decision['key'])}: hit, {model['state'].lower()}, made {decision['decidedAt']} in "
            f"{decision['buildSeconds']} s"
        )
        if decision["provisional"]:
            console.print(f"             {decision['provisional']}")
        if not decision["verified"]:
            drivers = ", ".join(decision["verifiedOnDrivers"]) or "none"
            console.print(
                f"             verified under the drivers {drivers}, not under this one; hpi-agent build does it"
            )
    else:
        console.print(f"  decision   {_short(decision['key'])}: miss; hpi-agent build makes it")
        _show_nearest(console, decision.get("nearest"))
    engine = model["engine"]
    if engine is not None:
        console.print(f"  engine     {_short(engine['key'])}: {'hit' if engine['hit'] else 'miss'}")
        if not engine["hit"]:
            _show_nearest(console, engine.get("nearest"))
    gate = model["gate"]
    if gate is not None:
        console.print(
            f"  judged by  {gate['reference']}; on {gate['sampleCount']} {gate['samples']} samples with "
            f"{gate['answerCount']} answers; tolerance {gate['tolerance']:g}"
        )
    _show_candidates(console, model["candidates"])


def _show_candidates(console: Any, candidates: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from hpi_agent.commands.build_display import milliseconds

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("  CANDIDATE", no_wrap=True)
    table.add_column("PRECISION", no_wrap=True)
    for heading in ("P50", "P99", "MEMORY", "DIFFERENCE"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("TASK", no_wrap=True)
    table.add_column("VERDICT", no_wrap=True)
    table.add_column("WHY")
    for one in candidates:
        timing = one.get("timing")
        figures = ("-", "-", "-")
        if timing:
            figures = (
                milliseconds(timing["p50Microseconds"]),
                milliseconds(timing["p99Microseconds"]),
                _memory(timing),
            )
        difference = one.get("largestDifference")
        table.add_row(
            f"  {one['name']}",
            one["candidate"]["precision"],
            *figures,
            "-" if difference is None else f"{difference:.1e}",
            one.get("task") or "-",
            one["verdict"],
            one["reason"],
        )
    console.print(table)


def _memory(timing: dict[str, Any]) -> str:
    """Return the memory of a candidate's processes, and what it holds of an accelerator's where that is known."""
    host = f"{timing['memoryBytes'] / 2**20:.0f} MiB"
    device = timing.get("deviceMemoryBytes")
    return host if device is None else f"{host} + {device / 2**20:.0f} MiB on the device"


def _show_nearest(console: Any, near: dict[str, Any] | None) -> None:
    if near is None:
        console.print("             the store has no other one to compare with")
        return
    console.print("             the nearest one in the store differs in:")
    for one in near["differences"]:
        console.print(f"               {one['field']}: here {_value(one['here'])}, there {_value(one['there'])}")
    if near["more"]:
        console.print(f"               and {near['more']} more fields")


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
