"""Disks that are full, out of inodes, read-only or somebody else's: real ones, on which every step is tried."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import small_disk
from support.project import ROOT


def trials(scenario: str, folder: Path) -> list[dict[str, Any]]:
    """Return what became of every operation on a small disk."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = small_disk.command(scenario, folder)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("scenario", ["full", "inodes"])
def test_an_operation_that_finds_the_disk_full_at_any_step_stops_and_succeeds_once_there_is_room(
    scenario: str, tmp_path: Path
) -> None:
    told = trials(scenario, tmp_path)

    first = [trial for trial in told if "failed" in trial]
    again = [trial for trial in told if "again" in trial]
    stopped = {trial["operation"] for trial in first if trial["failed"]}
    assert stopped >= {"publish", "publish a tree", "decide", "decide again"}
    # What makes room must need none.
    assert stopped & {"collect", "open"} == set()
    assert [trial for trial in first if trial["damage"] and "damaged" not in trial["operation"]] == []
    assert [trial for trial in first if trial["tmp"]] == []
    assert [trial for trial in again if trial["again"] or trial["damage"] or trial["tmp"]] == []
    said = f"the store {tmp_path / 'store'} cannot be used: No space left on device"
    assert [trial for trial in first if trial["failed"] and not trial["failed"].startswith(said)] == []


@pytest.mark.parametrize("scenario", ["full", "inodes"])
def test_a_full_disk_is_told_with_what_to_do(scenario: str, tmp_path: Path) -> None:
    [told, *_] = [trial["failed"] for trial in trials(scenario, tmp_path) if trial.get("failed")]

    advice = "make room there (hpi-agent store gc --max-bytes SIZE), or name another directory with --store DIR"
    assert told.endswith(f"{advice} or $HPI_STORE")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as path:
        Path(path).chmod(0o755)
        yield Path(path)


@pytest.mark.parametrize(
    ("scenario", "seen", "advice"),
    [
        ("read-only", "Read-only file system", "make it writable"),
        ("denied", "Permission denied", f"let user {os.geteuid() or small_disk.NOBODY} read and write there"),
    ],
)
def test_a_store_that_cannot_be_written_is_read_and_whatever_writes_stops_with_advice(
    scenario: str, seen: str, advice: str, folder: Path
) -> None:
    told = {trial.pop("operation"): trial for trial in trials(scenario, folder)}

    for operation in ("publish", "publish what is damaged", "decide", "collect", "pin", "hold"):
        said = told[operation]["failed"]
        assert said.startswith(f"the store {folder / 'store'} cannot be used: {seen} (")
        assert said.endswith(f"); {advice}, or name another directory with --store DIR or $HPI_STORE")
    assert told["read"] == {"right": True}
    assert told["list"] == {"in use": True, "damage": "inference.onnx has 10 bytes, the manifest says 4000"}
    assert told["publish what is there"] == {"failed": None}
    assert told["open what is damaged"] == {"none": True}
    assert told["tree"] == {"there": True}
    assert told["read decision"] == {"decision": {"chosen": "onnxruntime"}}
