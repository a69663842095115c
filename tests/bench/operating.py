"""The operator against a real API server: `PYTHONPATH=tests python -m bench.operating [--quick] [-o json]`.

The README of this folder says what each row is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from bench.cluster_sight import Sight
from bench.machine import LoadMeter, describe_machine, machine_facts
from bench.operating_phases import Course, Row, burst, idle, killed, nodes_usable, quiet, restart
from support.audit import WRITES, AuditLog
from support.control_plane.binaries import find_binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import PLAYED
from support.nodes import PlayedNode, a_node
from support.objects import serve_kinds
from support.operated import Site
from support.operators import install_operator

USUAL: Final = {"nodes": 1000, "pipelines": 300, "applies": 200, "idle_seconds": 600}
QUICK: Final = {"nodes": 50, "pipelines": 20, "applies": 20, "idle_seconds": 20}
PHASES: Final = (nodes_usable, quiet, burst, idle, restart, killed)


def played_nodes(number: int) -> list[PlayedNode]:
    """Return nodes as a fleet has them: of three sizes, every tenth with GPUs."""
    sizes = (16, 32, 64)
    return [
        a_node(f"node-{index:04d}", cores=sizes[index % 3], gpus=4 if index % 10 == 0 else 0) for index in range(number)
    ]


def measure(options: argparse.Namespace) -> list[Row]:
    """Go through the phases in one cluster and return their rows."""
    nodes = played_nodes(options.nodes)
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane(find_binaries(os.environ), PLAYED, audit_policy=WRITES, parent=Path(folder)) as cluster,
    ):
        serve_kinds(cluster)
        install_operator(cluster)
        say(f"control plane is ready; making {options.nodes} nodes")
        with Site(cluster, nodes) as site, Sight(cluster) as sight:
            course = Course(site, sight, AuditLog(cluster), options, say)
            try:
                return [row for phase in PHASES for row in phase(course)]
            finally:
                course.end()


def say(text: str) -> None:
    """Show progress to people; what is measured goes to standard output."""
    print(text, file=sys.stderr, flush=True)


def print_table(document: dict[str, Any]) -> None:
    """Print the rows for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=max(140, Console().width))
    table = Table(box=None, pad_edge=False)
    table.add_column("WHAT")
    for heading in ("FIGURE", "AT MOST"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("BESIDE")
    for row in document["rows"]:
        limit = "" if row["limit"] is None else f"{row['limit']:g} {row['unit']}"
        table.add_row(row["what"], f"{row['value']:g} {row['unit']}", limit, row["beside"])
    console.print(describe_machine(document["machine"]))
    console.print(f"all processes together kept {document['busyPercent']} % of the processors busy")
    console.print(table)


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.operating", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small cluster and a short rest: whether it runs at all")
    for name, number in USUAL.items():
        text = f"default: {number}; {QUICK[name]} with --quick"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=text)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args(arguments)
    for name, number in (QUICK if options.quick else USUAL).items():
        if getattr(options, name) is None:
            setattr(options, name, number)
    meter = LoadMeter()
    rows = measure(options)
    document = {
        "machine": machine_facts(),
        "busyPercent": round(meter.other_percent([])),
        "nodes": options.nodes,
        "pipelines": options.pipelines,
        "rows": [row.document() for row in rows],
    }
    if options.output == "json":
        print(json.dumps(document, indent=1))
    else:
        print_table(document)


if __name__ == "__main__":
    main(sys.argv[1:])
