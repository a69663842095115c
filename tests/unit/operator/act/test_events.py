"""A change of state is told once, never a flood, and an event that cannot be told stops nothing."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Final

import pytest

from hpi_core.errors import HpiError
from hpi_operator.act.events import MAX_REMEMBERED, SILENT_SECONDS, Recorder, Subject
from hpi_operator.kube.errors import Away, Conflict, Forbidden, NotLeading
from hpi_operator.kube.resources import NODES, PIPELINES
from hpi_operator.plan.intent import Event
from support.written_objects import WrittenObjects

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
SUBJECT: Final = Subject(PIPELINES.key("ocr", "ns"), "u1")
EVENT: Final = Event("RolledBack", "revision a was put back", "Warning")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_recorder() -> tuple[Recorder, WrittenObjects, Clock]:
    api, clock = WrittenObjects(), Clock()
    return Recorder(api, clock=clock, now=lambda: NOW), api, clock  # type: ignore[arg-type]


def test_an_event_says_what_it_is_about() -> None:
    recorder, api, _ = a_recorder()

    recorder.tell(SUBJECT, EVENT)

    [event] = api.created("Event")
    assert event["regarding"] == {
        "apiVersion": "hpi.paddlex.io/v1alpha1",
        "kind": "HPIPipeline",
        "name": "ocr",
        "namespace": "ns",
        "uid": "u1",
    }
    assert (event["reason"], event["type"], event["note"]) == ("RolledBack", "Warning", "revision a was put back")
    assert (event["metadata"]["namespace"], event["eventTime"]) == ("ns", "2026-01-02T03:04:05.000000Z")


def test_an_event_about_an_object_without_a_namespace_is_where_kubectl_looks_for_it() -> None:
    recorder, api, _ = a_recorder()

    recorder.tell(Subject(NODES.key("n1"), "u5"), EVENT)

    [event] = api.created("Event")
    assert event["metadata"]["namespace"] == "default"
    assert "namespace" not in event["regarding"]


@pytest.mark.parametrize(("later", "count"), [(SILENT_SECONDS - 1, 1), (SILENT_SECONDS, 2)])
def test_the_same_event_is_not_told_again_within_ten_minutes(later: float, count: int) -> None:
    recorder, api, clock = a_recorder()
    recorder.tell(SUBJECT, EVENT)

    clock.now += later
    recorder.tell(SUBJECT, EVENT)

    assert len(api.done) == count


def test_another_message_another_reason_and_another_object_are_news() -> None:
    recorder, api, _ = a_recorder()
    recorder.tell(SUBJECT, EVENT)

    recorder.tell(SUBJECT, Event("RolledBack", "revision b was put back", "Warning"))
    recorder.tell(SUBJECT, Event("RevisionFailed", EVENT.message, "Warning"))
    recorder.tell(Subject(SUBJECT.key, "u2"), EVENT)

    assert len(api.done) == 4


@pytest.mark.parametrize("error", [Away("away"), Forbidden("no", "create events.events.k8s.io"), Conflict("there")])
def test_an_event_that_cannot_be_told_stops_nothing(error: HpiError) -> None:
    recorder, api, _ = a_recorder()
    api.every_error = error

    assert not recorder.tell(SUBJECT, EVENT)


def test_an_operator_that_lost_the_election_does_not_go_on_after_an_event_that_was_not_sent() -> None:
    recorder, api, _ = a_recorder()
    api.every_error = NotLeading("another may lead")

    with pytest.raises(NotLeading):
        recorder.tell(SUBJECT, EVENT)


def test_a_long_message_in_any_language_stays_within_what_the_api_server_takes() -> None:
    recorder, api, _ = a_recorder()

    recorder.tell(SUBJECT, Event("RolledBack", "模型" * 1_000, "Warning"))

    [event] = api.created("Event")
    assert 900 < len(event["note"].encode()) <= 1_024
    assert set(event["note"]) == set("模型")


def test_what_is_remembered_has_a_bound() -> None:
    recorder, _, _ = a_recorder()

    for number in range(MAX_REMEMBERED + 100):
        recorder.tell(SUBJECT, Event("RolledBack", str(number)))

    assert len(recorder._told) == MAX_REMEMBERED
