"""How far the files of a model have come, in words."""

from __future__ import annotations

from typing import Any

import pytest

from hpi_agent.building.model_directories import fetching_event
from hpi_agent.commands.announce import Announcer
from hpi_agent.commands.build_display import BuildDisplay
from hpi_agent.commands.fetch_display import FetchDisplay, fetching_text
from hpi_agent.models.sources.fetched import Progress


def event(done: int, total: int | None = 85_000_000, *, waiting: bool = False) -> dict[str, Any]:
    return fetching_event("det", Progress(done, total, waiting))


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (event(12_340_000), "fetching … 12.3 of 85.0 MB"),
        (event(12_340_000, None), "fetching … 12.3 MB"),
        (event(0, None, waiting=True), "another process fetches this model; waiting"),
    ],
)
def test_progress_has_words(told: dict[str, Any], text: str) -> None:
    assert fetching_text(told) == text


def test_a_download_makes_a_few_lines_however_many_events_it_has(capsys: pytest.CaptureFixture[str]) -> None:
    display = FetchDisplay()

    for done in range(0, 85_000_001, 100_000):
        display.show(event(done))

    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "det: fetching … 0.0 of 85.0 MB"
    assert lines[-1] == "det: fetching … 85.0 of 85.0 MB"
    assert len(lines) == 11


def test_an_empty_download_divides_by_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    FetchDisplay().show(event(0, 0))

    assert capsys.readouterr().err == "det: fetching … 0.0 of 0.0 MB\n"


def test_a_build_shows_progress_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    with BuildDisplay() as display:
        display.show(event(12_340_000))
        display.show({"event": "fetched", "model": "det", "notes": ["its server does not answer"]})

    assert capsys.readouterr().err == "det: fetching … 12.3 of 85.0 MB\ndet: its server does not answer\n"


def test_a_server_shows_progress_and_notes(capsys: pytest.CaptureFixture[str]) -> None:
    announcer = Announcer("text", "http://127.0.0.1:8080", "ocr", ())

    announcer.announce("fetching", event(12_340_000))
    announcer.announce("fetched", {"model": "det", "notes": ["its server does not answer"]})

    assert capsys.readouterr().err == "det: fetching … 12.3 of 85.0 MB\ndet: its server does not answer\n"
