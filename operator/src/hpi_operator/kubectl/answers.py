"""One answer for each command: what is read, summed up, and shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from hpi_core.errors import Refused
from hpi_operator.kube.resources import HPI_NODES, NODES, PIPELINES
from hpi_operator.kubectl.look_around import (
    Scope,
    around_choice,
    around_node,
    around_pipeline,
    around_trouble,
    find_pipeline,
    now,
)
from hpi_operator.kubectl.reader import Reader
from hpi_operator.kubectl.reports.base import Report
from hpi_operator.kubectl.reports.commands import Place
from hpi_operator.kubectl.reports.documents import name_of, namespace_of
from hpi_operator.kubectl.reports.explanation import explanation
from hpi_operator.kubectl.reports.node_causes import node_causes
from hpi_operator.kubectl.reports.nodes import node_list
from hpi_operator.kubectl.reports.pipeline_causes import pipeline_causes
from hpi_operator.kubectl.reports.pipelines import pipeline_list
from hpi_operator.kubectl.reports.tree import pipeline_tree
from hpi_operator.kubectl.text.causes import causes_text
from hpi_operator.kubectl.text.explanation import explanation_text
from hpi_operator.kubectl.text.nodes import node_text, nodes_text
from hpi_operator.kubectl.text.pipelines import pipelines_text
from hpi_operator.kubectl.text.safe import safe
from hpi_operator.kubectl.text.terminal import Style
from hpi_operator.kubectl.text.tree import tree_text

PIPELINE_WORDS: Final = ("pipeline", "pipelines", "hpi", "hpip", "hpipipeline", "hpipipelines")
NODE_WORDS: Final = ("node", "nodes", "hpin", "hpinode", "hpinodes")


@dataclass(frozen=True)
class Question:
    """What was asked, and where."""

    name: str | None
    scope: Scope
    place: Place
    style: Style


@dataclass(frozen=True)
class Answer:
    """What is said to it."""

    report: Report
    """For programs."""
    lines: tuple[str, ...]
    """For people."""
    ready: bool = True
    """Whether what was asked about is ready."""
    nothing: str = ""
    """What is said beside an answer without any lines."""


def status(reader: Reader, question: Question) -> Answer:
    """Answer `status [NAME]`."""
    scope, style = question.scope, question.style
    if question.name is None:
        report = pipeline_list(reader.all(PIPELINES, scope.listed))
        where = "in any namespace" if scope.everywhere else f"in namespace {scope.namespace}; -A looks in every one"
        return Answer(
            report,
            tuple(pipelines_text(safe(report), style, namespaces=scope.everywhere)),
            nothing=f"there are no HPIPipelines {where}",
        )
    pipeline = find_pipeline(reader, scope, question.name)
    sight = around_pipeline(reader, pipeline)
    tree = pipeline_tree(pipeline, sight)
    return Answer(tree, tuple(tree_text(safe(tree), style, sight.now)), tree.ready.status == "True" and not tree.behind)


def explain(reader: Reader, question: Question) -> Answer:
    """Answer `explain NAME`."""
    pipeline = find_pipeline(reader, question.scope, question.name or "")
    report = explanation(pipeline, around_choice(reader, pipeline))
    return Answer(report, tuple(explanation_text(safe(report), question.style)))


def nodes(reader: Reader, question: Question) -> Answer:
    """Answer `nodes [NAME]`."""
    if question.name is not None:
        report = node_list([reader.one(HPI_NODES, question.name)])
        return Answer(report, tuple(node_text(safe(report.items[0]), question.style, now())))
    report = node_list(reader.all(HPI_NODES, None))
    nothing = "there are no HPINodes: the operator makes one for each node, and has made none"
    return Answer(report, tuple(nodes_text(safe(report), question.style)), nothing=nothing)


def why(reader: Reader, question: Question) -> Answer:
    """Answer `why [pipeline/|node/]NAME`."""
    kind, name = _meant(reader, question)
    if kind == "node":
        sight = around_node(reader, name, question.scope)
        report = node_causes(name, sight, question.place)
    else:
        pipeline = find_pipeline(reader, question.scope, name)
        sight = around_trouble(reader, pipeline, question.scope)
        place = replace(question.place, namespace=namespace_of(pipeline), name=name_of(pipeline))
        report = pipeline_causes(pipeline, sight, place)
    lines: Iterator[str] = causes_text(safe(report), question.style, sight.now)
    return Answer(report, tuple(lines), report.ready.status == "True")


def _meant(reader: Reader, question: Question) -> tuple[str, str]:
    """Return whether a pipeline or a node is meant, and its name.

    Raises:
        Refused: Both are called so, or neither.
    """
    kind, slash, name = (question.name or "").rpartition("/")
    if slash:
        if kind not in (*PIPELINE_WORDS, *NODE_WORDS) or not name:
            raise Refused(f"{question.name!r} names neither: write pipeline/NAME or node/NAME")
        return "node" if kind in NODE_WORDS else "pipeline", name
    scope = question.scope
    if scope.everywhere:
        is_pipeline = bool(reader.all(PIPELINES, None, fields=f"metadata.name={name}"))
    else:
        is_pipeline = reader.find(PIPELINES, name, scope.namespace) is not None
    is_node = reader.find(HPI_NODES, name) is not None or reader.find(NODES, name) is not None
    if not is_pipeline and not is_node:
        where = "in any namespace" if scope.everywhere else f"in namespace {scope.namespace}"
        unseen = "; not seen: " + "; ".join(reader.unseen) if reader.unseen else ""
        raise Refused(
            f"there is neither an HPIPipeline {name} {where} nor a node {name}{unseen}; "
            f"{reader.near(PIPELINES, name, scope.listed)}"
        )
    reader.unseen.clear()
    if is_pipeline and is_node:
        raise Refused(f"there is a pipeline {name} and a node {name}: write pipeline/{name} or node/{name}")
    return "node" if is_node else "pipeline", name


ANSWERS: Final = {"status": status, "explain": explain, "nodes": nodes, "why": why}
