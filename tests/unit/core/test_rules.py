"""Rules over several fields: each has a manifest on both sides of it, and our reader tells them apart."""

from __future__ import annotations

import json

import pytest

from hpi_core.api.manifest import read_manifest
from hpi_core.errors import InvalidManifest
from support.rule_pair import Pair, changed, stated_rules
from support.rule_pairs import PAIRS

OF_ONE_MANIFEST = [pair for pair in PAIRS if pair.before is None]


def test_every_rule_has_a_manifest_on_each_side_of_it() -> None:
    assert {(pair.kind, pair.path, pair.message) for pair in PAIRS} == stated_rules()


def test_no_rule_has_two_pairs() -> None:
    assert len({pair.id for pair in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.id)
def test_what_keeps_a_rule_is_read(pair: Pair) -> None:
    assert read_manifest(json.dumps(changed(pair.kind, pair.case, pair.keeps)), "test.yaml")


@pytest.mark.parametrize("pair", OF_ONE_MANIFEST, ids=lambda pair: pair.id)
def test_what_breaks_a_rule_is_refused_with_what_is_allowed(pair: Pair) -> None:
    with pytest.raises(InvalidManifest) as refusal:
        read_manifest(json.dumps(changed(pair.kind, pair.case, pair.breaks)), "test.yaml")

    [problem] = refusal.value.problems
    # What a key must be is said here key by key.
    assert problem.endswith(pair.message) or (": the key '" in problem and pair.message.startswith("each key must "))


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.before is not None], ids=lambda pair: pair.id)
def test_a_rule_of_transition_is_about_two_manifests_that_are_each_valid(pair: Pair) -> None:
    assert read_manifest(json.dumps(changed(pair.kind, pair.case, pair.before or {})), "test.yaml")
    assert read_manifest(json.dumps(changed(pair.kind, pair.case, pair.breaks)), "test.yaml")
