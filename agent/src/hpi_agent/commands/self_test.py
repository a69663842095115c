"""`hpi-agent self-test`: prove that every backend of a plugin variant works on a device of this machine."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hpi_agent.commands.serve import add_store_argument

TELL_SECONDS = 120.0
"""How long the node's agent is asked to take the result: it may be starting, or the API server be away."""
PAUSE_SECONDS = 3.0
MAX_MESSAGE = 256


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "self-test",
        help="run a tiny model on every backend",
        description="Load a tiny model on every backend, run it on a device of this machine and compare the answers. "
        "In a self-test pod of a cluster the result is told to the node's agent ($HPI_AGENT). Exit status 0: all work.",
    )
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu, gpu:N or npu:N (default: %(default)s)")
    parser.add_argument(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help="a backend to test, several times for several (default: $HPI_BACKENDS, else those that are installed)",
    )
    add_store_argument(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="(default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Test, tell, and return 0 where every backend works."""
    from hpi_core.errors import Bug, HpiError, Refused

    environment = dict(os.environ)
    try:
        results = _results(arguments, environment)
    except Bug:
        raise
    except HpiError as error:
        _tell(environment, passed=False, backends=(), message=str(error))
        if isinstance(error, Refused):
            raise
        print(f"hpi-agent self-test: {error}", file=sys.stderr)
        return 1
    failed = [one for one in results if one.failure]
    worked = tuple(one.backend for one in results if not one.failure)
    message = "; ".join(f"{one.backend}: {one.failure}" for one in failed) or f"{len(worked)} of {len(worked)} backends"
    _show(arguments, results)
    _tell(environment, passed=not failed, backends=worked, message=message)
    return 1 if failed else 0


def _results(arguments: argparse.Namespace, environment: Mapping[str, str]) -> list[Any]:
    from hpi_agent.building.self_test import claimed_backends, tested_backends
    from hpi_agent.building.site import read_site
    from hpi_agent.discovery import cpu_allowance
    from hpi_agent.pipelines.device import read_device
    from hpi_agent.store.directory import Store, default_store_root
    from hpi_core.names import ENV_BACKENDS

    device = read_device(arguments.device)
    root = (arguments.store or default_store_root(environment)).absolute()
    site = read_site(Store(root), cpu_allowance().whole_cores, None, device)
    named = [name for name in environment.get(ENV_BACKENDS, "").split(",") if name]
    backends = claimed_backends(arguments.backend or named, site)
    return list(tested_backends(backends, site))


def _show(arguments: argparse.Namespace, results: Sequence[Any]) -> None:
    if arguments.output == "json":
        rows = [
            {
                "backend": one.backend,
                "works": not one.failure,
                "failure": one.failure or None,
                "version": one.version or None,
                "microseconds": one.microseconds or None,
                "largestDifference": None if one.failure else one.largest_difference,
            }
            for one in results
        ]
        print(json.dumps({"device": arguments.device, "backends": rows}))
        return
    for one in results:
        words = one.failure or f"works: {one.version}, {one.microseconds} µs, differs by {one.largest_difference:.1e}"
        print(f"{arguments.device}  {one.backend:12} {words}")


def _tell(environment: Mapping[str, str], *, passed: bool, backends: tuple[str, ...], message: str) -> None:
    """Tell the node's agent, where there is one, until it has the result on record.

    Raises:
        Retry: It does not take it; the operator makes another pod after a while.
        Refused: It does not take this pod for a self-test.
    """
    from hpi_agent.exchange.address import AgentAddress
    from hpi_agent.exchange.client import AgentClient
    from hpi_agent.exchange.reports import SelfTestReport
    from hpi_core.errors import Refused, Retry
    from hpi_core.names import ENV_LOCK_DIGEST, ENV_RUNTIME

    address = AgentAddress.read(environment)
    if address is None:
        return
    runtime, lock = environment.get(ENV_RUNTIME, ""), environment.get(ENV_LOCK_DIGEST, "")
    if not runtime or not lock:
        raise Refused(f"$HPI_AGENT is set, and ${ENV_RUNTIME} or ${ENV_LOCK_DIGEST} is not: name what is tested")
    cut = message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 1]}…"
    told = {"runtime": runtime, "lockDigest": lock, "passed": passed, "backends": backends, "message": cut}
    report = SelfTestReport.model_validate(told)
    client, until = AgentClient(address), time.monotonic() + TELL_SECONDS
    while True:
        try:
            client.self_tested(report)
            return
        except Retry:
            if time.monotonic() > until:
                raise
            time.sleep(PAUSE_SECONDS)
