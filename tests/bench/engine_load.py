"""What the store costs when an engine is loaded: `PYTHONPATH=tests python -m bench.engine_load [-o json]`.

The engines of the sample pipeline are built into an empty store. Then each is loaded from it as a worker loads it
(open, verify every byte, load, check), in turn with the runtime's own deserialisation of the same bytes. The README has
the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.bare_session import BARE
from bench.machine import describe_machine, machine_facts, verdict
from hpi_agent.building.model_directories import assemble_models
from hpi_agent.building.pipeline import read_plan
from hpi_agent.building.placement import BUILT_FILE
from hpi_agent.building.resolution import Resolution, resolve_plan
from hpi_agent.building.site import read_site
from hpi_agent.building.trial import Bounds, Trial
from hpi_agent.configuration import configs_directory
from hpi_agent.discovery import cpu_allowance
from hpi_agent.processes.quiet import QuietWatch
from hpi_agent.select.candidate import Candidate
from hpi_agent.store.directory import Store

MAX_RATIO: Final = 1.2
"""How many times the runtime's own time our loading may take, verification apart."""
MIN_BYTES_PER_SECOND: Final = 1e9
"""How fast bytes of the store are to be read and verified."""
BUILD: Final = Bounds(seconds=120, memory_bytes=8 * 2**30)


def summarise(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one engine as JSON; medians; pure.

    Args:
        measured: `bytes`, and lists of seconds: `verifySeconds` (open, read and SHA-256), `loadSeconds` (from verified
            bytes to an engine) and `bareSeconds` (the runtime alone).
    """
    verify, load, bare = (median(measured[name]) for name in ("verifySeconds", "loadSeconds", "bareSeconds"))
    rate = measured["bytes"] / verify
    return {
        "mebibytes": round(measured["bytes"] / 2**20, 2),
        "loads": len(measured["loadSeconds"]),
        "bareMilliseconds": round(1e3 * bare, 2),
        "loadMilliseconds": round(1e3 * load, 2),
        "loadRatio": round(load / bare, 3),
        "verifyMilliseconds": round(1e3 * verify, 2),
        "verifyGigabytesPerSecond": round(rate / 1e9, 3),
        "totalMilliseconds": round(1e3 * (verify + load), 2),
        "within": load <= MAX_RATIO * bare and rate >= MIN_BYTES_PER_SECOND,
    }


def sample_resolutions(store: Path) -> tuple[Resolution, ...]:
    """Return what has to be decided for the models of the sample pipeline."""
    path = configs_directory() / "pipelines" / "ocr.yaml"
    manifest, plan = read_plan(path.read_text(encoding="utf-8"), str(path))
    site = read_site(Store(store), cpu_allowance().whole_cores, None)
    return resolve_plan(plan, assemble_models(plan, site.store), manifest.spec.build, site)


def publish(resolution: Resolution, candidate: Candidate) -> dict[str, Any]:
    """Build an engine into the store; return what a process needs to load it."""
    key, path = resolution.engine_key(candidate), resolution.model_path(candidate)

    def write(directory: Path) -> None:
        trial = Trial.start(candidate, path, None, BUILD, resolution.placement(candidate))
        try:
            built = trial.build()
        finally:
            trial.close()
        assert built is not None, f"{candidate.name} has no built form"
        (directory / BUILT_FILE).write_bytes(built)

    store = resolution.site.store
    store.publish("engines", key, write, about={"model": resolution.model.name, "engine": candidate.name})
    return {"store": str(store.root), "key": key, "candidate": candidate.to_json(), "modelPath": str(path)}


def measure(resolution: Resolution, candidate: Candidate, rounds: int) -> dict[str, Any]:
    """Return the figures of one engine as JSON."""
    say(f"{resolution.model.name}: {candidate.name}")
    job = {**publish(resolution, candidate), "rounds": rounds}
    command = [sys.executable, "-m", "bench.loading"]
    done = subprocess.run(command, input=json.dumps(job), stdout=subprocess.PIPE, text=True, check=True)
    return {"model": resolution.model.name, "engine": candidate.name, **summarise(json.loads(done.stdout))}


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.engine_load", description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="loads of each engine, each way (default: %(default)s)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as store:
        resolutions = sample_resolutions(Path(store))
        watch = QuietWatch([os.getpid()], cpu_allowance().usable_cpus)
        rows = [
            measure(resolution, Candidate(backend, "float32", resolution.site.threads), options.rounds)
            for resolution in resolutions
            for backend in BARE
        ]
        load = watch.load()
    document = {"machine": machine_facts(), "otherLoadPercent": round(100 * load, 1), "engines": rows}
    if options.output == "json":
        print(json.dumps(document, indent=1))
    else:
        print_table(document)


def print_table(document: dict[str, Any]) -> None:
    """Print the rows for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=max(150, Console().width))
    console.print(describe_machine(document["machine"]))
    console.print(verdict(document["otherLoadPercent"]))
    title = f"loading an engine, milliseconds, median of {document['engines'][0]['loads']} loads each way, in turn"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("MODEL", "ENGINE"):
        table.add_column(heading, no_wrap=True)
    for heading in ("MIB", "RUNTIME ALONE", "OUR LOAD", "RATIO", "VERIFY", "GB/S", "BOTH", "WITHIN"):
        table.add_column(heading, justify="right")
    for row in document["engines"]:
        table.add_row(
            row["model"],
            row["engine"],
            f"{row['mebibytes']:.1f}",
            f"{row['bareMilliseconds']:.1f}",
            f"{row['loadMilliseconds']:.1f}",
            f"{row['loadRatio']:.2f}",
            f"{row['verifyMilliseconds']:.1f}",
            f"{row['verifyGigabytesPerSecond']:.2f}",
            f"{row['totalMilliseconds']:.1f}",
            "yes" if row["within"] else "no",
        )
    console.print(table)
    rate = MIN_BYTES_PER_SECOND / 1e9
    console.print(
        f"aims: our load at most {MAX_RATIO} times the runtime alone, verification at {rate:.0f} GB/s or more"
    )


def say(text: str) -> None:
    """Tell the person who waits how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
