"""Is the choice by measurement the right one? `PYTHONPATH=tests python -m bench.choice [--models KEY ...] [-o json]`.

Each of six models is built and decided in an empty store, as `hpi-agent build` does it; then all candidates that passed
the gate are measured again, apart from the build. The README has the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.machine import describe_machine, machine_facts, verdict
from bench.remeasure import Remeasured, check_choice, remeasure, shapes_of
from bench.six_models import KEYS, MeasuredModel, measured_models
from hpi_agent.building.measurement import Pace
from hpi_agent.building.pipeline import BuildSettings, build_on_site
from hpi_agent.building.site import PADDLE_ENVIRONMENT, Site, read_site
from hpi_agent.building.trial import Bounds
from hpi_agent.discovery import cpu_allowance, detect
from hpi_agent.plugins.environment import PluginEnvironment, find_environment
from hpi_agent.processes.quiet import QuietWatch
from hpi_agent.select.decision import Decision
from hpi_agent.store.directory import Store
from support.building import resolution_of
from support.paddle_environment import VARIABLE
from support.project import ROOT

MAX_BUILD_SECONDS: Final = 60.0
"""What building and deciding for one model is meant to take at most."""
STEP_SECONDS: Final = 60


def paddle_environment(root: Path) -> PluginEnvironment:
    """Return the environment with Paddle: that of `HPI_PADDLE_PYTHON`, else the one that is installed in a store.

    Raises:
        SystemExit: There is none.
    """
    if os.environ.get(VARIABLE):
        from support.conversions import converter_environment

        return converter_environment()
    found = find_environment(Store(root), PADDLE_ENVIRONMENT)
    if found is None:
        raise SystemExit(
            f"three of the models are in Paddle's format, and {root} has no environment {PADDLE_ENVIRONMENT!r}; "
            f"run `hpi-agent install {PADDLE_ENVIRONMENT} --store {root}`, or name others with --models"
        )
    return found


def site_of(store: Path, environment: PluginEnvironment | None) -> Site:
    """Return what this machine brings, with a store of the benchmark's own and an environment of another one."""
    site = read_site(Store(store), cpu_allowance().whole_cores, None)
    version = None if environment is None else environment.versions["paddlepaddle"]
    return replace(site, environment=environment, runtimes={**site.runtimes, "paddle": version})


def measure(model: MeasuredModel, site: Site, rounds: int, pace: Pace) -> dict[str, Any]:
    """Build, decide and check the choice for one model; return the figures as JSON."""
    memory = (detect(Path("/")).memory.available_bytes or 2**32) // 2
    settings = BuildSettings(site.store.root, None, candidate_seconds=STEP_SECONDS, pace=pace)
    started = time.monotonic()
    [decision] = build_on_site(model.manifest(), "bench.choice", site, settings, say_event)
    seconds = time.monotonic() - started
    row = {"key": model.key, "title": model.title, "model": model.name, **_decided(decision, seconds)}
    if decision.chosen is None:
        return row
    say(f"{model.key}: chosen {decision.chosen.candidate.name}; measuring again")
    watch = QuietWatch([os.getpid()], cpu_allowance().usable_cpus)
    again = remeasure(resolution_of(model.manifest(), site), decision, Bounds(STEP_SECONDS, memory), rounds)
    return {**row, "otherLoadPercent": round(100 * watch.load(), 1), **_checked(decision, again)}


def _decided(decision: Decision, seconds: float) -> dict[str, Any]:
    chosen = decision.chosen
    return {
        "buildSeconds": round(seconds, 1),
        "chosen": None if chosen is None else chosen.candidate.name,
        "reason": None if chosen is None else chosen.reason,
        "provisional": decision.provisional,
        "samples": None if decision.gate is None else f"{decision.gate.sample_count} {decision.gate.samples}",
        "reference": None if decision.gate is None else decision.gate.reference,
        "candidates": [
            {
                "name": outcome.candidate.name,
                "verdict": outcome.verdict,
                "reason": outcome.reason,
                "p50Microseconds": None if outcome.timing is None else outcome.timing.p50_microseconds,
                "rounds": None if outcome.timing is None else outcome.timing.rounds,
            }
            for outcome in decision.outcomes
        ],
    }


