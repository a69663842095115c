"""Every field that could shape an engine is classified, and shapes what the table says."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from hpi_agent.select.keys import leaves
from hpi_core.digest import digest_of_json
from support.key_documents import (
    ENGINES,
    ON_DEVICES,
    a_resolution_document,
    a_resolution_document_of,
    an_engine_document,
)
from support.key_fields import ACCELERATORS, DOES_NOT_SHAPE, SHAPES, document_fields, spec_fields

FEWEST_FIELDS = 40


def test_every_field_is_classified_once_and_no_field_is_classified_that_is_not_there() -> None:
    fields = document_fields() | spec_fields()

    classified = {*SHAPES, *DOES_NOT_SHAPE}
    assert (sorted(fields - classified), sorted(classified - fields)) == ([], [])
    assert SHAPES.keys() & DOES_NOT_SHAPE.keys() == set()


def test_enough_fields_shape_an_engine_or_its_choice() -> None:
    fields = document_fields() | spec_fields()

    assert len(fields & SHAPES.keys()) >= FEWEST_FIELDS
    assert document_fields() <= SHAPES.keys()


def test_every_classification_gives_its_reason() -> None:
    assert all(shape.why for shape in SHAPES.values())
    assert all(DOES_NOT_SHAPE.values())


@pytest.mark.parametrize("path", sorted(document_fields()))
def test_another_value_of_any_field_of_a_document_is_another_key(path: str) -> None:
    kind, _, field = path.partition(".")
    documents = (
        [a_resolution_document(), *(a_resolution_document_of(device) for device in ACCELERATORS)]
        if kind == "decision"
        else [an_engine_document(candidate) for candidate in (*ENGINES, *ON_DEVICES)]
    )
    document = next(one for one in documents if _matching(one, field))

    changed = copy.deepcopy(document)
    _set(changed, _matching(changed, field)[0], "another value")

    assert digest_of_json(changed) != digest_of_json(document)
    assert SHAPES[path].key == kind


def _matching(document: dict[str, Any], field: str) -> list[str]:
    prefix = field.removesuffix("*")
    return [path for path, _ in leaves(document) if path == field or (prefix != field and path.startswith(prefix))]


def _set(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        document = document[part]
    document[last] = value
