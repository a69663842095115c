"""Patterns mean the same on both sides: RE2 on the API server, Rust's regular expressions in our reader."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpi_core.api.manifest import read_manifest
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.errors import InvalidManifest
from support.kinds import around, manifest, schema_of
from support.manifests import Document, with_value
from support.objects import Objects
from support.schemas import Schema, walk

MARKS = "Z_.@*%+~ \n\x00\x7fä\u00a0\u2028٣"
"""Characters on which regular expressions disagree, or that stand at the borders of the patterns."""


def patterned() -> dict[str, tuple[Document, str, Schema]]:
    """Return for each pattern of a spec a small document, the path of a text in it, and the schema of that text."""
    found: dict[str, tuple[Document, str, Schema]] = {}
    for kind in KINDS:
        document = manifest(kind.name, "full")
        for path, node in walk(schema_of(kind)["properties"]["spec"], "spec"):
            if "pattern" in node and "*" not in path and value_at(document, path) is not None:
                found.setdefault(node["pattern"], (around(document, path), path.replace("[]", "[0]"), node))
    return found


def value_at(document: Document, path: str) -> Any:
    """Return the value at a path, None where there is none; `[]` is the first element of a list."""
    here: Any = document
    for part in path.replace("[]", "[0]").replace("[", ".[").split("."):
        try:
            here = here[0 if part == "[0]" else part]
        except (KeyError, IndexError, TypeError):
            return None
    return here


PATTERNED = patterned()


def is_read(document: Document, path: str) -> bool:
    """Return whether our reader takes the value at a path."""
    try:
        read_manifest(json.dumps(document), "test.yaml")
    except InvalidManifest as error:
        return not any(problem.startswith(f"{path}: ") for problem in error.problems)
    return True


def test_almost_every_pattern_is_tried() -> None:
    assert len(PATTERNED) >= 25


@pytest.mark.parametrize("pattern", PATTERNED)
def test_both_sides_take_and_refuse_the_same_texts(dry_objects: Objects, pattern: str) -> None:
    document, path, node = PATTERNED[pattern]
    valid = value_at(document, path)
    half = len(valid) // 2

    def sides(text: str) -> tuple[bool, bool]:
        """Return whether the server and our reader take a text."""
        changed = with_value(document, path, text)
        reply = dry_objects.create(changed, dry_run=True)
        return not any(cause.startswith(f"{path}: ") for cause in reply.causes), is_read(changed, path)

    @settings(max_examples=4, database=None, suppress_health_check=list(HealthCheck))
    @given(st.from_regex(pattern).map(lambda text: text[: node["maxLength"] + 1]))
    def both_sides_agree(text: str) -> None:
        server, reader = sides(text)
        assert server == reader, text

    both_sides_agree()
    assert sides(valid) == (True, True)
    near = {f"{valid[:half]}{mark}{valid[half:]}" for mark in MARKS} | {"", f"{valid}\n", f"\n{valid}"}
    assert {text: said for text in near if len(set(said := sides(text))) > 1} == {}
