"""What programs of another release wrote is read as far as this one knows it; what people wrote must be understood."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_operator.observe.reading import MAX_PROBLEMS, read
from support.kinds import manifest


def stored(kind: str) -> dict[str, Any]:
    document = manifest(kind, "full")
    document["metadata"] |= {"uid": "u", "resourceVersion": "7", "managedFields": [], "labels": {"a": "b"}}
    return document


@pytest.mark.parametrize(("kind", "model"), [("HPINode", HPINode), ("HPINodePool", HPINodePool)])
def test_what_the_api_server_adds_does_not_matter(kind: str, model: Any) -> None:
    parsed, problems = read(model, stored(kind))

    assert parsed is not None
    assert (parsed.metadata.name, problems) == (manifest(kind, "full")["metadata"]["name"], ())


@pytest.mark.parametrize(
    "add",
    [
        lambda status: status.update(later="a field of a later release"),
        lambda status: status["hardware"].update(later={"a": [1]}),
        lambda status: status["hardware"]["devices"][0].update(later=1),
        lambda status: status["runtimes"][0].update(later=1, another=2),
    ],
)
def test_a_field_of_a_status_that_a_later_agent_writes_is_dropped(add: Any) -> None:
    document = stored("HPINode")
    expected, _ = read(HPINode, document)
    add(document["status"])
    before = copy.deepcopy(document)

    parsed, problems = read(HPINode, document)

    assert (parsed, problems) == (expected, ())
    assert document == before


def test_a_field_of_a_spec_that_is_not_understood_is_a_problem() -> None:
    document = stored("HPINodePool")
    document["spec"]["later"] = 1

    parsed, problems = read(HPINodePool, document)

    assert parsed is None
    assert problems == ("spec.later: Extra inputs are not permitted",)


def test_where_programs_write_the_spec_its_unknown_fields_are_dropped_too() -> None:
    document = stored("HPINode")
    document["spec"]["later"] = 1

    parsed, problems = read(HPINode, document, tolerant=("spec", "status"))

    assert parsed is not None
    assert problems == ()


def test_a_value_that_is_out_of_bounds_is_a_problem_wherever_it_stands() -> None:
    document = stored("HPINode")
    document["status"]["hardware"]["memoryBytes"] = -1

    parsed, problems = read(HPINode, document)

    assert parsed is None
    assert [one.partition(":")[0] for one in problems] == ["status.hardware.memoryBytes"]


def test_problems_have_a_bound() -> None:
    document = stored("HPIPipeline")
    document["spec"] |= {f"later{number}": 1 for number in range(50)}

    _, problems = read(HPIPipeline, document)

    assert len(problems) == MAX_PROBLEMS
