"""The benchmark's figures for people."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import verdict
from bench.sides import SIDES
from bench.warm_store import describe_build


def print_tables(document: dict[str, Any]) -> None:
    """Print one table for the small page and one for the large ones, and what a reader has to know about them."""
    console = Console(highlight=False, width=max(140, Console().width))
    console.print(f"detector, the same on every side: {document['detector']}; float32; one page at a time")
    console.print(verdict(document["otherLoadPercent"]))
    large = document["largePages"]
    titles = {
        "small": "scanned page, 384 x 191 pixels, 7 lines",
        "large": f"rendered pages, 1240 x 1754 pixels, seed {document['seed']}: {large['read']} of {large['of']} read, "
        f"{large['readings']} readings",
    }
    for kind, title in titles.items():
        if document["sides"][document["reference"]][kind] is not None:
            console.print(_table(document, kind, title))
    for side, opening in document["opening"].items():
        engines = "; ".join(f"{name}: {engine}" for name, engine in opening["engines"].items())
        console.print(f"{SIDES[side]}: opened in {opening['openSeconds']:.1f} s; {engines}")
    if document["build"] is not None:
        console.print(describe_build(document["build"]))
    console.print(f"reading: {document['seconds']:.0f} s")


def _table(document: dict[str, Any], kind: str, title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("SIDE", no_wrap=True, vertical="bottom")
    models = list(document["sides"][document["reference"]][kind]["modelMilliseconds"])
    for heading in ("MS PER PAGE", "FASTER BY", *(f"{model}, MS" for model in models), "REST, MS", "CHARACTER ERROR"):
        table.add_column(heading, justify="right", no_wrap=True)
    for side, figures in document["sides"].items():
        row = figures[kind]
        table.add_row(
            SIDES[side],
            f"{row['milliseconds']:.0f}",
            f"{row['ratio']:.2f} x",
            *(f"{row['modelMilliseconds'][model]:.0f}" for model in models),
            f"{row['restMilliseconds']:.0f}",
            f"{100 * row['characterErrorRate']:.3f} % ({row['characterErrors']} of {row['characters']})",
        )
    return table
