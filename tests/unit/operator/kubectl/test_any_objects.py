"""Whatever the API server tells, there is a report of it, and lines that may be printed."""

from __future__ import annotations

import copy
import json
import unicodedata
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi_core.names import PIPELINE
from hpi_operator.kubectl.reports.base import Report
from hpi_operator.kubectl.reports.causes import Causes
from hpi_operator.kubectl.reports.commands import Place
from hpi_operator.kubectl.reports.explanation import Explanation, explanation
from hpi_operator.kubectl.reports.node_causes import node_causes
from hpi_operator.kubectl.reports.nodes import NodeList, node_list
from hpi_operator.kubectl.reports.pipeline_causes import pipeline_causes
from hpi_operator.kubectl.reports.pipelines import PipelineList, pipeline_list
from hpi_operator.kubectl.reports.tree import PipelineTree, pipeline_tree
from hpi_operator.kubectl.text.causes import causes_text
from hpi_operator.kubectl.text.explanation import explanation_text
from hpi_operator.kubectl.text.nodes import node_text, nodes_text
from hpi_operator.kubectl.text.pipelines import pipelines_text
from hpi_operator.kubectl.text.safe import safe
from hpi_operator.kubectl.text.terminal import Style
from hpi_operator.kubectl.text.tree import tree_text
from support.kinds import manifest
from support.manifests import Document
from support.people_sights import NOW, a_seen_pod, a_sight

STYLE: Final = Style(width=80)
KEPT: Final = ("metadata",)
HOSTILE: Final = "\x1b]0;owned\x07\x1b[2J\r\n\u202egnp.exe\x00"


@st.composite
def damaged(draw: st.DrawFn, document: Document) -> Document:
    """Return an object of which parts are absent, and some texts are anybody's."""
    changed = copy.deepcopy(document)
    for name in [name for name in changed if name not in KEPT]:
        changed[name] = _damaged(draw, changed[name])
    return changed


def _damaged(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _damaged(draw, one) for key, one in value.items() if draw(st.integers(0, 9))}
    if isinstance(value, list):
        return [_damaged(draw, one) for one in value if draw(st.integers(0, 9))]
    if isinstance(value, str) and not draw(st.integers(0, 9)):
        return HOSTILE
    return value


def pods_of(pipeline: Document) -> list[Document]:
    name = pipeline["metadata"]["name"]
    ready = a_seen_pod("ready", ready=True, pipeline=name)
    crashed = a_seen_pod("p", waiting="CrashLoopBackOff", ended="Error", exit_code=1, message=HOSTILE, restarts=2)
    crashed["metadata"]["labels"][PIPELINE] = name
    return [ready, crashed, a_seen_pod("no-node", node=None, message=HOSTILE)]


def reports(pipeline: Document, node: Document, engine: Document, runtime: Document) -> list[tuple[Report, list[str]]]:
    name = node["metadata"]["name"]
    pods = pods_of(pipeline)
    for pod in pods[:2]:
        pod["spec"]["nodeName"] = name
    sight = a_sight(pods=pods, hpi_nodes=[node], engines=[engine], runtimes=[runtime])
    listed, nodes = pipeline_list([pipeline]), node_list([node])
    tree, choice = pipeline_tree(pipeline, sight), explanation(pipeline, sight)
    causes = pipeline_causes(pipeline, sight, Place(namespace="team-a", name="ocr"))
    causes_of_node = node_causes(name, sight, Place())
    return [
        (listed, list(pipelines_text(safe(listed), STYLE, namespaces=True))),
        (nodes, [*nodes_text(safe(nodes), STYLE), *node_text(safe(nodes).items[0], STYLE, NOW)]),
        (tree, list(tree_text(safe(tree), STYLE, NOW))),
        (choice, list(explanation_text(safe(choice), STYLE))),
        (causes, list(causes_text(safe(causes), STYLE, NOW))),
        (causes_of_node, list(causes_text(safe(causes_of_node), STYLE, NOW))),
    ]


@given(
    damaged(manifest("HPIPipeline", "full")),
    damaged(manifest("HPINode", "full")),
    damaged(manifest("HPIEngine", "full")),
    damaged(manifest("HPIRuntime", "full")),
)
@settings(max_examples=60, deadline=None)
def test_any_objects_give_reports_that_read_back_and_lines_that_no_terminal_obeys(
    pipeline: Document, node: Document, engine: Document, runtime: Document
) -> None:
    found = reports(pipeline, node, engine, runtime)

    for report, lines in found:
        text = json.dumps(report.model_dump(mode="json", by_alias=True, exclude_none=True))
        assert type(report).model_validate_json(text) == report
        assert not [line for line in lines if any(unicodedata.category(sign)[0] == "C" for sign in line)]


@pytest.mark.parametrize("model", [PipelineList, PipelineTree, Explanation, NodeList, Causes])
def test_every_field_of_a_report_is_described(model: type[Report]) -> None:
    schema = model.model_json_schema(by_alias=True)
    definitions = {model.__name__: schema, **schema.get("$defs", {})}

    silent = [
        f"{name}.{field}"
        for name, one in definitions.items()
        for field, described in one.get("properties", {}).items()
        # A field that is one part of the report is described by that part.
        if not described.get("description") and "$ref" not in described
    ]

    assert silent == []
