"""NVML's answer as facts, and the child that gives it or fails to."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.discovery.host_files import HostFiles
from hpi_agent.discovery.lenient_files import LenientFiles
from hpi_agent.discovery.nvidia_files import MAX_GPUS
from hpi_agent.discovery.nvml import MAX_ANSWER_BYTES, NvmlAnswer, ask_nvml, parse_nvml, read_nvml
from hpi_agent.profile import MigSlice, NvidiaGpu
from support.host_trees import host_files

RECORD: dict[str, Any] = json.loads(host_files("gpu-mig")["/nvml.json"])


@pytest.fixture
def files(tmp_path: Path) -> LenientFiles:
    return LenientFiles(HostFiles(tmp_path))


def answered(files: LenientFiles, program: str, timeout_seconds: float = 60.0) -> NvmlAnswer:
    return ask_nvml(files, [sys.executable, "-c", program], "", timeout_seconds)


def parsed(files: LenientFiles, **changes: Any) -> NvmlAnswer:
    return parse_nvml(files, json.dumps({**RECORD, **changes}))


def test_a_document_becomes_facts(files: LenientFiles) -> None:
    answer = parsed(files)

    assert (answer.error, answer.driver_version, answer.library_version, answer.cuda_version) == (
        None,
        "550.54.15",
        "550.54.15",
        "12.4",
    )
    assert answer.gpus[1] == (
        1,
        NvidiaGpu(
            index=1,
            product="NVIDIA A100 80GB PCIe",
            uuid="GPU-00000201-1c2d-4e3f-8a9b-0123456789ab",
            pci_bus_id="0000:65:00.0",
            compute_capability="8.0",
            memory_bytes=80 * 2**30,
            mig_enabled=False,
        ),
    )


def test_a_slice_carries_the_name_of_its_profile(files: LenientFiles) -> None:
    _, gpu = parsed(files).gpus[0]

    assert gpu.mig_enabled is True
    assert gpu.mig_slices[1] == MigSlice(1, "1g.10gb", "MIG-3f1c2d4e-5a6b-5c7d-8e9f-000000000002", 9728 * 2**20)


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "1g.5gb"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb+me", "1g.10gb+me"),
        ("NVIDIA H100 80GB HBM3 MIG 1c.3g.40gb", "1c.3g.40gb"),
        ("NVIDIA A100-SXM4-40GB", None),
        ("NVIDIA A100-SXM4-40GB MIG \x1b[31m", None),
        (None, None),
    ],
)
def test_a_profile_is_the_end_of_the_name_of_a_slice(
    files: LenientFiles, name: str | None, profile: str | None
) -> None:
    gpu = {"migMode": True, "migSlices": [{"index": 0, "name": name}]}

    [(_, got)] = parsed(files, gpus=[gpu]).gpus

    assert got.mig_slices[0].profile == profile


@pytest.mark.parametrize(("number", "shown"), [(12040, "12.4"), (11080, "11.8"), (13000, "13.0"), (None, None)])
def test_a_cuda_version_reads_as_people_write_it(files: LenientFiles, number: int | None, shown: str | None) -> None:
    assert parsed(files, cudaVersion=number).cuda_version == shown


def test_an_error_is_told_with_what_to_do(files: LenientFiles) -> None:
    error = {"code": 18, "name": "NVML_ERROR_LIB_RM_VERSION_MISMATCH", "text": "Driver/library version mismatch"}

    answer = parsed(files, error=error)

    assert answer.error == "NVML_ERROR_LIB_RM_VERSION_MISMATCH"
    assert answer.reason.startswith(
        "NVML does not answer (NVML_ERROR_LIB_RM_VERSION_MISMATCH: Driver/library version mismatch); reboot the host"
    )


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"formatVersion": 2}', "{" * 100_000, "9" * 10_000, "\x1b["])
def test_what_is_no_document_is_said_and_quoted_harmlessly(files: LenientFiles, text: str) -> None:
    answer = parse_nvml(files, text)

    assert (answer.error, answer.gpus) == ("GARBLED", ())
    assert answer.reason.isascii()
    assert answer.reason.isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "error", "migSlices"]), inner),
    max_leaves=8,
)
gpu_values = st.dictionaries(st.sampled_from([*RECORD["gpus"][0], "error"]), json_values)


@given(st.dictionaries(st.sampled_from(list(RECORD)), json_values), st.lists(gpu_values, max_size=4))
def test_any_values_give_an_answer_without_control_characters(changes: dict[str, Any], gpus: list[Any]) -> None:
    files = LenientFiles(HostFiles(Path("/proc/self")))

    answer = parse_nvml(files, json.dumps({"gpus": gpus, **changes, "formatVersion": 1}))

    assert str(answer).isascii()
    assert str(answer).isprintable()


@pytest.mark.parametrize(("count", "notes"), [(MAX_GPUS, 0), (MAX_GPUS + 1, 1)])
def test_the_number_of_gpus_is_bounded_and_the_rest_is_said(files: LenientFiles, count: int, notes: int) -> None:
    answer = parsed(files, gpus=[{}] * count, gpuCount=count)

    assert (len(answer.gpus), len(files.files.notes)) == (MAX_GPUS, notes)


def test_a_child_that_answers_is_read(files: LenientFiles) -> None:
    answer = answered(files, f"print({json.dumps(RECORD)!r})")

    assert answer == parsed(files)


def test_a_driver_that_hangs_is_said_after_the_deadline(files: LenientFiles) -> None:
    answer = answered(files, "import time; time.sleep(600)", timeout_seconds=0.5)

    assert answer.error == "HUNG"
    assert "gave no answer within 0.5 s: the driver hangs" in answer.reason


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import os; os.abort()", "exit code -6: 'it wrote nothing'"),
        ("import sys; print('symbol lookup error', file=sys.stderr); sys.exit(127)", "exit code 127: 'symbol lookup"),
        (f"print('x' * {MAX_ANSWER_BYTES})", "flooded"),
    ],
)
def test_a_child_that_fails_is_said_with_its_last_words(files: LenientFiles, program: str, said: str) -> None:
    answer = answered(files, program)

    assert answer.error == "CRASHED"
    assert said in answer.reason


def test_the_library_is_looked_for_where_it_was_found(files: LenientFiles) -> None:
    program = 'import os; print(f\'{{"formatVersion": 1, "driverVersion": "{os.environ["LD_LIBRARY_PATH"]}"}}\')'

    answer = ask_nvml(files, [sys.executable, "-c", program], "/usr/local/nvidia/lib64", 60.0)

    assert answer.driver_version == "/usr/local/nvidia/lib64"


def test_another_root_without_a_record_is_not_asked(files: LenientFiles) -> None:
    assert read_nvml(files, "/usr/lib64") is None


def test_this_machine_is_asked_by_the_program() -> None:
    answer = read_nvml(LenientFiles(HostFiles(Path("/"))), None)

    assert answer is not None
    assert answer.error not in ("HUNG", "CRASHED", "GARBLED")
