"""Objects at every limit on an API server: taken as they are, and refused one step beyond."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hpi_core.api.definition import Kind
from hpi_core.api.v1alpha1.kinds import KINDS
from support.kinds import manifest, schema_of
from support.largest_object import largest_manifest
from support.manifests import Document, with_value
from support.objects import Objects, Reply
from support.schemas import Schema, walk


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_object_at_every_limit_is_taken_whole(objects: Objects, kind: Kind) -> None:
    document = largest_manifest(kind.name)

    created = objects.create(document)
    written = objects.replace(document, "status")

    assert created.accepted, created.causes
    assert written.accepted, written.causes
    assert (written.body["spec"], written.body["status"]) == (document["spec"], document["status"])


def one_step_beyond(document: Document, schema: Schema, part: str) -> Iterator[tuple[str, str, Any]]:
    """Yield path, what the server says, and value, for each list, mapping and text that is longer than allowed."""
    for where, node in walk(schema["properties"][part], part):
        path = where.replace("[]", "[0]")
        value = value_at(document, path)
        if value is None or "*" in path:
            continue
        if "maxItems" in node:
            most = node["maxItems"]
            yield path, f"must have at most {most} items", [value[0]] * (most + 1)
        elif "maxProperties" in node:
            most = node["maxProperties"]
            yield path, f"must have at most {most} items", {f"key-{number}": "1" for number in range(most + 1)}
        elif "maxLength" in node and isinstance(value, str) and not node.get("x-kubernetes-int-or-string"):
            yield path, f"may not be more than {node['maxLength']} bytes", "a" * (node["maxLength"] + 1)


def value_at(document: Any, path: str) -> Any:
    """Return the value at a path, None where there is none."""
    here = document
    for part in path.replace("[", ".[").split("."):
        try:
            here = here[int(part[1:-1]) if part.startswith("[") else part]
        except (KeyError, IndexError):
            return None
    return here


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_one_step_beyond_any_limit_of_a_spec_is_refused(dry_objects: Objects, kind: Kind) -> None:
    document = manifest(kind.name, "full")
    beyond = list(one_step_beyond(document, schema_of(kind), "spec"))

    replies = {path: dry_objects.create(with_value(document, path, value), dry_run=True) for path, _, value in beyond}

    assert len(beyond) >= 3
    assert [path for path, words, _ in beyond if not says(replies[path], path, words)] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_one_step_beyond_any_limit_of_a_status_is_refused(objects: Objects, kind: Kind) -> None:
    document = manifest(kind.name, "full")
    assert objects.create(document).accepted
    beyond = list(one_step_beyond(document, schema_of(kind), "status"))

    replies = {
        path: objects.replace(with_value(document, path, value), "status", dry_run=True) for path, _, value in beyond
    }

    assert len(beyond) >= 5
    assert [path for path, words, _ in beyond if not says(replies[path], path, words)] == []


def says(reply: Reply, path: str, words: str) -> bool:
    """Return whether a refusal names the path and the limit."""
    return not reply.accepted and any(cause.startswith(f"{path}: ") and words in cause for cause in reply.causes)
