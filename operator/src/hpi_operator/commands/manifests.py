"""`hpi-operator manifests`: print what an installation needs, or write it to files."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from importlib.metadata import version
from pathlib import Path

from hpi_core.errors import Refused
from hpi_core.names import AGENT_NAMESPACE, OPERATOR_NAMESPACE
from hpi_operator.install.installation import AGENT_IMAGE, CACHE_PATH, RESTRICTED, Installation
from hpi_operator.install.parts import PARTS
from hpi_operator.install.text import yaml_text


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of `manifests`."""
    parser = subparsers.add_parser(
        "manifests",
        help="print the objects that an installation needs",
        description="Print namespaces, accounts, roles, admission policies, the operator's Deployment and the agents' "
        "DaemonSet, for `kubectl apply -f -`. The kinds themselves come first: `kubectl apply -f crds/`.",
    )
    parser.add_argument(
        "--image", default=f"hpi-operator:{version('hpi')}", help="of the operator; default: %(default)s"
    )
    parser.add_argument(
        "--agent-image", default=f"{AGENT_IMAGE}:{version('hpi')}", help="of the node agents; default: %(default)s"
    )
    parser.add_argument(
        "--namespace", default=OPERATOR_NAMESPACE, metavar="NS", help="of the operator; default: %(default)s"
    )
    parser.add_argument(
        "--agent-namespace", default=AGENT_NAMESPACE, metavar="NS", help="of the node agents; default: %(default)s"
    )
    parser.add_argument(
        "--pod-security",
        choices=(RESTRICTED, "privileged"),
        default=RESTRICTED,
        help="of the operator's namespace; privileged where runtimes have delivery Store (default: %(default)s)",
    )
    parser.add_argument(
        "--cache-path", default=CACHE_PATH, metavar="DIR", help="of each node's agent; default: %(default)s"
    )
    parser.add_argument("--part", choices=(*PARTS, "all"), default="all", help="default: %(default)s")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="write one file for each part into DIR")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the parts, or write a file for each; return 0.

    Raises:
        Refused: A name is none, or the folder cannot be written to.
    """
    installation = Installation(
        arguments.image,
        arguments.namespace,
        arguments.agent_namespace,
        agent_image=arguments.agent_image,
        cache_path=arguments.cache_path,
        pod_security=arguments.pod_security,
    )
    names = [name for name in PARTS if arguments.part in (name, "all")]
    texts = {name: yaml_text(PARTS[name](installation)) for name in names}
    if arguments.output is None:
        sys.stdout.write("".join(texts.values()))
        return 0
    for name, text in texts.items():
        _write(arguments.output / f"{name}.yaml", text)
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file; a reader sees the old one or the new one whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        raise Refused(f"{path} cannot be written: {error}; name a folder that can be with -o") from error
