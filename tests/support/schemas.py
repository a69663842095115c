"""Walks over the structural schema of a kind, for tests that hold of every field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every value that a schema describes with its path, such as `spec.modules[].path` or `metadata.labels.*`."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}.*")


def is_leaf(schema: Schema) -> bool:
    """Return whether a value has no parts that the schema describes."""
    return not schema.keys() & {"properties", "items", "additionalProperties"}


def leaves(schema: Schema, path: str = "") -> list[tuple[str, Schema]]:
    """Return every leaf: scalars, and mappings whose inner structure is not ours."""
    return [(where, inner) for where, inner in walk(schema, path) if is_leaf(inner)]


def fields(schema: Schema) -> list[tuple[str, Schema]]:
    """Return every value that has a name: what `kubectl explain` can be asked for."""
    return [(path, inner) for path, inner in walk(schema) if path and not path.endswith(("[]", ".*"))]
