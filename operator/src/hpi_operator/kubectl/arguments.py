"""What a person types behind `kubectl hpi`."""

from __future__ import annotations

import argparse
from typing import Final

from hpi_core.names import AGENT_NAMESPACE, OPERATOR_NAMESPACE

EPILOG: Final = """exit codes:
  0  answered, and what was asked about is ready
  1  answered, and it is not ready (status NAME, why)
  2  not answered: the call, a name, the kubeconfig, or the cluster has no such kind
  3  not answered: the API server is away, or does not know who asks; the same call may succeed later
  4  not answered: a right is missing
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole call."""
    found = argparse.ArgumentParser(
        prog="kubectl hpi",
        description="What HPIPipelines and the nodes under them do, and why. Reads with your rights; writes nothing.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = found.add_subparsers(required=True, metavar="COMMAND", dest="command")
    common = _common()
    status = commands.add_parser(
        "status",
        parents=[common],
        help="a line for each pipeline, or the tree of one: revisions, pods, engines, milliseconds",
        description="Without NAME: a line for each pipeline, the broken ones first. With NAME: pipeline → revisions → "
        "pods → engines, what was asked beside what was obtained; exit code 1 where it is not ready.",
    )
    status.add_argument("name", nargs="?", metavar="NAME", help="of an HPIPipeline")
    explain = commands.add_parser(
        "explain",
        parents=[common],
        help="why this hardware, this runtime and these engines",
        description="Why this hardware, this runtime and these engines: every candidate with its p50 and p99, its "
        "verdict and the reason, and what the next best would have been.",
    )
    explain.add_argument("name", metavar="NAME", help="of an HPIPipeline")
    nodes = commands.add_parser(
        "nodes",
        parents=[common],
        help="what each node offers, has and does",
        description="A line for each node, the broken ones first: pool, hardware, driver, runtimes with their "
        "self-tests, cache, engines, pods. With NAME: that one in full.",
    )
    nodes.add_argument("name", nargs="?", metavar="NAME", help="of a node")
    why = commands.add_parser(
        "why",
        parents=[common],
        help="from what does not hold down to its cause, with what to do",
        description="From the condition that does not hold down to its cause, each with its remedy and the command to "
        "look next; exit code 1 where it is not ready.",
    )
    why.add_argument(
        "name", metavar="NAME", help="of a pipeline or a node; pipeline/NAME or node/NAME where both are called so"
    )
    return found


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    place = common.add_argument_group("where")
    place.add_argument("-n", "--namespace", metavar="NS", help="default: the namespace of the context")
    place.add_argument("-A", "--all-namespaces", action="store_true", help="look in every namespace")
    place.add_argument("--kubeconfig", metavar="FILE", help="default: $KUBECONFIG, else ~/.kube/config")
    place.add_argument("--context", metavar="NAME", help="of the kubeconfig; default: its current one")
    place.add_argument(
        "--operator-namespace",
        default=OPERATOR_NAMESPACE,
        metavar="NS",
        help="where the operator lives; default: %(default)s",
    )
    place.add_argument(
        "--agent-namespace",
        default=AGENT_NAMESPACE,
        metavar="NS",
        help="where the node agents live; default: %(default)s",
    )
    how = common.add_argument_group("how it is shown")
    how.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="default: %(default)s")
    how.add_argument(
        "--colour", "--color", choices=("auto", "always", "never"), default="auto", help="default: %(default)s"
    )
    return common
