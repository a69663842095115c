"""From nothing to ready: `PYTHONPATH=tests python -m bench.startup [--runs N] [-o json]`; the README has the rest.

Each run starts every measured process once, in turn, so that a busy spell hits all rows alike. Before the first run
`hpi-agent build` fills the store, and the server is started once: it compiles the byte code of all modules, as on a
machine that has served before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.machine import LoadMeter, describe_machine, machine_facts, verdict
from bench.one_start import start_once
from bench.warm_store import build_ahead, describe_build, sample_document
from support.pages import small_page

INTERPRETER: Final = "pass"
OWN_PACKAGES: Final = """
import pkgutil, importlib, hpi_core, hpi_agent
for package in (hpi_core, hpi_agent):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):
        if not module.name.endswith('__main__'):
            importlib.import_module(module.name)
"""
# PaddleX asks for the desktop build of opencv by name; here the headless one is installed.
PADDLEX: Final = """
import importlib.metadata as metadata
find = metadata.version
metadata.version = lambda name: find(name + '-headless' if name == 'opencv-contrib-python' else name)
import paddlex
"""

ROWS: Final = {
    "interpreter": "Python itself, nothing imported",
    "ownImport": "import of every module of hpi_core and hpi_agent, with what they import",
    "ownImportSelf": "  of it in our own modules (-X importtime)",
    "paddlexImport": "import of PaddleX alone",
    "firstAnswer": "exec of hpi-agent serve to the first right answer of /ocr",
    "ready": "exec of hpi-agent serve to the first 200 of /v2/health/ready",
    "readyPaddlex": "  of it import of PaddleX, as the server tells",
    "readyEngines": "  of it loading of the engines, as the server tells",
}
TARGETS: Final = {"ownImport": 0.3, "ready": 4.0, "firstAnswer": 4.0}
"""What the figures are meant to be at most. Unit: seconds."""


def import_seconds(code: str, environment: dict[str, str]) -> float:
    """Return how long a fresh interpreter takes to run some imports, from exec to exit."""
    started = time.perf_counter()
    # Unloading is no part of an import: the process leaves without it.
    command = [sys.executable, "-c", f"{code}\nimport os; os._exit(0)"]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def own_self_seconds(environment: dict[str, str]) -> float:
    """Return the time that our own modules take to import, without what they import."""
    command = [sys.executable, "-X", "importtime", "-c", OWN_PACKAGES]
    told = subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stderr
    return sum_own(told)


def sum_own(told: str) -> float:
    """Return the seconds of our modules in the output of `python -X importtime`.

    Args:
        told: Lines `import time: SELF | CUMULATIVE | MODULE`, in microseconds.
    """
    rows = (
        line.removeprefix("import time:").split("|") for line in told.splitlines() if line.startswith("import time:")
    )
    return sum(int(row[0]) for row in rows if row[2].strip().startswith(("hpi_core", "hpi_agent"))) / 1e6


def measure(runs: int, manifest: Path, store: Path) -> tuple[dict[str, list[float]], list[str]]:
    """Return the seconds of every row, one entry per run, and what served."""
    page = small_page()
    environment = {
        **os.environ,
        "PADDLE_PDX_CACHE_HOME": str(store / "paddlex"),
        "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True",
    }
    engines = start_once(manifest, store, environment, page).engines
    measured: dict[str, list[float]] = {name: [] for name in ROWS}
    single: dict[str, Callable[[], float]] = {
        "interpreter": lambda: import_seconds(INTERPRETER, environment),
        "ownImport": lambda: import_seconds(OWN_PACKAGES, environment),
        "ownImportSelf": lambda: own_self_seconds(environment),
        "paddlexImport": lambda: import_seconds(PADDLEX, environment),
    }
    for _ in range(runs):
        for name, once in single.items():
            measured[name].append(once())
        for name, seconds in start_once(manifest, store, environment, page).seconds.items():
            measured[name].append(seconds)
    return measured, engines


def summarise(measured: dict[str, list[float]]) -> dict[str, dict[str, float | None]]:
    """Return median, least and most of every row; imports without the start of the interpreter. Unit: seconds."""
    base = median(measured["interpreter"])
    without = {name: base if name in ("ownImport", "paddlexImport") else 0.0 for name in measured}
    return {
        name: {
            "seconds": round(median(values) - without[name], 3),
            "least": round(min(values) - without[name], 3),
            "most": round(max(values) - without[name], 3),
            "target": TARGETS.get(name),
        }
        for name, values in measured.items()
    }


def print_table(document: dict[str, Any]) -> None:
    """Print the rows for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=max(120, Console().width))
    table = Table(title=f"seconds, median of {document['runs']} runs", title_justify="left", box=None, pad_edge=False)
    table.add_column("WHAT")
    for heading in ("SECONDS", "LEAST", "MOST", "TARGET"):
        table.add_column(heading, justify="right")
    for name, row in document["rows"].items():
        target = "" if row["target"] is None else f"<= {row['target']}"
        table.add_row(ROWS[name], f"{row['seconds']:.3f}", f"{row['least']:.3f}", f"{row['most']:.3f}", target)
    console.print(describe_machine(document["machine"]))
    console.print(verdict(document["otherLoadPercent"]))
    console.print(describe_build(document["build"]))
    console.print(table)
    console.print("; ".join(document["engines"]))


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    from hpi_agent.store.directory import default_store_root

    parser = argparse.ArgumentParser(prog="bench.startup", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--store", type=Path, help="default: $HPI_STORE, else ~/.cache/hpi")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    store = (options.store or default_store_root(dict(os.environ))).absolute()
    built = build_ahead(store)
    meter = LoadMeter()
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "ocr.json"
        manifest.write_text(json.dumps(sample_document()), encoding="utf-8")
        measured, engines = measure(options.runs, manifest, store)
    document = {
        "machine": machine_facts(),
        "otherLoadPercent": round(meter.other_percent([]), 1),
        "build": built,
        "engines": engines,
        "runs": options.runs,
        "rows": summarise(measured),
    }
    if options.output == "json":
        print(json.dumps(document, indent=1))
    else:
        print_table(document)


if __name__ == "__main__":
    main(sys.argv[1:])
