"""What the API server's answers mean to the agent."""

from __future__ import annotations

import pytest

from hpi_agent.node.api_errors import Answered, Away, Conflict, NotThere, missing_right, problem_of

WHO = 'is forbidden: User "system:serviceaccount:hpi-agents:hpi-agent" cannot'


@pytest.mark.parametrize(
    ("message", "right"),
    [
        (
            f'hpinodes.hpi.paddlex.io "n1" {WHO} patch resource "hpinodes/status" in API group "hpi.paddlex.io" at the '
            "cluster scope",
            "patch hpinodes/status.hpi.paddlex.io",
        ),
        (f'pods {WHO} list resource "pods" in API group "" at the cluster scope', "list pods"),
        ("hpinodes.hpi.paddlex.io \"n1\" is forbidden: ValidatingAdmissionPolicy 'x' denied request: no", None),
        ("", None),
    ],
)
def test_a_right_that_is_missing_is_named_and_a_policy_is_none(message: str, right: str | None) -> None:
    assert missing_right(message) == right


@pytest.mark.parametrize(
    ("code", "kind"),
    [(403, Answered), (404, NotThere), (409, Conflict), (410, Away), (422, Answered), (429, Away), (500, Away)],
)
def test_a_status_says_whether_asking_again_helps(code: int, kind: type) -> None:
    assert type(problem_of("GET /x", code, "words", None)) is kind
