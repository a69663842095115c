"""`hpi-agent serve -f FILE`: serve one HPIPipeline on this machine, without a cluster."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from hpi_core.errors import Refused
from hpi_core.names import ENV_AGENT, ENV_DEVICE


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("serve", help="serve a pipeline on this machine", description=__doc__)
    add_file_argument(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8080, help="port, 0 for any free one (default: %(default)s)")
    add_store_argument(parser)
    add_samples_argument(parser)
    add_sources_arguments(parser)
    parser.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="events for people, or JSON lines on stdout"
    )


def add_file_argument(parser: argparse.ArgumentParser) -> None:
    """Add `-f FILE`."""
    parser.add_argument("-f", "--file", required=True, metavar="FILE", help="manifest of an HPIPipeline; - is stdin")


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--store DIR`."""
    parser.add_argument("--store", type=Path, metavar="DIR", help="the store (default: $HPI_STORE, else ~/.cache/hpi)")


def add_sources_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--credentials DIR` and `--claims DIR`."""
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="DIR",
        help="one sub-folder for each Secret that a model's credentialsSecretRef names, with one file for each key "
        "(default: $HPI_CREDENTIALS)",
    )
    parser.add_argument(
        "--claims",
        type=Path,
        metavar="DIR",
        help="one sub-folder for each claim of pvc:// (default: $HPI_CLAIMS, else /var/lib/hpi/claims)",
    )


def add_samples_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--samples DIR`."""
    parser.add_argument(
        "--samples",
        type=Path,
        metavar="DIR",
        help="pictures or .npz files on which engines are judged and timed, in one folder per model name "
        "(default: rendered ones)",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return int(text)


def read_manifest(file: str) -> str:
    """Return the text of a manifest.

    Raises:
        Refused: The file cannot be read as UTF-8 text, or is larger than a manifest may be.
    """
    from hpi_core.api.document import MAX_MANIFEST_BYTES

    try:
        if file == "-":
            return sys.stdin.read(MAX_MANIFEST_BYTES + 1)
        with Path(file).open(encoding="utf-8") as stream:
            return stream.read(MAX_MANIFEST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; return the exit code."""
    from hpi_agent.discovery import cpu_allowance
    from hpi_agent.serve.process import Worker, WorkerCommand
    from hpi_agent.store.directory import default_store_root
    from hpi_core.api.manifest import read_pipeline

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    text = read_manifest(arguments.file)
    manifest = read_pipeline(text, arguments.file)
    store = (arguments.store or default_store_root(dict(os.environ))).absolute()
    reporting = None
    if os.environ.get(ENV_AGENT):
        from hpi_agent.serve.reporter import Reporting

        reporting = Reporting.read(
            os.environ, manifest.metadata.name, store, takes=manifest.spec.build.policy != "Never"
        )
    allowance = cpu_allowance()
    samples = None if arguments.samples is None else str(arguments.samples.absolute())
    start = {"manifest": text, "where": arguments.file, "store": str(store), "threads": allowance.whole_cores}
    start["samples"] = samples
    start |= {name: _absolute(getattr(arguments, name)) for name in ("credentials", "claims")}
    command = WorkerCommand(start, manifest.spec.build.timeout_seconds)
    # The worker loads while everything below is imported: starting it first saves that time.
    first = Worker.spawn(command)
    try:
        return _serve(arguments, manifest, first, command, reporting)
    finally:
        if first.process.poll() is None:
            first.process.kill()
            first.process.wait()


def _absolute(folder: Path | None) -> str | None:
    return None if folder is None else str(folder.absolute())


def _serve(arguments: argparse.Namespace, manifest: Any, first: Any, command: Any, reporting: Any) -> int:
    from hpi_agent.commands.announce import Announcer
    from hpi_agent.models.official import official_model
    from hpi_agent.pipelines import paddlex
    from hpi_agent.pipelines.effective import effective
    from hpi_agent.serve.server import Address, Setup, bind, run_server

    plan = effective(manifest, paddlex.registry_config, official_model, os.environ.get(ENV_DEVICE))
    listening = bind(Address(arguments.host, arguments.port))
    host, port = listening.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    announcer = Announcer(arguments.output, url, plan.name, plan.not_applicable)
    announcer.starting()
    build = _build_command(command.start_header) if manifest.spec.build.policy == "OnDemand" else None
    setup = Setup(
        listening, first, command, manifest.spec.serving, plan.visualize, announcer.announce, build, reporting
    )
    return run_server(setup)


def _build_command(start: dict[str, Any]) -> Any:
    from hpi_agent.serve.background_build import BuildCommand

    named = ((f"--{name}", start[name]) for name in ("store", "samples", "credentials", "claims"))
    return BuildCommand(tuple(word for pair in named if pair[1] is not None for word in pair), start["manifest"])
