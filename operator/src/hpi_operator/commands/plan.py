"""`hpi-operator plan -f FILE`: what would be applied for an HPIPipeline, and why, with no cluster at all."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Final

import yaml

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.names import OPERATOR_NAMESPACE
from hpi_operator.commands.described import Described, read_files
from hpi_operator.commands.plan_text import plan_text, why
from hpi_operator.commands.supposed import supposed
from hpi_operator.configuration import accelerators_document
from hpi_operator.observe.references import references_of
from hpi_operator.plan.accelerators import ClassData, ClassName, read_classes
from hpi_operator.plan.intent import Plan, key_of
from hpi_operator.plan.objects import HTTP_ROUTE
from hpi_operator.plan.observed import ObservedPipeline, Settings
from hpi_operator.plan.pipeline import plan_pipeline

NO_UID: Final = "00000000-0000-0000-0000-000000000000"
"""UID of an object that no API server has seen."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of `plan`."""
    parser = subparsers.add_parser(
        "plan",
        help="print what would be applied for a manifest, and why",
        description="Print the objects that would be applied for each HPIPipeline, and why. No cluster is asked. Other "
        "files describe the cluster: Nodes, HPINodes, HPIRuntimes, HPINodePools, ConfigMaps, as `kubectl get -o yaml` "
        "prints them. What they leave out is supposed, and named.",
    )
    parser.add_argument(
        "-f", "--file", action="append", required=True, metavar="FILE", help="YAML or JSON; - is stdin; may be repeated"
    )
    parser.add_argument("-o", "--output", choices=("text", "yaml", "json"), default="text")
    parser.add_argument("--namespace", default="default", metavar="NS", help="of a manifest that names none")
    parser.add_argument("--without-gateway-api", action="store_true", help="suppose that the cluster has no HTTPRoutes")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Plan each HPIPipeline; return 0, or 1 where nothing can be made for one of them.

    Raises:
        Refused: A file cannot be read, or holds no HPIPipeline.
    """
    described = read_files(arguments.file, arguments.namespace)
    classes = read_classes(accelerators_document())
    found = [
        _planned(pipeline, described, classes, has_routes=not arguments.without_gateway_api)
        for pipeline in described.pipelines
    ]
    try:
        _print(found, described, arguments.output)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has seen enough; what the interpreter flushes at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if all(plan.apply for _, plan, _ in found) else 1


Planned = tuple[ObservedPipeline, Plan, tuple[str, ...]]
"""What was looked at, what was decided, and what was supposed."""


def _planned(
    pipeline: HPIPipeline, described: Described, classes: dict[ClassName, ClassData], *, has_routes: bool
) -> Planned:
    cluster, told = supposed(pipeline, described, classes)
    namespace = pipeline.metadata.namespace or "default"
    references = {}
    for one in references_of(pipeline, namespace):
        text = described.texts.get(one.key)
        if text is None and one.field is None:
            told = (*told, f"{one.key} is there")
            text = {}
        elif text is None:
            told = (*told, f"{one.key} is not there: its content is needed, give it with -f")
        references[one.key] = None if text is None else text.get(one.field or "", "" if one.field is None else None)
    if pipeline.spec.route is not None and has_routes:
        told = (*told, "the cluster has the Gateway API (--without-gateway-api: it has not)")
    observed = ObservedPipeline(
        pipeline=pipeline,
        uid=NO_UID,
        generation=1,
        created_at=_now(),
        supply=cluster.supply,
        runtimes=cluster.runtimes,
        now=_now(),
        settings=Settings(namespace=OPERATOR_NAMESPACE),
        references=references,
        apis=frozenset({HTTP_ROUTE} if has_routes else ()),
    )
    return observed, plan_pipeline(observed, classes), told


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _print(found: Sequence[Planned], described: Described, output: str) -> None:
    if output == "json":
        print(json.dumps([_document(*one) for one in found], ensure_ascii=False, indent=1))
        return
    if output == "yaml":
        for observed, plan, told in found:
            sys.stdout.write("".join(f"# supposed: {line}\n" for line in told))
            for manifest in plan.apply:
                sys.stdout.write(f"---\n# {why(manifest, observed, plan)}\n")
                sys.stdout.write(yaml.safe_dump(manifest, allow_unicode=True, sort_keys=False, width=120))
        return
    for place, (observed, plan, told) in enumerate(found):
        sys.stdout.write(("\n" if place else "") + plan_text(observed, plan, told, described.ignored))


def _document(observed: ObservedPipeline, plan: Plan, told: Sequence[str]) -> dict[str, Any]:
    metadata = observed.pipeline.metadata
    return {
        "pipeline": {"name": metadata.name, "namespace": metadata.namespace},
        "supposed": list(told),
        "apply": [{"object": str(key_of(one)), "why": why(one, observed, plan), "manifest": one} for one in plan.apply],
        "status": plan.status,
        "events": [{"type": one.type, "reason": one.reason, "message": one.message} for one in plan.events],
    }
