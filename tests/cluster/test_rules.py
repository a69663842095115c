"""Every rule over several fields, on the API server: what keeps it is taken, what breaks it is refused in its words."""

from __future__ import annotations

import pytest

from support.manifests import Document
from support.objects import Objects
from support.rule_pair import Pair, changed
from support.rule_pairs import PAIRS

OF_SPEC = [pair for pair in PAIRS if pair.before is None and pair.path != "status"]
OF_STATUS = [pair for pair in PAIRS if pair.path == "status"]
OF_TRANSITION = [pair for pair in PAIRS if pair.before is not None]


def said_of_rules(causes: list[str]) -> list[str]:
    """Return the messages of broken rules, without the path and the value before them."""
    return [cause.partition(": Invalid value: ")[2].partition(": ")[2] for cause in causes]


@pytest.mark.parametrize("pair", OF_SPEC, ids=lambda pair: pair.id)
def test_a_rule_takes_what_keeps_it_and_refuses_what_breaks_it(dry_objects: Objects, pair: Pair) -> None:
    kept = dry_objects.create(changed(pair.kind, pair.case, pair.keeps), dry_run=True)
    broken = dry_objects.create(changed(pair.kind, pair.case, pair.breaks), dry_run=True)

    assert kept.accepted, kept.causes
    assert said_of_rules(broken.causes) == [pair.message]


@pytest.mark.parametrize("pair", OF_STATUS, ids=lambda pair: pair.id)
def test_a_rule_of_a_status_is_checked_where_the_status_is_written(objects: Objects, pair: Pair) -> None:
    def named(document: Document) -> Document:
        return {**document, "metadata": {"name": "rule-of-status"}}

    assert objects.create(named(changed(pair.kind, pair.case, {}))).accepted

    kept = objects.replace(named(changed(pair.kind, pair.case, pair.keeps)), "status", dry_run=True)
    broken = objects.replace(named(changed(pair.kind, pair.case, pair.breaks)), "status", dry_run=True)

    assert kept.accepted, kept.causes
    assert said_of_rules(broken.causes) == [pair.message]


@pytest.mark.parametrize("pair", OF_TRANSITION, ids=lambda pair: pair.id)
def test_a_rule_of_transition_compares_an_object_with_what_it_was(objects: Objects, pair: Pair) -> None:
    assert objects.create(changed(pair.kind, pair.case, pair.before or {})).accepted

    kept = objects.replace(changed(pair.kind, pair.case, pair.keeps), dry_run=True)
    broken = objects.replace(changed(pair.kind, pair.case, pair.breaks), dry_run=True)

    assert kept.accepted, kept.causes
    assert said_of_rules(broken.causes) == [pair.message]
