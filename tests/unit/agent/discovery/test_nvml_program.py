"""The program that asks NVML, through NVIDIA's own binding over a library that is a double."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pynvml
import pytest

from hpi_agent.discovery.host_files import HostFiles
from hpi_agent.discovery.lenient_files import LenientFiles
from hpi_agent.discovery.nvml import parse_nvml
from hpi_agent.discovery.nvml_program import MAX_DEVICES, describe
from support.nvml_library import MIB, Gpu, NvmlLibrary, Slice, load


def described(monkeypatch: pytest.MonkeyPatch, library: NvmlLibrary) -> dict[str, Any]:
    """Return the document as it reads after the pipe."""
    document: dict[str, Any] = json.loads(json.dumps(describe(load(monkeypatch, library))))
    return document


def test_the_document_says_what_nvml_says(monkeypatch: pytest.MonkeyPatch) -> None:
    document = described(monkeypatch, NvmlLibrary([Gpu()]))

    assert document == {
        "formatVersion": 1,
        "error": None,
        "driverVersion": "550.54.15",
        "libraryVersion": "12.550.54.15",
        "cudaVersion": 12040,
        "gpuCount": 1,
        "gpus": [
            {
                "index": 0,
                "name": "NVIDIA A100-SXM4-40GB",
                "uuid": "GPU-00000000-0000-0000-0000-000000000000",
                "pciBusId": "00000000:07:00.0",
                "minor": 0,
                "computeCapability": [8, 0],
                "memoryBytes": 40960 * MIB,
                "migMode": False,
                "migSlices": [],
                "error": None,
            }
        ],
    }


def test_slices_of_a_gpu_in_mig_mode_are_listed_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    slices = [Slice("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "MIG-1", 4864 * MIB), None, Slice("x MIG 2g.10gb", "MIG-2", 1)]

    document = described(monkeypatch, NvmlLibrary([Gpu(mig=True, slices=slices)]))

    [gpu] = document["gpus"]
    assert gpu["migMode"] is True
    assert [(one["index"], one["name"], one["uuid"], one["memoryBytes"]) for one in gpu["migSlices"]] == [
        (0, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "MIG-1", 4864 * MIB),
        (2, "x MIG 2g.10gb", "MIG-2", 1),
    ]


@pytest.mark.parametrize("mig", [None, False], ids=["no such mode", "mode off"])
def test_a_gpu_outside_mig_mode_has_no_slices(monkeypatch: pytest.MonkeyPatch, mig: bool | None) -> None:
    document = described(monkeypatch, NvmlLibrary([Gpu(mig=mig, slices=[Slice("x MIG 1g.5gb", "MIG-1", 1)])]))

    assert (document["gpus"][0]["migMode"], document["gpus"][0]["migSlices"]) == (mig, [])


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "NVML_ERROR_LIB_RM_VERSION_MISMATCH"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "NVML_ERROR_DRIVER_NOT_LOADED"),
        (pynvml.NVML_ERROR_UNKNOWN, "NVML_ERROR_UNKNOWN"),
        (77, "NVML_ERROR"),
    ],
)
def test_nvml_that_does_not_start_is_the_whole_answer(monkeypatch: pytest.MonkeyPatch, code: int, name: str) -> None:
    document = described(monkeypatch, NvmlLibrary([], init=code))

    assert list(document) == ["formatVersion", "error"]
    assert (document["error"]["code"], document["error"]["name"]) == (code, name)


def test_a_lost_gpu_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = Gpu(errors={"nvmlDeviceGetHandleByIndex_v2": pynvml.NVML_ERROR_GPU_IS_LOST})

    document = described(monkeypatch, NvmlLibrary([Gpu(), lost, Gpu(minor=2)]))

    assert [gpu["index"] for gpu in document["gpus"]] == [0, 1, 2]
    assert [gpu["error"] and gpu["error"]["name"] for gpu in document["gpus"]] == [None, "NVML_ERROR_GPU_IS_LOST", None]


def test_a_gpu_that_is_lost_while_it_is_asked_keeps_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    dying = Gpu(errors={"nvmlDeviceGetMemoryInfo": pynvml.NVML_ERROR_GPU_IS_LOST})

    [gpu] = described(monkeypatch, NvmlLibrary([dying]))["gpus"]

    assert (gpu["name"], gpu["memoryBytes"], gpu["error"]["name"]) == (dying.name, None, "NVML_ERROR_GPU_IS_LOST")


@pytest.mark.parametrize(
    "code", [pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_NO_PERMISSION], ids=["not supported", "not permitted"]
)
def test_what_a_gpu_does_not_tell_is_null_and_no_fault(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    silent = Gpu(errors={"nvmlDeviceGetMemoryInfo": code, "nvmlDeviceGetMinorNumber": code})

    [gpu] = described(monkeypatch, NvmlLibrary([silent]))["gpus"]

    assert (gpu["memoryBytes"], gpu["minor"], gpu["error"]) == (None, None, None)


def test_a_driver_older_than_a_question_answers_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    old = NvmlLibrary([Gpu()], absent=["nvmlDeviceGetMigMode", "nvmlSystemGetCudaDriverVersion"])

    document = described(monkeypatch, old)

    assert (document["cudaVersion"], document["gpus"][0]["migMode"], document["gpus"][0]["error"]) == (None, None, None)


@pytest.mark.parametrize(("count", "listed"), [(MAX_DEVICES, MAX_DEVICES), (MAX_DEVICES + 1, MAX_DEVICES)])
def test_the_number_of_gpus_is_bounded(monkeypatch: pytest.MonkeyPatch, count: int, listed: int) -> None:
    document = described(monkeypatch, NvmlLibrary([Gpu()], count=count))

    assert (document["gpuCount"], len(document["gpus"])) == (count, listed)


def test_the_program_prints_a_document_on_any_machine() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "hpi_agent.discovery.nvml_program"], capture_output=True, check=True, text=True
    )

    answer = parse_nvml(LenientFiles(HostFiles(Path("/"))), result.stdout)

    assert answer.error != "GARBLED"
