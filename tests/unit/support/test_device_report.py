"""The report of `make gpu`: what it runs, what it does not and why, and that it is green for a proof alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from device import here, one_way, report
from doubles.onnxruntime_gpu import presented

KEPT = {"claims": {"one": "kept", "two": "kept"}}
A_GPU = [{"name": "NVIDIA H100", "computeCapability": "9.0", "memoryBytes": 1}]


def found(**changes: Any) -> dict[str, Any]:
    return {
        "date": "2026-11-27T12:00:00+00:00",
        "python": "3.11.7",
        "gpus": A_GPU,
        "npus": [],
        "packages": dict.fromkeys(here.PACKAGES),
        "detect": {"devices": []},
        "ways": {},
        "suite": {"notRun": "no way ran"},
        **changes,
    }


@pytest.mark.parametrize(
    ("ways", "suite", "status"),
    [
        ({"a": {"notRun": "no GPU"}}, {}, 3),
        ({}, {}, 3),
        ({"a": KEPT, "b": {"notRun": "no NPU"}}, {"notRun": "not installed: pytest"}, 0),
        ({"a": KEPT}, {"exitCode": 0}, 0),
        ({"a": KEPT}, {"exitCode": 1}, 1),
        ({"a": {"claims": {"one": "kept", "two": "EngineFailed: no"}}}, {}, 1),
        ({"a": KEPT, "b": {"ended": "exit code -11"}}, {}, 1),
    ],
)
def test_the_status_is_0_for_a_proof_alone(ways: Any, suite: Any, status: int) -> None:
    assert report.status_of(found(ways=ways, suite=suite)) == status


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("onnxruntime-cuda", {"gpus": "no driver"}, "no GPU"),
        ("om", {}, "no NPU"),
        ("onnxruntime-cuda", {}, "the package onnxruntime is not installed"),
        ("onnxruntime-cuda", {"packages": {"onnxruntime": "1.31.1 ['CPUExecutionProvider']"}}, "has no such device"),
        (
            "onnxruntime-tensorrt",
            {
                "packages": {
                    "onnxruntime": "1.31.1 ['TensorrtExecutionProvider', 'CPUExecutionProvider']",
                    "nvinfer": "cannot be imported: libnvinfer.so.10: cannot open shared object file",
                }
            },
            "libnvinfer.so.10",
        ),
        ("tensorrt", {"packages": {"tensorrt": "cannot be imported: libnvinfer", "cuda": "13"}}, "libnvinfer"),
        ("paddle-gpu", {"packages": {"paddle": "3.2.2 False []"}}, "has no such device"),
        ("paddle-npu", {"npus": ["/dev/davinci0"], "packages": {"paddle": "3.2.2 False []"}}, "has no such device"),
    ],
)
def test_what_does_not_run_has_a_reason(name: str, changes: Any, reason: str) -> None:
    assert reason in (report.why_not(name, found(**changes)) or "")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("onnxruntime-cuda", {"onnxruntime": "1.31.1 ['CUDAExecutionProvider', 'CPUExecutionProvider']"}),
        ("onnxruntime-tensorrt", {"onnxruntime": "1.31.1 ['TensorrtExecutionProvider']", "nvinfer": "10"}),
        ("tensorrt", {"tensorrt": "10.13.0", "cuda": "13.0"}),
        ("paddle-gpu", {"paddle": "3.2.2 True []"}),
    ],
)
def test_what_is_here_runs(name: str, said: Any) -> None:
    assert report.why_not(name, found(packages=said)) is None


def test_a_way_says_what_became_of_each_promise_and_how_long_it_took() -> None:
    with presented():
        answer = one_way.run("onnxruntime-cuda")

    assert set(answer["claims"].values()) == {"kept"}
    assert answer["medianMilliseconds"] > 0
    assert answer["device"].startswith("NVIDIA H100")


def test_a_broken_promise_is_in_the_table_with_its_reason() -> None:
    broken = {"claims": {"one": "kept", "two": "EngineFailed: it is off"}, "timing": "none"}

    text = report.table(found(ways={"a-way": broken}), 1)

    assert "a-way                    1 of 2 promises kept" in text
    assert "BROKEN two: EngineFailed: it is off" in text
    assert text.endswith("A promise was broken: see above.")


def test_on_a_machine_without_a_device_the_report_is_written_and_is_not_green(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from device import report; report.OUTPUT = Path(sys.argv[1]);"
        "report.here.gpus = lambda: 'none'; report.here.npus = list;"
        "report.here.packages = lambda: dict.fromkeys(report.here.PACKAGES); sys.exit(report.main())"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], env=here.environment(), capture_output=True, text=True
    )

    assert done.returncode == report.NOTHING_RAN
    assert "Nothing ran: this machine has no device" in (tmp_path / "report.txt").read_text()
    written = json.loads((tmp_path / "report.json").read_text())
    assert all("notRun" in way for way in written["ways"].values())
