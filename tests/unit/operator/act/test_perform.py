"""What differs is written, what cannot be written keeps nothing else from it, and nothing is taken from others."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_core.errors import HpiError, Retry
from hpi_core.names import MANAGED_BY, PIPELINE
from hpi_operator.act.drift import stamped
from hpi_operator.act.events import Recorder, Subject
from hpi_operator.act.perform import Performer
from hpi_operator.kube.errors import (
    Away,
    Conflict,
    Ending,
    FieldOwner,
    Forbidden,
    Invalid,
    NotLeading,
    NotThere,
    Taken,
)
from hpi_operator.kube.resources import NODES, PIPELINES, SERVICES, resource_of
from hpi_operator.plan.intent import Deletion, Event, Manifest, ObjectKey, key_of
from support.written_objects import WrittenObjects

SUBJECT = Subject(PIPELINES.key("ocr", "ns"), "u1")
TAKEN = Taken("PATCH /x: a conflict", (FieldOwner("kubectl-edit", applies=False),), (".spec.a",))
APPLIED_BY_OTHERS = Taken("PATCH /x: a conflict", (FieldOwner("argocd", applies=True),), (".spec.a",))


def a_performer() -> tuple[Performer, WrittenObjects]:
    api = WrittenObjects()
    return Performer(api, Recorder(api)), api  # type: ignore[arg-type]


def a_child(kind: str, name: str = "ocr", owner: str = "u1", **spec: Any) -> dict[str, Any]:
    api_version = {"Deployment": "apps/v1", "Service": "v1", "ConfigMap": "v1", "ServiceAccount": "v1"}[kind]
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "ns",
            "labels": {PIPELINE: "ocr", MANAGED_BY: "hpi-operator"},
            "ownerReferences": [{"kind": "HPIPipeline", "name": "ocr", "uid": owner, "controller": True}],
        },
        "spec": spec,
    }


def stored(*manifests: Manifest) -> dict[ObjectKey, Manifest]:
    return {key_of(one): stamped(one) for one in manifests}


def test_an_object_that_is_as_it_should_be_is_not_written() -> None:
    performer, api = a_performer()

    stated = performer.state([a_child("Service", a=1)], stored(a_child("Service", a=1)))

    assert (stated.written, api.done) == ([], [])


def test_objects_that_differ_are_written_in_the_order_of_the_plan() -> None:
    performer, api = a_performer()
    wanted = [a_child("ConfigMap"), a_child("Deployment", a=2), a_child("Service")]

    stated = performer.state(wanted, stored(a_child("Deployment", a=1)))

    assert [what for _, what in api.done] == ["ConfigMap ns/ocr", "Deployment ns/ocr", "Service ns/ocr"]
    assert [one.key.kind for one in stated.written] == ["ConfigMap", "Deployment", "Service"]
    assert all(one.version is not None and one.version.isdigit() for one in stated.written)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (APPLIED_BY_OTHERS, "FieldConflict"),
        (Invalid("PATCH /x: field is immutable"), "ObjectRefused"),
        (Forbidden("PATCH /x: no", "patch services"), "PermissionMissing"),
        (Ending("PATCH /x: being terminated"), "NamespaceTerminating"),
        (NotThere("PATCH /x: no such api"), "ApiMissing"),
    ],
)
def test_an_object_that_cannot_be_written_keeps_no_other_from_it_and_is_told_of(error: HpiError, reason: str) -> None:
    performer, api = a_performer()
    api.errors["apply Service ns/ocr"] = [error]

    stated = performer.state([a_child("Service"), a_child("Deployment")], {})

    [refusal] = stated.refusals
    assert refusal.reason == reason
    assert "Service ns/ocr" in refusal.message
    assert [one.key.kind for one in stated.written] == ["Deployment"]


@pytest.mark.parametrize("error", [Away("nobody answers"), Conflict("changed"), NotLeading("lost")])
def test_a_server_that_is_away_ends_the_pass(error: Retry) -> None:
    performer, api = a_performer()
    api.errors["apply Service ns/ocr"] = [error]

    with pytest.raises(Retry):
        performer.state([a_child("Service"), a_child("Deployment")], {})

    assert ("apply", "Deployment ns/ocr") not in api.done


def test_a_field_that_somebody_edited_is_taken_back() -> None:
    performer, api = a_performer()
    api.errors["apply Service ns/ocr"] = [TAKEN]

    stated = performer.state([a_child("Service", a=1)], stored(a_child("Service", a=2)))

    assert api.done == [("apply", "Service ns/ocr"), ("apply!", "Service ns/ocr")]
    assert stated.refusals == []


def test_a_conflict_names_the_field_and_who_owns_it() -> None:
    performer, api = a_performer()
    api.errors["apply Service ns/ocr"] = [APPLIED_BY_OTHERS]

    stated = performer.state([a_child("Service", a=1)], stored(a_child("Service", a=2)))

    assert [one.message for one in stated.refusals] == ["Service ns/ocr: .spec.a belongs to argocd"]
    assert ("apply!", "Service ns/ocr") not in api.done


@pytest.mark.parametrize("is_seen", [True, False])
def test_an_object_of_somebody_else_is_never_written(is_seen: bool) -> None:
    performer, api = a_performer()
    theirs = a_child("Service", owner="u2", a=2)
    api.objects[key_of(theirs)] = theirs

    stated = performer.state([a_child("Service", a=1)], stored(theirs) if is_seen else {})

    assert [one.reason for one in stated.refusals] == ["NameTaken"]
    assert "belongs to HPIPipeline ocr (uid u2)" in stated.refusals[0].message
    assert api.done == []


def test_an_object_of_ours_that_lost_its_label_is_written_again() -> None:
    performer, api = a_performer()
    unlabelled = a_child("Service", a=1)
    unlabelled["metadata"]["labels"] = {}
    api.objects[key_of(unlabelled)] = unlabelled

    performer.state([a_child("Service", a=1)], {})

    assert api.done == [("apply", "Service ns/ocr")]


def test_objects_of_a_kind_that_is_not_seen_are_left_alone_and_told_of() -> None:
    performer, api = a_performer()
    hidden = {SERVICES: Forbidden("services is forbidden", "list services")}
    gone = Deletion(SERVICES.key("old", "ns"), "u9", "nothing wants it")

    stated = performer.state([a_child("Service"), a_child("Deployment")], {}, hidden)
    removed = performer.remove([gone], hidden)

    assert [(one.reason, "services is forbidden" in one.message) for one in stated.refusals] == [
        ("PermissionMissing", True)
    ]
    assert api.done == [("apply", "Deployment ns/ocr")]
    assert removed.written == []


def test_what_is_deleted_is_told_with_the_uid_that_was_seen() -> None:
    performer, api = a_performer()

    removed = performer.remove([Deletion(SERVICES.key("old", "ns"), "u9", "nothing wants it")])

    assert api.done == [("delete", "Service ns/old")]
    assert [(one.version, one.uid) for one in removed.written] == [(None, "u9")]


def test_a_deletion_that_is_not_allowed_keeps_no_other_from_it() -> None:
    performer, api = a_performer()
    api.errors["delete Service ns/a"] = [Forbidden("no", "delete services")]

    removed = performer.remove([Deletion(SERVICES.key(name, "ns"), name, "why") for name in "ab"])

    assert [one.key.name for one in removed.written] == ["b"]
    assert [one.reason for one in removed.refusals] == ["PermissionMissing"]


def test_a_status_is_written_only_where_it_says_something_else() -> None:
    performer, api = a_performer()
    api.objects[SUBJECT.key] = {"metadata": {"name": "ocr", "namespace": "ns"}}

    same = performer.report(SUBJECT, {"a": 1, "b": [2]}, {"b": [2], "a": 1})
    nothing = performer.report(SUBJECT, {"a": 1}, None)
    other = performer.report(SUBJECT, {"a": 1}, {"a": 2})
    first = performer.report(SUBJECT, None, {"a": 1})

    assert (same, nothing) == (None, None)
    assert other is not None
    assert first is not None
    assert api.done == [("apply", "HPIPipeline ns/ocr/status")] * 2


def test_the_status_of_an_object_that_went_is_nobodys() -> None:
    performer, _ = a_performer()

    assert performer.report(SUBJECT, None, {"a": 1}) is None


def test_a_status_carries_the_uid_so_that_it_is_not_given_to_another_of_the_same_name() -> None:
    performer, api = a_performer()
    api.objects[SUBJECT.key] = {"metadata": {"name": "ocr", "namespace": "ns"}}

    performer.report(SUBJECT, None, {"a": 1})

    assert api.objects[SUBJECT.key]["metadata"]["uid"] == "u1"


def test_labels_are_written_only_where_there_are_any() -> None:
    performer, api = a_performer()
    node = Subject(NODES.key("n1"), "u5")

    nothing, something = performer.label(node, {}), performer.label(node, {"a": "b", "c": None})

    assert nothing is None
    assert something is not None
    assert api.done == [("merge", "Node n1")]


def test_events_are_told_once_and_counted() -> None:
    performer, _ = a_performer()
    event = Event("RolledBack", "revision a was put back", "Warning")

    assert (performer.tell(SUBJECT, [event]), performer.tell(SUBJECT, [event])) == (1, 0)


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap", "ServiceAccount"])
def test_every_kind_of_these_tests_is_in_the_table(kind: str) -> None:
    child = a_child(kind)

    assert resource_of(child["apiVersion"], kind).kind == kind
