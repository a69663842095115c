"""The command `hpi-agent`: one program, one role per subcommand."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Final

from hpi_core.errors import Bug, HpiError, Refused
from hpi_core.names import ENV_RUNTIMES

COMMANDS: Final = ("detect", "install", "build", "explain", "serve", "node", "self-test", "store", "demo")
"""Subcommands in the order of the help; each is a module of `hpi_agent.commands` with `register` and `run`."""

EXIT_REFUSED: Final = 2
EXIT_FAILED: Final = 1


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand and return the exit code: 0 done, 1 failed, 2 what was asked is not allowed."""
    if os.environ.get(ENV_RUNTIMES):
        from hpi_agent.plugins.delivered import enter_runtime

        try:
            enter_runtime(os.environ, sys.argv[1:] if arguments is None else arguments)
        except HpiError as error:
            print(f"hpi-agent: {error}", file=sys.stderr)
            return EXIT_REFUSED if isinstance(error, Refused) else EXIT_FAILED
    parser = argparse.ArgumentParser(prog="hpi-agent", description="High-performance inference of PaddleX pipelines.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: importlib.import_module(f"hpi_agent.commands.{name.replace('-', '_')}") for name in COMMANDS}
    for module in modules.values():
        module.register(subparsers)
    parsed = parser.parse_args(arguments)
    try:
        code: int = modules[parsed.command].run(parsed)
    except Bug:
        raise
    except HpiError as error:
        print(f"hpi-agent {parsed.command}: {error}", file=sys.stderr)
        return EXIT_REFUSED if isinstance(error, Refused) else EXIT_FAILED
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    sys.exit(main())
