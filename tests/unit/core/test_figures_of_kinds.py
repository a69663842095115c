"""The figures of the kinds in crds/README.md are those of the models."""

from __future__ import annotations

import pytest

from hpi_core.api.definition import Kind
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.digest import canonical_json
from hpi_core.schema.custom_resource import file_text
from support.kinds import manifest, schema_of
from support.largest_object import largest_manifest
from support.project import ROOT
from support.schemas import leaves

README = ROOT / "crds" / "README.md"


def row(kind: Kind) -> str:
    """Return the line of a kind: leaves of spec and status, sizes in kB (1,000 bytes)."""
    properties = schema_of(kind)["properties"]
    sizes_bytes = [
        len(canonical_json(manifest(kind.name, "full"))),
        len(canonical_json(largest_manifest(kind.name))),
        kind.size_limit_bytes,
    ]
    figures = [
        *(str(len(leaves(properties[part]))) for part in ("spec", "status")),
        f"{len(file_text(kind).encode()) / 1_000:.0f}",
        *(f"{size / 1_000:.1f}" for size in sizes_bytes),
    ]
    return f"| `{kind.name}` | {' | '.join(figures)} |"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_table_of_sizes_has_the_real_figures(kind: Kind) -> None:
    assert row(kind) in README.read_text(encoding="utf-8").splitlines(), f"write: {row(kind)}"
