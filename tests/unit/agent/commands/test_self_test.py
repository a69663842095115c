"""`hpi-agent self-test`: a tiny model on every backend, and what is said of one that does not work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hpi_agent.__main__ import main
from hpi_agent.building import self_test
from hpi_agent.building.self_test import claimed_backends
from hpi_agent.building.site import read_site
from hpi_agent.commands import self_test as command
from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.connection import AgentAway
from hpi_agent.exchange.reports import SelfTestReport
from hpi_agent.store.directory import Store
from hpi_core.errors import Refused

LOCK = "sha256:" + "a" * 64


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[SelfTestReport]:
    """The environment of a self-test's pod; returns what the agent is told."""
    token = tmp_path / "token"
    token.write_text("a.b.c")
    environment = {
        "HPI_AGENT": "http://127.0.0.1:8470",
        "HPI_AGENT_TOKEN": str(token),
        "HPI_RUNTIME": "hpi-cpu",
        "HPI_LOCK_DIGEST": LOCK,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    told: list[SelfTestReport] = []
    monkeypatch.setattr(AgentClient, "self_tested", lambda self, report: told.append(report))
    return told


def test_every_backend_of_the_processors_answers_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["--backend", "openvino", "--backend", "onnxruntime"]

    code = main(["self-test", "--store", str(tmp_path), "-o", "json", *names])

    rows = json.loads(capsys.readouterr().out)["backends"]
    assert code == 0
    assert [(row["backend"], row["works"]) for row in rows] == [("onnxruntime", True), ("openvino", True)]
    # Measured: 2e-7 (ONNX Runtime 1.31.1, OpenVINO 2026.4, x86_64, 2026-11-27).
    assert all(row["largestDifference"] < 1e-6 for row in rows)


def test_a_claimed_backend_that_is_not_installed_fails_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["self-test", "--store", str(tmp_path), "--backend", "paddle", "--backend", "onnxruntime"])

    out = capsys.readouterr().out
    assert code == 1
    assert "onnxruntime  works" in out
    assert "cpu  paddle       paddle cannot be imported" in out


def test_an_answer_that_is_wrong_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = self_test._expected
    monkeypatch.setattr(self_test, "_expected", lambda folder: {**right(folder), "answer": [0.2, 0.2, 0.2, 0.2, 0.2]})

    code = main(["self-test", "--store", str(tmp_path), "--backend", "onnxruntime"])

    assert code == 1
    assert "its answer differs by" in capsys.readouterr().out


def test_the_agent_is_told_how_it_ended(
    pod: list[SelfTestReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPI_BACKENDS", "onnxruntime,tensorrt")

    code = main(["self-test", "--store", str(tmp_path)])

    [report] = pod
    assert (code, report.passed, report.backends) == (0, True, ("onnxruntime",))
    assert (report.runtime, report.lock_digest, report.message) == ("hpi-cpu", LOCK, "1 of 1 backends")


def test_the_agent_is_told_of_a_device_that_is_not_there(pod: list[SelfTestReport], tmp_path: Path) -> None:
    code = main(["self-test", "--store", str(tmp_path), "--device", "gpu:0"])

    [report] = pod
    assert code == 2
    assert not report.passed
    assert "this machine has no device gpu:0" in report.message
    assert len(report.message) <= 256


def test_an_agent_that_is_away_is_asked_again(
    pod: list[SelfTestReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [AgentAway("it starts"), AgentAway("it starts")]

    def self_tested(self: AgentClient, report: SelfTestReport) -> None:
        if answers:
            raise answers.pop()
        pod.append(report)

    monkeypatch.setattr(AgentClient, "self_tested", self_tested)
    monkeypatch.setattr(command, "PAUSE_SECONDS", 0.0)

    assert main(["self-test", "--store", str(tmp_path), "--backend", "onnxruntime"]) == 0
    assert len(pod) == 1


def test_a_pod_that_does_not_know_its_runtime_is_refused(
    pod: list[SelfTestReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HPI_RUNTIME")

    assert main(["self-test", "--store", str(tmp_path), "--backend", "onnxruntime"]) == 2
    assert "$HPI_RUNTIME" in capsys.readouterr().err


def test_backends_that_do_not_compute_on_the_device_are_left_out(tmp_path: Path) -> None:
    site = read_site(Store(tmp_path), 1, None)

    assert claimed_backends(["tensorrt", "openvino", "onnxruntime"], site) == ("onnxruntime", "openvino")


@pytest.mark.parametrize(
    ("names", "why"), [(["tensorrt"], "nothing is to be tested"), (["tensorflow"], "no such backend")]
)
def test_claims_that_leave_nothing_to_test_are_refused(tmp_path: Path, names: list[str], why: str) -> None:
    with pytest.raises(Refused, match=why):
        claimed_backends(names, read_site(Store(tmp_path), 1, None))
