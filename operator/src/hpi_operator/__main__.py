"""`hpi-operator`: what a person types."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from hpi_core.errors import Bug, HpiError, Refused
from hpi_operator.commands import kinds, manifests, plan, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0 done, 1 failed, 2 refused."""
    parser = argparse.ArgumentParser(prog="hpi-operator", description="Turns HPIPipelines into workloads.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    run.register(subparsers)
    plan.register(subparsers)
    manifests.register(subparsers)
    kinds.register(subparsers)
    parsed = parser.parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except Refused as error:
        print(f"hpi-operator: {error}", file=sys.stderr)
        return 2
    except Bug:
        raise
    except HpiError as error:
        print(f"hpi-operator: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
