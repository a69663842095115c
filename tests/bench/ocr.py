"""OCR, both systems in one run: `PYTHONPATH=tests python -m bench.ocr [--quick] [-o json]`; the README has the rest."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from bench.machine import LoadMeter, describe_machine, machine_facts
from bench.sides import SIDES, as_quad, detector_settings
from bench.summary import Measured, Reading, summarise
from bench.table import print_tables
from bench.warm_store import build_ahead
from support.pages import SEED, Page, pages, small_page
from support.text_error import TextLine, character_error

REST_SECONDS: Final = 0.1
"""Pause before each reading, in which threads of the side before stop spinning: ONNX Runtime's take 35 ms (1.31.1)."""


@dataclass(frozen=True)
class Extent:
    """How much is read."""

    large_pages: int
    small_repeats: int
    """Readings of the small page by each side in one round."""
    budget_seconds: float
    """When to be done, counted from the end of the build: no page is begun that would take longer, judged by the
    slowest one so far. Unit: seconds."""


FULL: Final = Extent(large_pages=20, small_repeats=7, budget_seconds=345)
QUICK: Final = Extent(large_pages=2, small_repeats=3, budget_seconds=55)


@dataclass(frozen=True)
class Stored:
    """One page and the file that the sides read it from."""

    page: Page
    file: Path


@dataclass
class Side:
    """One running side."""

    name: str
    process: subprocess.Popen[str]
    opening: dict[str, Any] = field(default_factory=dict)

    def wait_until_open(self) -> None:
        """Wait until the side has loaded its models."""
        self.opening = self._receive()

    def read(self, stored: Stored) -> Reading:
        """Let the side read one page."""
        assert self.process.stdin is not None
        time.sleep(REST_SECONDS)
        print(json.dumps({"page": str(stored.file)}), file=self.process.stdin, flush=True)
        reply = self._receive()
        lines = [TextLine(text, as_quad(quad)) for text, quad in reply["lines"]]
        return Reading(reply["seconds"], reply["models"], character_error(stored.page.text_lines, lines))

    def _receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"side {self.name!r} ended with {self.process.wait()}; its message is above")
        reply: dict[str, Any] = json.loads(line)
        return reply


@contextlib.contextmanager
def running(names: Sequence[str], store: Path, threads: int) -> Iterator[list[Side]]:
    """Start one process per side; they load at the same time and end with the block."""
    sides = []
    try:
        for name in names:
            command = [sys.executable, "-m", "bench.sides", name, str(store), str(threads)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            sides.append(Side(name, process))
        yield sides
    finally:
        for side in sides:
            side.process.kill()
            side.process.wait()


def store_pages(folder: Path, found: Iterator[Page]) -> list[Stored]:
    """Write pages where the sides can read them, so that every side gets the same pixels."""
    stored = []
    for page in found:
        file = folder / f"{page.name}.npy"
        np.save(file, page.image, allow_pickle=False)
        stored.append(Stored(page, file))
    return stored


def measure(sides: Sequence[Side], small: Stored, large: Sequence[Stored], extent: Extent, started: float) -> Measured:
    """Read pages side by side, round by round, until the time is used up.

    Every page is read by all sides before the next one is begun, each time in another order.
    """
    measured = Measured()
    page_seconds = 0.0
    for page in (small, large[0]):
        began = time.monotonic()
        for side in sides:
            side.read(page)
        page_seconds = time.monotonic() - began
    for turn, page in enumerate(round_of_pages(small, large, extent)):
        # One large page is read even when the time is used up: no figure is worse than a late one.
        enough = measured.pages_read > extent.small_repeats
        if enough and time.monotonic() - started + page_seconds > extent.budget_seconds:
            break
        began = time.monotonic()
        for offset in range(len(sides)):
            side = sides[(turn + offset) % len(sides)]
            measured.add(page.page.name, side.name, side.read(page))
        measured.pages_read += 1
        page_seconds = max(page_seconds, time.monotonic() - began)
        say(f"{time.monotonic() - started:4.0f} s  {page.page.name}")
    return measured


def round_of_pages(small: Stored, large: Sequence[Stored], extent: Extent) -> Iterator[Stored]:
    """Yield pages without end: the small one several times, then every large one."""
    while True:
        yield from [small] * extent.small_repeats
        yield from large


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the checked command line."""
    parser = argparse.ArgumentParser(prog="bench.ocr", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two large pages, under a minute on two cores")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), help="default: all")
    parser.add_argument("--budget-seconds", type=float, help="when to be done")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the rendered pages (default: %(default)s)")
    parser.add_argument("--store", type=Path, help="default: $HPI_STORE, else ~/.cache/hpi")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark and print its result."""
    from hpi_agent.store.directory import default_store_root

    options = parse_arguments(arguments)
    extent = QUICK if options.quick else FULL
    if options.budget_seconds is not None:
        extent = Extent(extent.large_pages, extent.small_repeats, options.budget_seconds)
    facts = machine_facts()
    store = (options.store or default_store_root(dict(os.environ))).absolute()
    # The time for building is not the time for reading: it is spent once.
    built = build_ahead(store) if "default" in options.sides else None
    started = time.monotonic()
    meter = LoadMeter()
    with tempfile.TemporaryDirectory() as folder, running(options.sides, store, facts["wholeCores"]) as sides:
        [small] = store_pages(Path(folder), iter([small_page()]))
        large = store_pages(Path(folder), pages(extent.large_pages, options.seed))
        for side in sides:
            side.wait_until_open()
            say(f"{time.monotonic() - started:4.0f} s  {side.name} is open")
        measured = measure(sides, small, large, extent, started)
        others = meter.other_percent([side.process.pid for side in sides])
        opening = {side.name: side.opening for side in sides}
    document = {
        "machine": facts,
        "otherLoadPercent": round(others, 1),
        "detector": detector_settings(),
        "seed": options.seed,
        "seconds": round(time.monotonic() - started, 1),
        "build": built,
        "opening": opening,
        **summarise(measured, small.page.name, [stored.page.name for stored in large]),
    }
    if options.output == "json":
        print(json.dumps(document, indent=1))
    else:
        print(describe_machine(facts))
        print_tables(document)


def say(text: str) -> None:
    """Tell the person who waits how far it is."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
