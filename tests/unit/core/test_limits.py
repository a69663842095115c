"""Objects at every limit: small enough for what they cost, read by us, refused one step beyond."""

from __future__ import annotations

import json

import pytest

from hpi_core.api.definition import Kind
from hpi_core.api.manifest import read_manifest
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.digest import canonical_json
from support.kinds import manifest
from support.largest_object import largest_manifest


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_object_at_every_limit_is_read(kind: Kind) -> None:
    assert read_manifest(json.dumps(largest_manifest(kind.name)), "test.yaml")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_object_at_every_limit_is_within_the_limit_of_its_kind_and_fills_most_of_it(kind: Kind) -> None:
    size_bytes = len(canonical_json(largest_manifest(kind.name)))

    # A limit that nothing comes near to would guard nothing.
    assert kind.size_limit_bytes * 0.4 < size_bytes <= kind.size_limit_bytes


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_object_as_people_write_it_is_far_below_the_limit_of_its_kind(kind: Kind) -> None:
    assert len(canonical_json(manifest(kind.name, "full"))) < kind.size_limit_bytes / 4
