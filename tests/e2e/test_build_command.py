"""`hpi-agent build` as a person and a program use it: what it says, where, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.building.pipeline import BuildSettings, build_pipeline
from hpi_agent.store.directory import Store
from models.graphs import beyond_32_bits
from support.building import manifest_of, model_directory, only
from support.servers import BRIEF, built_store, sample_manifest

DETECTOR, RECOGNISER = "PP-OCRv6_small_det", "PP-OCRv6_small_rec"


def build(manifest: str, store: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpi_agent", "build", "-f", "-", "--store", str(store), *more]
    return subprocess.run(command, input=manifest, capture_output=True, text=True, timeout=200, check=False)


def events_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """Return the manifest of a model that takes microseconds."""
    return manifest_of(model_directory(tmp_path / "model"))


@pytest.fixture
def decided(tmp_path: Path, tiny: str) -> Path:
    """Return a store in which that model was decided for."""
    settings = BuildSettings(tmp_path / "store", None, pace=BRIEF)
    build_pipeline(tiny, "test.yaml", settings, lambda _: None)
    return settings.store


def test_every_line_for_programs_is_an_event_and_the_last_one_says_what_serves(tmp_path: Path, tiny: str) -> None:
    done = build(tiny, tmp_path / "store", "-o", "json")

    events = events_of(done)
    assert done.returncode == 0, done.stderr
    assert [events[0]["event"], events[-2]["event"], events[-1]["event"]] == ["started", "decided", "finished"]
    assert {event["event"] for event in events[1:-2]} == {"model", "candidate"}
    [row] = events[-1]["models"]
    assert row["chosen"] in ("onnxruntime", "openvino")
    assert row["timing"]["p50Microseconds"] > 0


def test_text_on_a_pipe_has_a_line_a_step_on_stderr_and_no_escape_codes(tmp_path: Path, tiny: str) -> None:
    done = build(tiny, tmp_path / "store")

    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (0, "")
    assert "\x1b" not in done.stderr
    assert len([line for line in lines if "measuring the candidates in turns" in line]) == 1
    assert any(line.startswith("MODEL") and line.rstrip().endswith("WHY") for line in lines)
    assert any(line.startswith("built and measured in") and line.endswith(str(tmp_path / "store")) for line in lines)


@pytest.mark.slow
def test_a_terminal_shows_a_live_line_and_the_same_table(tmp_path: Path, tiny: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hpi_agent", "build", "-f", "-", "--store", str(tmp_path / "store")]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}

    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    process.communicate(tiny.encode())
    shown = _read_all(ours).decode()

    assert process.returncode == 0
    assert "\x1b[" in shown
    assert "measuring" in shown
    assert "built and measured in" in shown


def _read_all(descriptor: int) -> bytes:
    pieces = []
    while True:
        try:
            pieces.append(os.read(descriptor, 65_536))
        except OSError:
            # The other end is closed and everything is read: Linux says EIO for it.
            os.close(descriptor)
            return b"".join(pieces)


def test_a_second_build_says_that_all_was_decided_before_and_starts_no_candidate(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = built_store(tmp_path_factory.getbasetemp())

    text = build(json.dumps(sample_manifest()), store)
    events = events_of(build(json.dumps(sample_manifest()), store, "-o", "json"))

    assert text.returncode == 0, text.stderr
    assert "all of it was decided before" in text.stderr
    assert [event["event"] for event in events] == ["started", "decided", "decided", "finished"]
    assert [(event["model"], event["hit"]) for event in events[1:3]] == [(DETECTOR, True), (RECOGNISER, True)]


def test_again_measures_again_what_was_decided(tiny: str, decided: Path) -> None:
    [before] = Store(decided).decisions()

    events = events_of(build(tiny, decided, "--again", "-o", "json"))

    [after] = Store(decided).decisions()
    [said] = [event for event in events if event["event"] == "decided"]
    assert said["hit"] is False
    assert after["resolution"] == before["resolution"]
    assert [one["timing"]["rounds"] for one in after["outcomes"] if one["verdict"] == "Chosen"] != [1]


def test_a_model_that_no_candidate_can_serve_ends_with_1_and_the_reason_of_each(tmp_path: Path) -> None:
    folder = model_directory(tmp_path / "model", beyond_32_bits())

    done = build(manifest_of(folder, inference=only("openvino")), tmp_path / "store")

    assert done.returncode == 1, done.stderr
    assert "openvino" in done.stderr
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr


REFUSED = {
    "an empty manifest": ("{}", (), "apiVersion: is required"),
    "no YAML": ("a: [", (), "cannot be read as YAML"),
    "a folder of samples that is not there": (None, ("--samples", "/nowhere"), "/nowhere: there is no such folder"),
    "memory without a unit that exists": (None, ("--candidate-memory", "4GB"), "such as 4GiB, got '4GB'"),
    "no memory": (None, ("--candidate-memory", "0"), "a whole number from 1"),
    "memory of words": (None, ("--candidate-memory", "GiB"), "got 'GiB'"),
    "no seconds": (None, ("--candidate-seconds", "0"), "a whole number of seconds from 1"),
}


@pytest.mark.parametrize(("manifest", "more", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_allowed_ends_with_2_and_says_what_is(
    tmp_path: Path, tiny: str, manifest: str | None, more: tuple[str, ...], says: str
) -> None:
    done = build(manifest or tiny, tmp_path / "store", *more)

    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()
