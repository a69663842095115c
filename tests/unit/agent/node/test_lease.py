"""Leases of resolutions as documents: whose they are, and the changes that the policy on them allows."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.node.lease import CHOSEN_BEFORE, LEASE_SECONDS, decided, new_lease, read_lease, released, renewed, taken
from hpi_core.api.v1alpha1.kinds import ENGINE_NAME
from hpi_core.names import RESOLUTION
from hpi_operator.install.lease_policy import MAX_LEASE_SECONDS
from support.manifests import Document

NOW = datetime(2026, 3, 1, 10, 0, 0, tzinfo=timezone.utc)
NAME = "e-" + "5" * 40


def a_lease(node: str = "n1", pod: str = "p1") -> Document:
    """Return a new Lease as the API server has it."""
    document = new_lease("a", NAME, node, pod, "e", NOW)
    return {**document, "metadata": {**document["metadata"], "resourceVersion": "7"}}


def changed(lease: Document, change: Document) -> Document:
    """Return what a merge patch makes of a Lease."""

    def merged(old: Any, new: Any) -> Any:
        if not isinstance(new, dict):
            return new
        base = dict(old) if isinstance(old, dict) else {}
        for key, value in new.items():
            if value is None:
                base.pop(key, None)
            else:
                base[key] = merged(base.get(key), value)
        return base

    assert change["metadata"]["resourceVersion"] == lease["metadata"]["resourceVersion"]
    done: Document = merged(lease, change)
    return done


def test_a_new_lease_is_one_that_the_policy_takes() -> None:
    lease = a_lease()

    assert re.match(ENGINE_NAME, NAME)
    assert lease["metadata"]["labels"] == {RESOLUTION: NAME}
    assert (lease["spec"]["leaseTransitions"], lease["spec"]["leaseDurationSeconds"]) == (0, LEASE_SECONDS)
    assert 1 <= LEASE_SECONDS <= MAX_LEASE_SECONDS


@pytest.mark.parametrize(("seconds", "is_live"), [(0, True), (LEASE_SECONDS - 0.001, True), (LEASE_SECONDS, False)])
def test_a_lease_is_live_until_its_seconds_have_passed(seconds: float, is_live: bool) -> None:
    assert read_lease(a_lease()).is_live(NOW + timedelta(seconds=seconds)) is is_live


def test_a_renewal_changes_only_until_when() -> None:
    later = NOW + timedelta(seconds=30)

    before, after = read_lease(a_lease()), read_lease(changed(a_lease(), renewed(a_lease(), later)))

    assert after.expires_at == later + timedelta(seconds=LEASE_SECONDS)
    assert (after.node, after.pod_uid, after.engine, after.transitions) == (
        before.node,
        before.pod_uid,
        before.engine,
        before.transitions,
    )


@pytest.mark.parametrize("key", ["sha256:" + "7" * 64, None])
def test_what_was_chosen_on_busy_cores_stays_with_the_lease_until_a_choice_is_final(key: str | None) -> None:
    first = changed(a_lease(), decided(a_lease(), NOW, "sha256:" + "6" * 64))
    again = changed(first, taken(first, "n2", "p2", "e", NOW))

    assert read_lease(again).chosen_before == "sha256:" + "6" * 64
    assert read_lease(changed(again, released(again, NOW))).chosen_before == "sha256:" + "6" * 64
    assert read_lease(changed(again, decided(again, NOW, key))).chosen_before == key


def test_an_annotation_that_is_no_key_counts_as_none() -> None:
    lease = a_lease()
    lease["metadata"]["annotations"][CHOSEN_BEFORE] = "sha256:short"

    assert read_lease(lease).chosen_before is None


def test_a_lease_that_is_given_back_is_nobodys() -> None:
    after = read_lease(changed(a_lease(), released(a_lease(), NOW)))

    assert (after.node, after.pod_uid, after.engine) == ("", "", "")
    assert not after.is_live(NOW)
    assert not after.is_of("n1", "p1")


@given(st.lists(st.tuples(st.sampled_from(["n1", "n2"]), st.sampled_from(["p1", "p2"]), st.booleans()), max_size=12))
def test_transitions_count_changes_of_the_node_as_the_policy_does(steps: list[tuple[str, str, bool]]) -> None:
    lease = a_lease()
    for node, pod, gives_back in steps:
        before = read_lease(lease)
        lease = changed(lease, taken(lease, node, pod, "", NOW))
        after = read_lease(lease)
        assert after.transitions == before.transitions + (0 if node == before.node else 1)
        assert after.is_of(node, pod)
        if gives_back:
            lease = changed(lease, released(lease, NOW))
            assert read_lease(lease).transitions == after.transitions


@pytest.mark.parametrize("spec", [{}, {"renewTime": "yesterday"}, {"renewTime": None}, {"leaseTransitions": None}])
def test_a_lease_whose_times_cannot_be_read_has_expired(spec: Document) -> None:
    assert not read_lease({"metadata": {}, "spec": {"holderIdentity": "n1", **spec}}).is_live(NOW)
