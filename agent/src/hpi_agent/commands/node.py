"""`hpi-agent node`: the agent of one node of a cluster, as the DaemonSet runs it."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from hpi_agent.commands.serve import add_store_argument
from hpi_core.names import AGENT_PORT, NODE_RUNTIMES, NODE_WHEELHOUSE, OPERATOR_NAMESPACE

if TYPE_CHECKING:
    from hpi_agent.node.runtimes import Keeping


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
    parser.add_argument(
        "--runtimes",
        type=Path,
        metavar="DIR",
        help="where runtimes of delivery Store are installed, and pods mount them (default: beside the store)",
    )
    parser.add_argument(
        "--wheelhouse",
        type=Path,
        metavar="DIR",
        help="where this folder is there all their wheels come from it and no index is asked (default: beside the "
        "store)",
    )
    parser.add_argument(
        "--configs", type=Path, metavar="DIR", help="tables and locks of plugin variants (default: the program's own)"
    )
    parser.add_argument(
        "--install-memory",
        metavar="SIZE",
        help="most that installing one may take (default: what the container leaves beside the agent, at most 2GiB)",
    )
    parser.add_argument(
        "--install-seconds", type=_seconds, default=3600, metavar="N", help="and how long (default: %(default)s)"
    )
    parser.add_argument(
        "--unwanted-seconds",
        type=_seconds,
        default=3600,
        metavar="N",
        help="how long one that nothing wants any more stays, unless a pod uses it (default: %(default)s)",
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
    store = (arguments.store or default_store_root(environment)).absolute()
    settings = Settings(
        access,
        node,
        store,
        default_store_max_bytes(environment) if arguments.cache_bytes is None else bytes_of(arguments.cache_bytes),
        arguments.host_root,
        arguments.operator_namespace,
        _keeping(arguments, store),
    )
    log_to_stderr(arguments.log_level, node=node.name)

    def started(port: int) -> None:
        # For whoever started it with --port 0.
        print(json.dumps({"event": "serving", "node": node.name, "port": port}), flush=True)

    return run_agent(settings, listen(arguments.host, arguments.port), started)


def _keeping(arguments: argparse.Namespace, store: Path) -> Keeping:
    from hpi_agent.configuration import configs_directory
    from hpi_agent.discovery import detect
    from hpi_agent.node.installation import Bounds, Origin, memory_left
    from hpi_agent.node.runtimes import Keeping
    from hpi_agent.store.size import bytes_of

    def beside(named: Path | None, name: str) -> Path:
        return (named or store.with_name(name)).absolute()

    if arguments.install_memory is None:
        memory_bytes = memory_left(detect(Path("/")).memory.available_bytes)
    else:
        memory_bytes = bytes_of(arguments.install_memory)
    origin = Origin(
        beside(arguments.runtimes, NODE_RUNTIMES),
        (arguments.configs or configs_directory()).absolute(),
        beside(arguments.wheelhouse, NODE_WHEELHOUSE),
    )
    return Keeping(origin, Bounds(memory_bytes, arguments.install_seconds), arguments.unwanted_seconds)


def _seconds(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a whole number of seconds from 1, got {text!r}")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 65535, got {text!r}")
    return int(text)
