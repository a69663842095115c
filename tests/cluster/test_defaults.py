"""What the API server fills in is what our models fill in, for every part that can be left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hpi_core.api.manifest import read_manifest
from hpi_core.errors import InvalidManifest
from support.kinds import IDS, PATHS, SAMPLES, manifest, read
from support.manifests import Document, with_value
from support.objects import Objects
from support.rule_pair import Pair, changed
from support.rule_pairs import PAIRS


def without_empties(value: Any) -> Any:
    """Return a document without what is absent or empty: both mean the same in our kinds."""
    if isinstance(value, dict):
        inner = {name: without_empties(part) for name, part in value.items()}
        return {name: part for name, part in inner.items() if part not in (None, [], {})}
    return [without_empties(part) for part in value] if isinstance(value, list) else value


def filled_in_by_us(document: Document) -> Any:
    read_object = read_manifest(json.dumps(document), "test.yaml")
    return without_empties(read_object.model_dump(mode="json", by_alias=True)["spec"])


def filled_in_by_the_server(objects: Objects, document: Document) -> Any:
    created = objects.create(document, dry_run=True)
    assert created.accepted, created.causes
    return without_empties(created.body["spec"])


@pytest.mark.parametrize(
    "document", [read(path) for path in (*PATHS, *SAMPLES)], ids=[*IDS, *(path.name for path in SAMPLES)]
)
def test_a_manifest_means_the_same_on_both_sides(dry_objects: Objects, document: Document) -> None:
    assert filled_in_by_the_server(dry_objects, document) == filled_in_by_us(document)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.id)
def test_a_manifest_that_keeps_a_rule_means_the_same_on_both_sides(dry_objects: Objects, pair: Pair) -> None:
    document = changed(pair.kind, pair.case, pair.keeps)

    assert filled_in_by_the_server(dry_objects, document) == filled_in_by_us(document)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("HPIPipeline", "spec.build"),
        ("HPIPipeline", "spec.build.accuracy"),
        ("HPIPipeline", "spec.placement"),
        ("HPIPipeline", "spec.placement.topologySpread"),
        ("HPIPipeline", "spec.cache"),
        ("HPIPipeline", "spec.rollout"),
        ("HPIPipeline", "spec.serving"),
        ("HPIPipeline", "spec.serving.auth"),
        ("HPIPipeline", "spec.serving.queue"),
        ("HPIPipeline", "spec.serving.queue.tenants"),
        ("HPIPipeline", "spec.availability"),
        ("HPIPipeline", "spec.podTemplate"),
        ("HPIPipeline", "spec.inference"),
        ("HPIRuntime", "spec.selfTest"),
        ("HPINodePool", "spec"),
        ("HPINodePool", "spec.cache"),
        ("HPINodePool", "spec.upgrade"),
    ],
)
def test_an_empty_part_is_filled_in_like_an_absent_one(dry_objects: Objects, kind: str, path: str) -> None:
    document = with_value(manifest(kind), path, {})

    assert filled_in_by_the_server(dry_objects, document) == filled_in_by_us(document)


@pytest.mark.parametrize(
    ("path", "value"), [("spec.build.timeoutSeconds", 300.0), ("spec.build", None), ("spec.build.policy", None)]
)
def test_our_reader_is_the_stricter_side(dry_objects: Objects, path: str, value: Any) -> None:
    document = with_value(manifest("HPIPipeline"), path, value)

    assert dry_objects.create(document, dry_run=True).accepted
    with pytest.raises(InvalidManifest, match=path):
        read_manifest(json.dumps(document), "test.yaml")


def test_nothing_means_absent_for_a_field_without_default(dry_objects: Objects) -> None:
    document = with_value(with_value(manifest("HPIPipeline"), "spec.replicas", None), "spec.module", None)

    assert filled_in_by_the_server(dry_objects, document) == filled_in_by_us(document)


def test_only_the_server_checks_the_moments_of_a_status(objects: Objects) -> None:
    document = with_value(manifest("HPINode", "full"), "status.upgrade.since", "yesterday")
    assert objects.create(document).accepted

    written = objects.replace(document, "status", dry_run=True)

    assert "status.upgrade.since" in written.causes[0]
    assert read_manifest(json.dumps(document), "test.yaml")
