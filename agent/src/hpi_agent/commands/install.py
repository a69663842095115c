"""`hpi-agent install VARIANT`: put a plugin variant into the store: locked wheels, hashed, tested, then in place."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from hpi_agent.commands.serve import add_store_argument


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "install",
        help="put a plugin variant into the store",
        description="Make the environment of a plugin variant in the store: a Python environment of its own with the "
        "wheels of the variant's list and nothing else, each with the SHA-256 that the list says. It is tested aside "
        "and only then put in its place; a call that is interrupted leaves nothing.",
    )
    parser.add_argument("variant", metavar="VARIANT", help="what to install, such as paddle2onnx")
    parser.add_argument(
        "--feature",
        action="append",
        default=[],
        metavar="NAME",
        help="what to install with it, several times for several; configs/plugins/variants.yml names them",
    )
    add_store_argument(parser)
    parser.add_argument(
        "--python", type=Path, metavar="PATH", help="the Python to use (default: this one, else the newest that fits)"
    )
    parser.add_argument(
        "--wheelhouse", type=Path, metavar="DIR", help="take all wheels from this directory and ask no index"
    )
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="steps for people, or JSON lines on stdout"
    )


def run(arguments: argparse.Namespace) -> int:
    """Install; return the exit code."""
    from hpi_agent.commands.install_progress import JsonLines, Steps
    from hpi_agent.configuration import configs_directory
    from hpi_agent.discovery import cpu_allowance
    from hpi_agent.plugins.install import Wish, install
    from hpi_agent.store.directory import Store, default_store_root

    root = (arguments.store or default_store_root(dict(os.environ))).absolute()
    wish = Wish(
        arguments.variant,
        configs_directory(),
        dict(os.environ),
        # A link is kept as it is: a virtual environment's Python is told from its base by the link alone.
        None if arguments.python is None else Path(os.path.abspath(arguments.python)),
        None if arguments.wheelhouse is None else arguments.wheelhouse.resolve(),
        cpu_allowance().whole_cores,
        tuple(arguments.feature),
    )
    with JsonLines() if arguments.output == "json" else Steps() as progress:
        environment = install(Store(root), wish, progress.say)
        progress.installed(environment)
    return 0
