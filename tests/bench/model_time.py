"""What a model costs in the server: `PYTHONPATH=tests python -m bench.model_time [--store DIR] [-o json]`.

The time inside each model that a running server counts is compared with the same runtime, engine and arrays in a
process that does nothing else. Both read the same pages and take the same tensors in turn. The README has the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.engine_load import sample_resolutions
from bench.machine import describe_machine, machine_facts, verdict
from bench.model_cases import Case, Seconds, ask_server, infer_case, ocr_case
from bench.warm_store import build_ahead, describe_build, sample_document
from hpi_agent.building.choice import find_decision
from hpi_agent.building.resolution import Resolution
from hpi_agent.discovery import cpu_allowance
from hpi_agent.processes.quiet import QuietWatch
from support.pages import SEED, render_page, small_page
from support.servers import RunningServer, serving

MAX_RATIO: Final = 1.05
"""How many times the bare runtime's time a model may take in the server."""
REST_SECONDS: Final = 0.1
"""Pause before each side's turn, in which threads of the other stop spinning."""


@dataclass
class Turns:
    """The seconds of both sides, by case and model, one entry a round."""

    server: dict[tuple[str, str], list[float]]
    bare: dict[tuple[str, str], list[float]]


def summarise(turns: Turns) -> list[dict[str, Any]]:
    """Return one row per case and model as JSON; medians; pure.

    The seconds of the server are None where its counter did not move: it does not count that kind of request.
    """
    rows = []
    for (case, model), bare in turns.bare.items():
        server = [seconds for seconds in turns.server.get((case, model), []) if seconds > 0]
        ratio = median(server) / median(bare) if server else None
        rows.append(
            {
                "case": case,
                "model": model,
                "rounds": len(bare),
                "serverMilliseconds": round(1e3 * median(server), 2) if server else None,
                "bareMilliseconds": round(1e3 * median(bare), 2),
                "ratio": None if ratio is None else round(ratio, 3),
                "within": None if ratio is None else ratio <= MAX_RATIO,
            }
        )
    return rows


@contextlib.contextmanager
def bare_side(job: Path) -> Iterator[Callable[[Case], Seconds]]:
    """Run the bare runtime until the block ends; yield what asks it."""
    command = [sys.executable, "-m", "bench.bare_side", str(job)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def receive() -> dict[str, float]:
        line = stdout.readline()
        if not line:
            raise SystemExit(f"the bare side ended with {process.wait()}; its message is above")
        reply: dict[str, float] = json.loads(line)
        return reply

    def ask(case: Case) -> Seconds:
        print(json.dumps({"calls": str(case.calls)}), file=stdin, flush=True)
        return receive()

    try:
        receive()
        yield ask
    finally:
        process.kill()
        process.wait()


def chosen_engines(resolutions: Sequence[Resolution]) -> list[dict[str, Any]]:
    """Return the engines that the store's decisions chose, for the bare side.

    Raises:
        SystemExit: A model has none that could be loaded on a bare runtime.
    """
    found = []
    for resolution in resolutions:
        decision = find_decision(resolution)
        chosen = None if decision is None else decision.chosen
        if chosen is None or chosen.engine_key is None:
            raise SystemExit(f"no engine in the store was chosen for {resolution.model.name}; run `hpi-agent build`")
        name, candidate = resolution.model.name, chosen.candidate
        found.append({"name": name, "engineKey": chosen.engine_key, "candidate": candidate.to_json()})
    return found


def check_served(server: RunningServer, engines: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that both sides run the same engines.

    Raises:
        SystemExit: The server serves others.
    """
    with server.client() as client:
        served = {model["name"]: model["engineKey"] for model in client.get("/engines").json()["models"]}
    wanted = {engine["name"]: engine["engineKey"] for engine in engines}
    if served != wanted:
        raise SystemExit(f"the server serves the engines {served}, the store's decisions chose {wanted}")


def measure(server: RunningServer, job: Path, cases: Sequence[Case], rounds: int) -> Turns:
    """Let both sides take turns, case by case; who comes first changes with every round."""
    turns = Turns({}, {})
    with server.client() as client, bare_side(job) as ask_bare:

        def ask(case: Case) -> Seconds:
            return ask_server(client, case)

        sides: list[tuple[dict[tuple[str, str], list[float]], Callable[[Case], Seconds]]]
        sides = [(turns.server, ask), (turns.bare, ask_bare)]
        for number in range(rounds):
            for case in cases:
                for found, ask_side in sides if number % 2 == 0 else sides[::-1]:
                    time.sleep(REST_SECONDS)
                    for model, seconds in ask_side(case).items():
                        found.setdefault((case.name, model), []).append(seconds)
            say(f"round {number + 1} of {rounds}")
    return turns


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    from hpi_agent.store.directory import default_store_root

    parser = argparse.ArgumentParser(prog="bench.model_time", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    parser.add_argument("--store", type=Path, help="default: $HPI_STORE, else ~/.cache/hpi")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    store = (options.store or default_store_root(dict(os.environ))).absolute()
    built = build_ahead(store)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        resolutions = sample_resolutions(store)
        engines = chosen_engines(resolutions)
        job = folder / "job.json"
        job.write_text(json.dumps({"store": str(store), "models": engines}), encoding="utf-8")
        cases = [
            ocr_case("/ocr, small page", small_page(), store, folder),
            ocr_case("/ocr, large page", render_page(SEED, 0), store, folder),
            *(infer_case(resolution, folder) for resolution in resolutions),
        ]
        with serving(sample_document(), store) as server:
            check_served(server, engines)
            watch = QuietWatch([os.getpid()], cpu_allowance().usable_cpus)
            turns = measure(server, job, cases, options.rounds)
            load = watch.load()
    document = {
        "machine": machine_facts(),
        "otherLoadPercent": round(100 * load, 1),
        "build": built,
        "rows": summarise(turns),
    }
    if options.output == "json":
        print(json.dumps(document, indent=1))
    else:
        print_table(document)


def print_table(document: dict[str, Any]) -> None:
    """Print the rows for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False, width=max(150, Console().width))
    console.print(describe_machine(document["machine"]))
    console.print(verdict(document["otherLoadPercent"]))
    console.print(describe_build(document["build"]))
    title = (
        f"time inside models, milliseconds a request or all samples, median of {document['rows'][0]['rounds']} rounds"
    )
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for heading in ("REQUEST", "MODEL"):
        table.add_column(heading, no_wrap=True)
    for heading in ("IN THE SERVER", "RUNTIME ALONE", "RATIO", "WITHIN"):
        table.add_column(heading, justify="right")
    for row in document["rows"]:
        bare = f"{row['bareMilliseconds']:.1f}"
        if row["ratio"] is None:
            table.add_row(row["case"], row["model"], "not counted", bare, "-", "-")
            continue
        within = "yes" if row["within"] else "no"
        table.add_row(
            row["case"], row["model"], f"{row['serverMilliseconds']:.1f}", bare, f"{row['ratio']:.3f}", within
        )
    console.print(table)
    console.print(f"aim: at most {MAX_RATIO} times the runtime alone")


def say(text: str) -> None:
    """Tell the person who waits how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
