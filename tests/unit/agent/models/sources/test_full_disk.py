"""Fetching into a store without room: on a real small disk, mounted for each scenario."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.fetching_on_a_small_disk import WEIGHTS, command


def run(scenario: str, folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    tests = Path(__file__).parents[4]
    done = subprocess.run(
        command(scenario, folder),
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(tests), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_without_room_nothing_is_fetched_and_it_is_said_what_to_do(tmp_path: Path) -> None:
    [trial] = run("no-room", tmp_path / "disk")

    assert "there is no room for source 'http://127.0.0.1:" in trial["failed"]
    assert f"in {tmp_path}/disk/store: {len(WEIGHTS)} bytes are to come" in trial["failed"]
    assert "make room there (hpi-agent store gc --max-bytes SIZE), or name another directory" in trial["failed"]
    assert (trial["asked"], trial["tmp"], trial["entries"]) == ([], 0, [])


def test_a_disk_that_fills_up_meanwhile_costs_what_had_not_come(tmp_path: Path) -> None:
    first, again = run("filled", tmp_path / "disk")

    assert f"the store {tmp_path}/disk/store cannot be used: No space left on device" in first["failed"]
    assert f"{first['partBytes']} bytes of 'http://" in first["failed"]
    assert "are kept, and the next try goes on there" in first["failed"]
    assert (first["damage"], first["entries"]) == ([], [])
    assert first["partBytes"] >= 200_000
    assert again["asked"] == [f"bytes={first['partBytes']}-"]
    assert (again["failed"], again["right"], again["tmp"]) == (None, True, 0)


def test_what_nobody_could_go_on_with_does_not_keep_the_disk_full(tmp_path: Path) -> None:
    [trial] = run("unknown", tmp_path / "disk")

    assert "No space left on device" in trial["failed"]
    assert "are kept" not in trial["failed"]
    assert (trial["partBytes"], trial["tmp"], trial["entries"]) == (0, 0, [])


@pytest.mark.slow
def test_however_little_room_is_left_nothing_is_half_published_and_the_next_try_succeeds(tmp_path: Path) -> None:
    trials = run("starved", tmp_path / "disk")

    assert len(trials) > 2 * len(WEIGHTS) // 4_096
    assert trials[-2]["failed"] is None
    for trial in trials:
        assert trial["damage"] == []
        if "again" in trial:
            assert (trial["failed"], trial["right"], trial["tmp"]) == (None, True, 0)
        elif trial["failed"] is not None:
            assert "gc --max-bytes SIZE" in trial["failed"]
            assert trial["entries"] in ([], ["sources"])
