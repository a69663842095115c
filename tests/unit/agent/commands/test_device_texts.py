"""What a person reads of devices: what was asked for and what was obtained, in `explain` and when a server starts."""

from __future__ import annotations

from typing import Any, Final

import pytest

from hpi_agent.commands import explain
from hpi_agent.commands.announce import Announcer

MIB: Final = 2**20


def a_candidate(**timing: Any) -> dict[str, Any]:
    figures = {"p50Microseconds": 900, "p99Microseconds": 1000, "memoryBytes": 500 * MIB, **timing}
    return {
        "name": "tensorrt tf32",
        "candidate": {"precision": "tf32"},
        "verdict": "Chosen",
        "reason": "measured 0.90 ms",
        "timing": figures,
        "largestDifference": 4e-4,
        "task": "Agreed",
    }


def a_report(**decision: Any) -> dict[str, Any]:
    known = {"key": "sha256:" + "1" * 64, "hit": True, "provisional": None, "decidedAt": "2026-11-21T11:00:00Z"}
    model = {
        "name": "det",
        "digest": "sha256:" + "2" * 64,
        "source": "file:///models/det",
        "serves": "tensorrt tf32",
        "reason": "measured 0.90 ms",
        "state": "Measured",
        "notes": ["the driver serves CUDA 13.0; the table's newest column, of CUDA 12, stands in"],
        "decision": {**known, "buildSeconds": 80.0, "verified": True, "verifiedOnDrivers": [], **decision},
        "engine": None,
        "gate": None,
        "candidates": [a_candidate(deviceMemoryBytes=200 * MIB), a_candidate()],
    }
    return {
        "pipeline": "ocr",
        "store": "/store",
        "hardwareClass": "sha256:" + "3" * 64,
        "device": {"asked": "gpu:1", "found": "NVIDIA H100 80GB HBM3, driver 550.54.15"},
        "models": [model],
    }


def shown(report: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    explain._show(report)
    return capsys.readouterr().out


def test_explain_names_the_device_that_was_asked_for_what_was_found_and_what_stands_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(a_report(), capsys)

    assert "device gpu:1: NVIDIA H100 80GB HBM3, driver 550.54.15\n" in text
    assert "  table      the driver serves CUDA 13.0; the table's newest column, of CUDA 12, stands in\n" in text
    assert "verified" not in text


def test_explain_shows_memory_of_the_device_where_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = [line for line in shown(a_report(), capsys).splitlines() if line.startswith("  tensorrt tf32")]

    assert "500 MiB + 200 MiB on the device" in first
    assert "500 MiB" in second
    assert "on the device" not in second


def test_explain_says_that_a_decision_does_not_hold_under_this_driver_yet(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(a_report(verified=False, verifiedOnDrivers=["550.54.15", "550.90.07"]), capsys)

    assert "verified under the drivers 550.54.15, 550.90.07, not under this one; hpi-agent build does it\n" in text


def test_a_server_that_starts_shows_what_computes_each_model_beside_what_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = {
        "name": "det",
        "engine": "onnxruntime on cpu instead of gpu",
        "version": "1.22.0",
        "asked": {"backend": None, "threads": None, "device": "gpu:0"},
        "device": "CPUExecutionProvider",
        "precision": "float32",
        "threads": 4,
        "loadSeconds": 0.1,
        "reason": "stands in for the gpu: nothing that computes there could be loaded",
        "rejected": [],
    }

    Announcer("text", "http://127.0.0.1:8080", "ocr", ()).announce(
        "ready", {"models": [model], "cautious": False, "startSeconds": {"engines": 0.1}}
    )

    said = capsys.readouterr().err
    assert "gpu:0: CPUExecutionProvider" in said
    assert "onnxruntime on cpu instead of gpu" in said