def _checked(decision: Decision, again: Remeasured) -> dict[str, Any]:
    assert decision.chosen is not None
    p50 = {candidate.name: timing.p50_microseconds for candidate, timing in again.timings.items()}
    checked = check_choice(decision.chosen.candidate.name, p50)
    return {
        "sampleShapes": shapes_of(again.samples),
        "again": {
            candidate.name: {
                "p50Microseconds": timing.p50_microseconds,
                "p99Microseconds": timing.p99_microseconds,
                "rounds": timing.rounds,
                "leftOut": again.left_out.get(candidate),
            }
            for candidate, timing in again.timings.items()
        },
        "best": checked.best,
        "ratio": round(checked.ratio, 3),
        "verdict": checked.verdict,
    }


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the checked command line."""
    parser = argparse.ArgumentParser(prog="bench.choice", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=KEYS, default=list(KEYS), help="default: all six")
    parser.add_argument("--rounds", type=int, default=12, help="of the second measurement (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="short measurements: shows that it works, no figures")
    environment = ROOT / "build" / "store"
    parser.add_argument(
        "--environment", type=Path, default=environment, help="store with Paddle (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark and print its result."""
    options = parse_arguments(arguments)
    pace = Pace(seconds=2.0, min_rounds=3, patience_seconds=0.0) if options.quick else Pace()
    needs_paddle = not {"db", "crnn", "resnet18"}.isdisjoint(options.models)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        environment = paddle_environment(options.environment.absolute()) if needs_paddle else None
        site = site_of(Path(folder) / "store", environment)
        models = measured_models(options.models, Path(folder))
        rows = [measure(model, site, 3 if options.quick else options.rounds, pace) for model in models]
    document = {
        "machine": machine_facts(),
        "otherLoadPercent": max((row["otherLoadPercent"] for row in rows if "otherLoadPercent" in row), default=0.0),
        "quick": options.quick,
        "seconds": round(time.monotonic() - started, 1),
        "models": rows,
    }
    if options.output == "json":
        print(json.dumps(document, indent=1))
    else:
        print_tables(document)


def print_tables(document: dict[str, Any]) -> None:
    """Print the choice for each model, and below what every candidate took."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, width=max(160, Console().width))
    console.print(describe_machine(document["machine"]))
    console.print(f"while it was measured again, at most: {verdict(document['otherLoadPercent'])}")
    title = f"choice by measurement{'; quick: no figures' if document['quick'] else ''}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("MODEL", "SAMPLES", "BUILD, S", "CHOSEN", "P50, MS", "AGAIN, MS", "BEST AGAIN", "RATIO", "VERDICT"):
        right = heading in ("BUILD, S", "P50, MS", "AGAIN, MS", "RATIO")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for row in document["models"]:
        table.add_row(*_cells(row))
    console.print(table)
    for row in document["models"]:
        console.print(f"{row['title']}: {_candidates(row)}")
        if row["provisional"]:
            console.print(f"  provisional: {row['provisional']}")
    console.print(
        f"aims: at most {MAX_BUILD_SECONDS:.0f} s a model, ratio at most 1.10; run: {document['seconds']:.0f} s"
    )


def _cells(row: dict[str, Any]) -> list[str]:
    start = [row["title"], row["samples"] or "-", f"{row['buildSeconds']:.1f}"]
    if row["chosen"] is None:
        return [*start, "nothing", "-", "-", "-", "-", "no candidate passed"]
    [built] = [one["p50Microseconds"] for one in row["candidates"] if one["verdict"] == "Chosen"]
    again = row["again"][row["chosen"]]["p50Microseconds"]
    late = "" if row["buildSeconds"] <= MAX_BUILD_SECONDS else ", build too long"
    figures = [f"{built / 1e3:.2f}", f"{again / 1e3:.2f}", row["best"], f"{row['ratio']:.2f}"]
    return [*start, row["chosen"], *figures, row["verdict"] + late]


def _candidates(row: dict[str, Any]) -> str:
    told = []
    for one in row["candidates"]:
        again = row.get("again", {}).get(one["name"])
        if again is None:
            told.append(f"{one['name']}: {one['verdict']}, {one['reason']}")
            continue
        left_out = f", left out after {again['rounds']} rounds" if again["leftOut"] else ""
        told.append(
            f"{one['name']} {one['p50Microseconds'] / 1e3:.2f}, again {again['p50Microseconds'] / 1e3:.2f} ms{left_out}"
        )
    return "; ".join(told)


def say_event(event: dict[str, Any]) -> None:
    """Tell the steps of a build, but not every round of its measurement."""
    if event["event"] == "candidate" and event["step"] != "time":
        say(f"{event['model']}: {event['candidate']}: {event['step']} {event['detail']}")
    elif event["event"] == "model":
        say(f"{event['model']}: {event['step']} {event['detail']}")


def say(text: str) -> None:
    """Tell the person who waits how far it is."""
    print(text.rstrip(), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
