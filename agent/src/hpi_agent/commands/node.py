"""`hpi-agent node`: the agent of one node of a cluster, as the DaemonSet runs it."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from hpi_agent.commands.serve import add_store_argument
from hpi_core.names import AGENT_PORT, OPERATOR_NAMESPACE


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "node",
        help="be the agent of a node of a cluster",
        description="Tell the cluster what this node offers (HPINode.status), keep its cache of engines, and speak for "
        "its serving pods, which have no rights of their own. It runs in a pod of the DaemonSet hpi-agent: its token "
        "says which node it is. When nothing changes it writes nothing.",
    )
    parser.add_argument(
        "--host",
        default=os.environ.get("HOST_IP", "127.0.0.1"),
        metavar="ADDRESS",
        help="address on which pods of the node reach it (default: $HOST_IP, else 127.0.0.1)",
    )
    parser.add_argument(
        "--port", type=_port, default=AGENT_PORT, help="port, 0 for any free one (default: %(default)s)"
    )
    add_store_argument(parser)
    parser.add_argument(
        "--cache-bytes",
        metavar="SIZE",
        help="most that the cache may hold where the HPINode names no quota, such as 100GiB (default: "
        "$HPI_STORE_MAX_BYTES, else 20GiB)",
    )
    parser.add_argument(
        "--host-root", type=Path, default=Path("/"), metavar="DIR", help="where the host's / is found (default: /)"
    )
    parser.add_argument(
        "--operator-namespace",
        default=OPERATOR_NAMESPACE,
        metavar="NAME",
        help="namespace of the operator, in which self-test pods run (default: %(default)s)",
    )
    parser.add_argument("--api-server", metavar="URL", help="the API server (default: that of this pod's cluster)")
    parser.add_argument("--api-authority", type=Path, metavar="FILE", help="certificates that it is checked by")
    parser.add_argument("--api-token", type=Path, metavar="FILE", help="token of an agent's pod; read anew each time")
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve the node until told to stop; return the exit code."""
    from hpi_agent.node.access import Access, default_access
    from hpi_agent.node.agent import Settings, find_own_node, run_agent
    from hpi_agent.node.listen import listen
    from hpi_agent.node.logs import log_to_stderr
    from hpi_agent.store.defaults import default_store_max_bytes, default_store_root
    from hpi_agent.store.size import bytes_of
    from hpi_core.errors import Refused

    environment = dict(os.environ)
    named = (arguments.api_server, arguments.api_authority, arguments.api_token)
    if any(one is not None for one in named) and None in named:
        raise Refused("--api-server, --api-authority and --api-token belong together: name all three, or none")
    access = default_access(environment) if arguments.api_server is None else Access(*named)
    node = find_own_node(access)
    settings = Settings(
        access,
        node,
        (arguments.store or default_store_root(environment)).absolute(),
        default_store_max_bytes(environment) if arguments.cache_bytes is None else bytes_of(arguments.cache_bytes),
        arguments.host_root,
        arguments.operator_namespace,
    )
    log_to_stderr(arguments.log_level, node=node.name)

    def started(port: int) -> None:
        # For whoever started it with --port 0.
        print(json.dumps({"event": "serving", "node": node.name, "port": port}), flush=True)

    return run_agent(settings, listen(arguments.host, arguments.port), started)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return int(text)
