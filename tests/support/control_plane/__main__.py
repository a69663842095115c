"""The control plane of the tests, by hand: `PYTHONPATH=tests python -m support.control_plane build | run`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType

from hpi_core.errors import HpiError
from support.control_plane.binaries import prepare_binaries


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="support.control_plane", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="have the programs ready in the cache; minutes the first time, then nothing")
    run = commands.add_parser("run", help="run a control plane until Ctrl-C")
    what = run.add_mutually_exclusive_group()
    what.add_argument("--quick", action="store_true", help="etcd and the API server alone")
    what.add_argument("--played", action="store_true", help="with kwok, which plays nodes and pods")
    return parser.parse_args(arguments)


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"control plane: {line}", flush=True)


def run(*, quick: bool = False, played: bool = False) -> None:
    """Run a control plane until a signal, or until one of its programs ends.

    Args:
        quick: etcd and the API server alone.
        played: Everything, and kwok.

    Raises:
        HpiError: It cannot start, or one of its programs has ended.
        KeyboardInterrupt: It was asked to stop, and has stopped.
    """
    from support.control_plane.cluster import ControlPlane
    from support.control_plane.components import PLAYED, QUICK, WHOLE

    binaries = prepare_binaries(os.environ, say)
    say(binaries.told)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    with ControlPlane(binaries, QUICK if quick else PLAYED if played else WHOLE) as cluster:
        say(f"Kubernetes {binaries.version} at {cluster.url}, ready after {cluster.seconds_to_ready:.1f} s")
        say(", ".join(f"{name} {pid}" for name, pid in cluster.pids().items()))
        say(f"logs are in {cluster.folder / 'logs'}, kubectl is {binaries['kubectl']}; Ctrl-C stops it")
        print(f"export KUBECONFIG={cluster.admin.kubeconfig}", flush=True)
        while True:
            cluster.check()
            time.sleep(0.5)


def interrupt(number: int, frame: FrameType | None) -> None:
    """End like at Ctrl-C, so that everything is cleaned up."""
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    parsed = parse_arguments(arguments)
    try:
        if parsed.command == "build":
            prepare_binaries(os.environ, say)
        else:
            run(quick=parsed.quick, played=parsed.played)
    except HpiError as error:
        print(f"control plane: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
