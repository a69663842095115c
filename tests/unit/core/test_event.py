"""An event says who tells what about which object, in what the API server takes."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_core.event import MAX_NOTE_BYTES, News, Teller, event

NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
TELLER = Teller("hpi.paddlex.io/hpi-agent", "n1")
NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u1", "resourceVersion": "7"}}


def test_an_event_in_full() -> None:
    about = {"apiVersion": "a/v1", "kind": "K", "metadata": {"name": "ocr", "namespace": "ns", "uid": "u1"}}

    told = event(about, TELLER, News("Build", "Decided", "openvino"), NOW)

    name = told["metadata"].pop("name")
    assert (name[:4], len(name)) == ("ocr.", 4 + 16)
    assert told == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "ns"},
        "eventTime": "2026-01-02T03:04:05.000006Z",
        "reportingController": "hpi.paddlex.io/hpi-agent",
        "reportingInstance": "n1",
        "action": "Build",
        "reason": "Decided",
        "type": "Normal",
        "note": "openvino",
        "regarding": {"apiVersion": "a/v1", "kind": "K", "name": "ocr", "namespace": "ns", "uid": "u1"},
    }


@pytest.mark.parametrize("metadata", [{}, {"namespace": ""}, {"namespace": None}])
def test_an_event_about_an_object_without_a_namespace_is_where_kubectl_looks_for_it(
    metadata: dict[str, str | None],
) -> None:
    told = event({**NODE, "metadata": {**NODE["metadata"], **metadata}}, TELLER, News("a", "b", "c"), NOW)  # type: ignore[dict-item]

    assert told["metadata"]["namespace"] == "default"
    assert told["regarding"] == {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"}


@given(st.text(max_size=MAX_NOTE_BYTES + 8))
def test_a_note_is_cut_between_two_characters(note: str) -> None:
    kept = event(NODE, TELLER, News("a", "b", note), NOW)["note"]

    assert note.startswith(kept)
    assert len(kept.encode()) <= MAX_NOTE_BYTES
    assert kept == note or len(kept.encode()) > MAX_NOTE_BYTES - 4


def test_two_news_of_one_moment_are_two_events_and_one_told_twice_is_one() -> None:
    names = [event(NODE, TELLER, News("a", "b", note), NOW)["metadata"]["name"] for note in ("x", "y", "x")]

    assert (names[0] == names[2], names[0] == names[1]) == (True, False)
    assert (
        len(
            event({**NODE, "metadata": {"name": "n" * 253, "uid": "u"}}, TELLER, News("a", "b", "c"), NOW)["metadata"][
                "name"
            ]
        )
        <= 253
    )
