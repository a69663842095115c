"""Folders of credentials and claims: named once, known to the worker and to the builder beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from hpi_agent.commands import build, explain, serve

START = {"manifest": "a manifest", "store": "/store", "samples": None, "credentials": "/secrets", "claims": None}


def parsed(command: object, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.register(parser.add_subparsers())  # type: ignore[attr-defined]
    return parser.parse_args(arguments)


def test_every_role_that_reads_models_takes_the_folders() -> None:
    for name, command in {"serve": serve, "build": build, "explain": explain}.items():
        arguments = parsed(command, name, "-f", "x.yaml", "--credentials", "/secrets", "--claims", "/claims")

        assert (arguments.credentials, arguments.claims) == (Path("/secrets"), Path("/claims"))


def test_the_builder_beside_a_server_gets_the_servers_folders_and_no_others() -> None:
    command = serve._build_command(START)

    assert command.arguments == ("--store", "/store", "--credentials", "/secrets")
