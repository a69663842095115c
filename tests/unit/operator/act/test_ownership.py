"""A slip of a hand is repaired, a writer that means it is left alone, and somebody else's object is not touched."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_core.names import MANAGED_BY, PIPELINE
from hpi_operator.act.ownership import MAX_REMEMBERED, MAX_REPAIRS, REPAIRS_SECONDS, Repairs, is_foreign, owner_words
from hpi_operator.kube.errors import FieldOwner, Taken
from hpi_operator.kube.resources import DEPLOYMENTS

DEPLOYMENT = DEPLOYMENTS.key("ocr-cpu", "ns")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def taken_by(*managers: str, applies: bool = False) -> Taken:
    return Taken("a conflict", tuple(FieldOwner(one, applies) for one in managers), (".spec.replicas",))


def test_a_field_that_somebody_edited_is_taken_back() -> None:
    assert Repairs(Clock()).may_take_back(DEPLOYMENT, taken_by("kubectl-edit"))


def test_a_field_that_somebody_applies_is_left_to_him() -> None:
    assert not Repairs(Clock()).may_take_back(DEPLOYMENT, taken_by("argocd-controller", applies=True))


def test_one_owner_who_applies_protects_the_whole_object() -> None:
    conflict = Taken("a conflict", (FieldOwner("kubectl", False), FieldOwner("argocd", True)), ())

    assert not Repairs(Clock()).may_take_back(DEPLOYMENT, conflict)


def test_who_writes_it_again_and_again_is_not_fought() -> None:
    repairs = Repairs(Clock())

    answers = [repairs.may_take_back(DEPLOYMENT, taken_by("keda")) for _ in range(MAX_REPAIRS + 2)]

    assert answers == [True] * MAX_REPAIRS + [False, False]


@pytest.mark.parametrize(("later", "expected"), [(REPAIRS_SECONDS - 1, False), (REPAIRS_SECONDS + 1, True)])
def test_after_a_while_a_repair_is_a_slip_again(later: float, expected: bool) -> None:
    clock = Clock()
    repairs = Repairs(clock)
    for _ in range(MAX_REPAIRS):
        repairs.may_take_back(DEPLOYMENT, taken_by("kubectl-edit"))

    clock.now += later

    assert repairs.may_take_back(DEPLOYMENT, taken_by("kubectl-edit")) is expected


def test_repairs_of_one_object_and_one_writer_do_not_count_for_others() -> None:
    repairs = Repairs(Clock())
    for _ in range(MAX_REPAIRS):
        repairs.may_take_back(DEPLOYMENT, taken_by("keda"))

    assert repairs.may_take_back(DEPLOYMENT, taken_by("kubectl-edit"))
    assert repairs.may_take_back(DEPLOYMENTS.key("other", "ns"), taken_by("keda"))


def test_what_is_remembered_has_a_bound() -> None:
    repairs = Repairs(Clock())

    for number in range(MAX_REMEMBERED + 100):
        repairs.may_take_back(DEPLOYMENTS.key(f"d{number}", "ns"), taken_by("kubectl-edit"))

    assert len(repairs._done) <= MAX_REMEMBERED


def an_object(*uids: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    owners = [{"kind": "HPIPipeline", "name": "ocr", "uid": uid} for uid in uids]
    return {"metadata": {"name": "ocr", "ownerReferences": owners, "labels": labels or {}}}


OURS = {PIPELINE: "ocr", MANAGED_BY: "hpi-operator"}


@pytest.mark.parametrize(
    ("live", "foreign"),
    [
        (an_object("u1", labels=OURS), False),
        (an_object("u1"), False),
        (an_object("u2", labels=OURS), True),
        (an_object("u2", "u1"), False),
        (an_object(), True),
        (an_object(labels={"app": "somebody's"}), True),
        (an_object(labels={PIPELINE: "ocr"}), True),
        (an_object(labels={**OURS, PIPELINE: "other"}), True),
        (an_object(labels=OURS), False),
        ({"metadata": {"name": "ocr"}}, True),
    ],
)
def test_an_object_is_ours_by_its_owner_or_without_one_by_its_labels(live: dict[str, Any], foreign: bool) -> None:
    assert is_foreign(live, an_object("u1", labels=OURS)) is foreign


def test_owners_are_told_in_words() -> None:
    assert owner_words(an_object("u2")) == "HPIPipeline ocr (uid u2)"
    assert owner_words({"metadata": {"name": "x"}}) == "nobody"
