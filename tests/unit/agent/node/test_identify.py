"""Whose a token is, by the answers of the API server; what is remembered, and what is never asked."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from hpi_agent.node.api_errors import Answered, Away
from hpi_agent.node.identify import BURST, KNOWN_SECONDS, MAX_KNOWN, REFUSED_SECONDS, TokenReviews, identity
from hpi_core.errors import HpiError, Overloaded, Refused, Retry
from support.manifests import Document

NOW = datetime(2026, 3, 1, 10, 0, 0, tzinfo=timezone.utc)
EXTRA = "authentication.kubernetes.io/"


def a_token(seconds: float = 3600, audience: Any = None, number: int = 0) -> str:
    """Return a token as Kubernetes makes them, with a signature of nobody."""
    claims = {
        "aud": ["hpi-agent"] if audience is None else audience,
        "exp": int((NOW + timedelta(seconds=seconds)).timestamp()),
        "jti": number,
    }
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "none"}, claims, {})
    )


def a_status(**changes: Any) -> Document:
    """Return the status of a TokenReview of a pod on `n1`."""
    extra = {f"{EXTRA}pod-name": ["ocr-1"], f"{EXTRA}pod-uid": ["u-1"], f"{EXTRA}node-name": ["n1"]}
    user = {"username": "system:serviceaccount:accounts:ocr", "extra": {**extra, **changes.pop("extra", {})}}
    return {"authenticated": True, "audiences": ["hpi-agent"], "user": {**user, **changes.pop("user", {})}, **changes}


class Server:
    """An API server that knows some answers, and counts the questions."""

    def __init__(self, status: Document | HpiError | None) -> None:
        """Answer with a status, or an error; None: it is away."""
        self.status = status
        self.asked = 0

    def create(self, path: str, document: Document) -> Document:
        """Answer a TokenReview."""
        self.asked += 1
        assert document["spec"]["audiences"] == ["hpi-agent"]
        if self.status is None:
            raise Away("the API server does not answer")
        if isinstance(self.status, HpiError):
            raise self.status
        return {"status": self.status}


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        """Begin."""
        self.seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds

    def now(self) -> datetime:
        """Return the date."""
        return NOW + timedelta(seconds=self.seconds)


def reviews(server: Server) -> tuple[TokenReviews, Clock]:
    """Return the reviews of the agent of `n1`, and its clock."""
    clock = Clock()
    return TokenReviews(server, "n1", clock=clock, now=clock.now), clock  # type: ignore[arg-type]


def test_a_pod_is_who_the_review_says() -> None:
    who = reviews(Server(a_status()))[0](a_token())

    assert (who.namespace, who.pod, who.pod_uid, who.service_account, who.node) == (
        "accounts",
        "ocr-1",
        "u-1",
        "ocr",
        "n1",
    )


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"authenticated": False, "error": "invalid bearer token"}, "does not know the token: invalid bearer token"),
        ({}, "does not know the token"),
        (a_status(audiences=["another"]), "another audience"),
        (a_status(audiences=None), "another audience"),
        (a_status(user={"username": "alice"}), "of no pod"),
        (a_status(extra={f"{EXTRA}pod-uid": []}), "of no pod"),
        (a_status(extra={f"{EXTRA}node-name": ["n2"]}), "of a pod on node n2, this is the agent of n1"),
        (a_status(extra={f"{EXTRA}node-name": []}), "of a pod on node unknown"),
    ],
)
def test_who_is_no_pod_of_this_node_is_refused(status: Document, why: str) -> None:
    with pytest.raises(Refused, match=why):
        identity(status, "n1", NOW)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "not one of a service account"),
        ("a.b.c", "not one of a service account"),
        ("x" * 20_000, "not one of a service account"),
        (a_token(audience=["https://kubernetes.default.svc"]), "another audience"),
        (a_token(audience="another"), "another audience"),
        (a_token(0), "has expired"),
    ],
)
def test_what_anybody_can_see_the_api_server_is_not_asked(token: str, why: str) -> None:
    server = Server(a_status())

    with pytest.raises(Refused, match=why):
        reviews(server)[0](token)

    assert server.asked == 0


@pytest.mark.parametrize(
    ("status", "token_seconds", "seconds", "asked"),
    [
        (a_status(), 3600, KNOWN_SECONDS - 0.1, 1),
        (a_status(), 3600, KNOWN_SECONDS, 2),
        (a_status(), 30, 29.9, 1),
        ({"authenticated": False}, 3600, REFUSED_SECONDS - 0.1, 1),
        ({"authenticated": False}, 3600, REFUSED_SECONDS, 2),
    ],
)
def test_an_answer_is_remembered_for_so_long(
    status: Document, token_seconds: float, seconds: float, asked: int
) -> None:
    server = Server(status)
    ask, clock = reviews(server)

    for at in (0.0, seconds):
        clock.seconds = at
        try:
            ask(a_token(token_seconds))
        except Refused:
            assert not status.get("authenticated")

    assert server.asked == asked


def test_a_token_is_known_no_longer_than_it_lives() -> None:
    ask, clock = reviews(Server(a_status()))
    ask(a_token(30))
    clock.seconds = 30.0

    with pytest.raises(Refused, match="expired"):
        ask(a_token(30))


def test_an_api_server_that_is_away_is_no_refusal_and_is_not_remembered() -> None:
    server = Server(None)
    ask, _ = reviews(server)

    with pytest.raises(Away):
        ask(a_token())
    server.status = a_status()

    assert ask(a_token()).pod == "ocr-1"


def test_an_agent_that_may_not_ask_refuses_nobody_and_says_which_right_it_lacks() -> None:
    words = 'tokenreviews.authentication.k8s.io is forbidden: User "a" cannot create resource "tokenreviews"'
    ask, _ = reviews(Server(Answered(words, 403)))

    with pytest.raises(Retry, match=r"does not say whose a token is: .* cannot create resource"):
        ask(a_token())


def test_no_more_tokens_are_remembered_than_there_is_room_for() -> None:
    server = Server(a_status())
    ask, clock = reviews(server)

    for number in range(MAX_KNOWN + 1):
        clock.seconds = number * 0.05
        ask(a_token(number=number))
    clock.seconds = 52.0
    asked = server.asked
    ask(a_token(number=MAX_KNOWN))
    ask(a_token(number=0))

    assert server.asked == asked + 1


def test_a_flood_of_tokens_is_not_passed_on() -> None:
    server = Server({"authenticated": False})
    ask, _ = reviews(server)
    for number in range(round(BURST)):
        with pytest.raises(Refused):
            ask(a_token(number=number))

    with pytest.raises(Overloaded):
        ask(a_token(number=-1))

    assert server.asked == BURST
