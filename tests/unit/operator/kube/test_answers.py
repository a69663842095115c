"""Answers of an API server stand for errors that say who acts next; the bodies are those of kube-apiserver 1.34.4."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_core.errors import HpiError
from hpi_operator.kube.answers import MAX_AFTER_SECONDS, error_of
from hpi_operator.kube.errors import (
    Away,
    Conflict,
    Ending,
    Expired,
    FieldOwner,
    Forbidden,
    Invalid,
    NotThere,
    Taken,
    Unknown,
)


def a_status(code: int, reason: str, message: str, *causes: dict[str, str]) -> bytes:
    details: dict[str, Any] = {"causes": list(causes)} if causes else {}
    status = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    return json.dumps(status).encode()


NO_RIGHT = (
    'services "ocr" is forbidden: User "hpi-operator" cannot patch resource "services" in API group "" in the '
    'namespace "ns"'
)
NO_LIST = (
    'networkpolicies.networking.k8s.io is forbidden: User "hpi-operator" cannot list resource "networkpolicies" in API '
    'group "networking.k8s.io" at the cluster scope'
)
ENDING = 'services "ocr" is forbidden: unable to create new content in namespace ns because it is being terminated'
QUOTA = 'persistentvolumeclaims "ocr-cache" is forbidden: exceeded quota: storage, requested: 1, used: 1, limited: 1'
POLICY = "deployments.apps \"ocr\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: no such image"


@pytest.mark.parametrize(
    ("code", "body", "expected"),
    [
        (400, a_status(400, "BadRequest", "the body is not valid"), Invalid),
        (401, a_status(401, "Unauthorized", "Unauthorized"), Unknown),
        (403, a_status(403, "Forbidden", NO_RIGHT), Forbidden),
        (403, a_status(403, "Forbidden", ENDING, {"reason": "NamespaceTerminating", "message": "…"}), Ending),
        (403, a_status(403, "Forbidden", QUOTA), Invalid),
        (403, a_status(403, "Forbidden", POLICY), Invalid),
        (404, a_status(404, "NotFound", 'services "ocr" not found'), NotThere),
        (409, a_status(409, "AlreadyExists", 'leases "l" already exists'), Conflict),
        (409, a_status(409, "Conflict", "the object has been modified"), Conflict),
        (410, a_status(410, "Expired", "The provided continue parameter is too old"), Expired),
        (410, a_status(410, "Gone", "too old resource version"), Expired),
        (422, a_status(422, "Invalid", "spec.selector: field is immutable"), Invalid),
        (429, a_status(429, "TooManyRequests", "please try again later"), Away),
        (500, a_status(500, "InternalError", "etcdserver: request timed out"), Away),
        (500, a_status(500, "InternalError", "failed to create typed patch object (…): field not declared"), Invalid),
        (503, b"upstream connect error", Away),
        (504, a_status(504, "Timeout", "request did not complete within the allotted timeout"), Away),
        (302, b"", Away),
    ],
)
def test_an_answer_stands_for_the_error_that_says_who_acts_next(
    code: int, body: bytes, expected: type[HpiError]
) -> None:
    error = error_of(code, body, "GET /x")

    assert type(error) is expected
    assert str(error).startswith("GET /x: ")


@pytest.mark.parametrize(
    ("message", "right"),
    [(NO_RIGHT, "patch services"), (NO_LIST, "list networkpolicies.networking.k8s.io"), ("no words at all", None)],
)
def test_a_missing_right_is_named_by_verb_and_resource(message: str, right: str | None) -> None:
    error = error_of(403, a_status(403, "Forbidden", message), "PATCH /x")

    assert isinstance(error, Forbidden)
    assert error.right == right
    assert message in str(error)


def a_conflict(*owners: tuple[str, str]) -> bytes:
    causes = [{"reason": "FieldManagerConflict", "message": words, "field": field} for words, field in owners]
    listed = "\n- ".join(field for _, field in owners)
    message = f"Apply failed with {len(owners)} conflicts: conflicts with …:\n- {listed}"
    return a_status(409, "Conflict", message, *causes)


def test_who_updated_a_field_once_is_told_from_who_applies_it_for_good() -> None:
    body = a_conflict(
        ('conflict with "kubectl-edit" using apps/v1', ".spec.template"),
        ('conflict with "kubectl" with subresource "scale" using apps/v1', ".spec.replicas"),
        ('conflict with "argocd-controller"', ".spec.paused"),
    )

    error = error_of(409, body, "PATCH /x")

    assert isinstance(error, Taken)
    assert error.owners == (
        FieldOwner("argocd-controller", applies=True),
        FieldOwner("kubectl", applies=False),
        FieldOwner("kubectl-edit", applies=False),
    )
    assert error.fields == (".spec.paused", ".spec.replicas", ".spec.template")


def test_a_conflict_without_causes_is_read_from_its_message() -> None:
    message = 'Apply failed with 1 conflict: conflict with "before-first-apply" using apps/v1: .spec.replicas'

    error = error_of(409, a_status(409, "Conflict", message), "PATCH /x")

    assert isinstance(error, Taken)
    assert error.owners == (FieldOwner("before-first-apply", applies=False),)


@pytest.mark.parametrize(
    ("header", "seconds"), [("1", 1.0), ("30", 30.0), ("86400", MAX_AFTER_SECONDS), ("soon", None), (None, None)]
)
def test_the_wish_for_a_pause_is_kept_within_bounds(header: str | None, seconds: float | None) -> None:
    error = error_of(429, b"", "GET /x", header)

    assert isinstance(error, Away)
    assert error.after_seconds == seconds


@given(st.integers(300, 599), st.binary(max_size=200))
def test_no_answer_whatever_is_in_it_is_more_than_an_error(code: int, body: bytes) -> None:
    assert isinstance(error_of(code, body, "GET /x"), HpiError)


@pytest.mark.parametrize("body", [b"[]", b"null", b"3", b'"text"', b"<html>", b""])
def test_a_body_that_is_no_status_is_no_trouble(body: bytes) -> None:
    assert isinstance(error_of(500, body, "GET /x"), Away)
