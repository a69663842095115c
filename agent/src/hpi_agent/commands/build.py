"""`hpi-agent build -f FILE`: build, judge and measure every engine of an HPIPipeline ahead of serving it."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hpi_agent.commands.serve import (
    add_file_argument,
    add_samples_argument,
    add_sources_arguments,
    add_store_argument,
    read_manifest,
)
from hpi_core.errors import Refused

BACKGROUND_NICENESS: Final = 10
"""Added to the priority value of a build beside a server, so that requests come first."""

BYTES: Final = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("build", help="build and measure engines ahead", description=__doc__)
    add_file_argument(parser)
    add_store_argument(parser)
    add_samples_argument(parser)
    add_sources_arguments(parser)
    parser.add_argument("--again", action="store_true", help="measure again what has been decided already")
    parser.add_argument(
        "--candidate-seconds",
        type=_seconds,
        metavar="N",
        help="most seconds of one step of a candidate (default: 60, on an accelerator 900)",
    )
    parser.add_argument(
        "--candidate-memory",
        type=_bytes,
        metavar="SIZE",
        help="most memory of a candidate's processes, such as 4GiB (default: half of what this process may use)",
    )
    parser.add_argument("--background", action="store_true", help="work at low priority, beside a server")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="for people, or JSON lines")


def _bytes(text: str) -> int:
    digits = text.rstrip("KMGiB")
    unit = text[len(digits) :]
    if not digits.isdecimal() or unit not in BYTES or not int(digits):
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1, with KiB, MiB or GiB, such as 4GiB, got {text!r}"
        )
    return int(digits) * BYTES[unit]


def _seconds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number of seconds from 1, got {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Build; return the exit code: 0 when every model has an engine that serves."""
    from hpi_agent.building.pipeline import BuildSettings, build_pipeline
    from hpi_agent.exchange.address import AgentAddress
    from hpi_agent.models.sources.settings import SourceSettings
    from hpi_agent.store.directory import default_store_root

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if arguments.background:
        os.nice(BACKGROUND_NICENESS)
    settings = BuildSettings(
        store=(arguments.store or default_store_root(dict(os.environ))).absolute(),
        samples=None if arguments.samples is None else checked_folder(arguments.samples),
        again=arguments.again,
        candidate_seconds=arguments.candidate_seconds,
        candidate_memory_bytes=arguments.candidate_memory,
        sources=SourceSettings.read(os.environ, arguments.credentials, arguments.claims),
        agent=AgentAddress.read(os.environ),
        is_alone=not arguments.background,
    )
    text = read_manifest(arguments.file)
    with _showing(arguments.output) as show:
        decisions = build_pipeline(text, arguments.file, settings, show)
    return 0 if all(decision.chosen is not None for decision in decisions) else 1


def checked_folder(folder: Path) -> Path:
    """Return a folder of samples.

    Raises:
        Refused: There is no such folder.
    """
    if not folder.is_dir():
        raise Refused(f"--samples {folder}: there is no such folder; name one with pictures or .npz files")
    return folder.absolute()


@contextmanager
def _showing(output: str) -> Iterator[Any]:
    if output == "json":
        yield lambda event: print(json.dumps(event, ensure_ascii=False), flush=True)
        return
    from hpi_agent.commands.build_display import BuildDisplay

    with BuildDisplay() as display:
        yield display.show
