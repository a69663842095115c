"""A cluster with a real node, by hand: `PYTHONPATH=tests python -m support.node build | run`."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hpi_core.errors import HpiError
from support.control_plane.__main__ import interrupt


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(prog="support.node", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("build", help="have the programs ready in the cache; minutes the first time, then nothing")
    run = commands.add_parser("run", help="run a control plane and a node until Ctrl-C; needs root")
    run.add_argument("--image", action="append", type=Path, default=[], help="an OCI archive to import")
    return parser.parse_args(arguments)


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"node: {line}", flush=True)


def run(images: Sequence[Path]) -> None:
    """Run a cluster until a signal, or until one of its programs ends.

    Raises:
        HpiError: It cannot start, or one of its programs has ended.
        KeyboardInterrupt: It was asked to stop, and has stopped.
    """
    from support.node.cluster import NodeCluster
    from support.node.programs import prepare_programs
    from support.node.requirements import require_node

    require_node()
    programs = prepare_programs(os.environ, say)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    with NodeCluster(programs) as cluster:
        version = programs.control_plane.version
        say(f"Kubernetes {version} at {cluster.url}, ready after {cluster.seconds_to_ready:.1f} s")
        for archive in images:
            say(f"imported {', '.join(cluster.import_image(archive))}")
        say(", ".join(f"{name} {pid}" for name, pid in cluster.pids().items()))
        say(f"logs are in {cluster.folder / 'logs'} and {cluster.containerd.log}")
        say(f"an image to try is {cluster.pod_image}")
        say(f"kubectl is {programs.control_plane['kubectl']}; `inside kubectl …` reaches the cluster; Ctrl-C stops it")
        print(f"export KUBECONFIG={cluster.admin.kubeconfig}")
        print(f"alias inside={shlex.quote(shlex.join(cluster.command_inside()))}", flush=True)
        while True:
            cluster.check()
            time.sleep(0.5)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit code."""
    parsed = parse_arguments(arguments)
    try:
        if parsed.command == "build":
            from support.node.programs import prepare_programs

            prepare_programs(os.environ, say)
        else:
            run(parsed.image)
    except HpiError as error:
        print(f"node: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
