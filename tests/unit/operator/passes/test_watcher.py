"""Of the kinds that people write, a change of a spec asks for a pass, and the operator's own status does not."""

from __future__ import annotations

from typing import Final

import pytest

from hpi_operator.handlers.kinds import Watcher

KEY: Final = ("HPIPipeline", "ns", "ocr")


def a_watcher() -> Watcher:
    return Watcher(lambda *what: None, None)


def metadata(generation: int = 1, uid: str = "u1", **more: str) -> dict[str, object]:
    return {"uid": uid, "generation": generation, **more}


def test_an_object_that_is_listed_is_news() -> None:
    watcher = a_watcher()

    assert watcher.is_news(KEY, None, metadata())
    assert watcher.is_news(KEY, None, metadata())


def test_a_status_that_changed_is_no_news() -> None:
    watcher = a_watcher()
    watcher.is_news(KEY, "ADDED", metadata(resourceVersion="1"))

    assert not watcher.is_news(KEY, "MODIFIED", metadata(resourceVersion="2"))


@pytest.mark.parametrize(
    "changed", [metadata(2), metadata(uid="u2"), metadata(deletionTimestamp="2026-01-01T00:00:00Z")]
)
def test_a_spec_another_object_of_the_name_and_a_deletion_are_news(changed: dict[str, object]) -> None:
    watcher = a_watcher()
    watcher.is_news(KEY, "ADDED", metadata())

    assert watcher.is_news(KEY, "MODIFIED", changed)


def test_an_object_that_is_gone_is_news_and_forgotten() -> None:
    watcher = a_watcher()
    watcher.is_news(KEY, "ADDED", metadata())

    assert watcher.is_news(KEY, "DELETED", metadata())
    assert watcher._seen == {}
