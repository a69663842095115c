"""`hpi-operator kinds`: print the definitions of the kinds, or state them to the API server."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from hpi_core.api.definition import Kind
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.errors import Stop
from hpi_core.schema.custom_resource import custom_resource_definition, stream_text
from hpi_operator.kube.api import Api
from hpi_operator.kube.bucket import Bucket
from hpi_operator.kube.resources import CUSTOM_RESOURCES

SERVED_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.2


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of `kinds`."""
    parser = subparsers.add_parser(
        "kinds",
        help="print or apply the CustomResourceDefinitions",
        description="Print the CustomResourceDefinitions of this release, or bring those of a cluster up to it. What "
        "objects hold stays as it is: a release adds fields and takes none away.",
    )
    parser.add_argument("--apply", action="store_true", help="state them to the API server, and wait until it serves")
    parser.add_argument("--kubeconfig", metavar="FILE", help="$KUBECONFIG where not given, else the pod's own rights")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print or apply the definitions; return 0.

    Raises:
        HpiError: The API server refuses one, or does not answer.
        Stop: It does not serve one in time.
    """
    if not arguments.apply:
        sys.stdout.write(stream_text(KINDS))
        return 0
    api = Api.connect(Bucket(50.0, 100), kubeconfig=arguments.kubeconfig)
    for kind in KINDS:
        api.apply(custom_resource_definition(kind), force=True)
    end = time.monotonic() + SERVED_SECONDS
    for kind in KINDS:
        _wait_until_served(api, kind, end)
        print(f"{kind.crd_name} is served")
    return 0


def _wait_until_served(api: Api, kind: Kind, end: float) -> None:
    while True:
        found = api.get(CUSTOM_RESOURCES, kind.crd_name) or {}
        conditions = found.get("status", {}).get("conditions", ())
        seen = {one["type"]: f"{one['status']} {one.get('message', '')}".strip() for one in conditions}
        if seen.get("Established", "").startswith("True"):
            return
        if time.monotonic() > end:
            raise Stop(f"{kind.crd_name} is not served after {SERVED_SECONDS:g} s; its conditions are {seen or 'none'}")
        time.sleep(POLL_SECONDS)
