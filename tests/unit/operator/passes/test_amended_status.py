"""A status of which single conditions are said anew stays as it was in everything else."""

from __future__ import annotations

import copy
from datetime import datetime, timezone
from typing import Any, Final

import pytest

from hpi_core import reasons
from hpi_core.api.v1alpha1.pipeline_status import PipelineStatus
from hpi_operator.plan.amended_status import unreadable, unseen

NOW: Final = datetime(2026, 5, 6, 7, 8, 9, tzinfo=timezone.utc)
EARLIER: Final = "2026-01-01T00:00:00Z"


def a_condition(type_: str, status: str, reason: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": EARLIER,
    }


SERVING: Final[dict[str, Any]] = {
    "observedGeneration": 1,
    "readyReplicas": 2,
    "revision": "0123456789",
    "conditions": [
        a_condition("Available", "True", "EnoughReplicas"),
        a_condition("Progressing", "False", "RolloutComplete"),
        a_condition("Ready", "True", "AsWanted"),
    ],
}


def by_type(status: Any) -> dict[str, dict[str, Any]]:
    return {one["type"]: one for one in status["conditions"]}


def test_a_pipeline_that_serves_is_ready_though_the_operator_does_not_see_everything() -> None:
    before = copy.deepcopy(SERVING)

    status = unseen(SERVING, "pods: away", is_permission=False, generation=2, now=NOW)

    conditions = by_type(status)
    assert conditions["Progressing"] == {
        "type": "Progressing",
        "status": "Unknown",
        "reason": "WorldIncomplete",
        "message": "pods: away",
        "observedGeneration": 2,
        "lastTransitionTime": "2026-05-06T07:08:09Z",
    }
    assert [conditions[name] for name in ("Available", "Ready")] == [SERVING["conditions"][0], SERVING["conditions"][2]]
    assert {key: status[key] for key in SERVING if key != "conditions"} == {
        key: SERVING[key] for key in SERVING if key != "conditions"
    }
    assert before == SERVING


def test_a_missing_right_is_called_so() -> None:
    status = unseen(SERVING, "pods: forbidden", is_permission=True, generation=1, now=NOW)

    assert by_type(status)["Progressing"]["reason"] == "PermissionMissing"


def test_a_pipeline_that_is_new_is_neither_ready_nor_not() -> None:
    status = unseen(None, "pods: away", is_permission=False, generation=1, now=NOW)

    assert {name: one["status"] for name, one in by_type(status).items()} == {
        "Progressing": "Unknown",
        "Ready": "Unknown",
    }


def test_saying_the_same_again_changes_no_date() -> None:
    first = unseen(SERVING, "pods: away", is_permission=False, generation=1, now=NOW)

    again = unseen(first, "pods: away", is_permission=False, generation=1, now=NOW.replace(year=2027))

    assert again == first


def test_a_spec_that_cannot_be_read_is_not_accepted_and_what_was_obtained_stays() -> None:
    types = (reasons.ACCEPTED, reasons.READY)

    status = unreadable(SERVING, ["spec.later: Extra inputs are not permitted"], types, 4, NOW)

    conditions = by_type(status)
    assert [(conditions[name]["status"], conditions[name]["reason"]) for name in types] == [
        ("False", "InvalidSpec")
    ] * 2
    assert "spec.later" in conditions["Accepted"]["message"]
    assert (status["observedGeneration"], status["readyReplicas"]) == (4, 2)


@pytest.mark.parametrize("stored", [None, SERVING])
def test_what_comes_of_it_is_a_status_by_the_contract(stored: dict[str, Any] | None) -> None:
    for status in (
        unseen(stored, "x" * 100_000, is_permission=False, generation=1, now=NOW),
        unreadable(stored, ["y" * 100_000], (reasons.ACCEPTED, reasons.READY), 1, NOW),
    ):
        assert PipelineStatus.model_validate(status).conditions
