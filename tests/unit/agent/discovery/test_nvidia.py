"""GPUs and their driver in whole trees: what is there, what is broken, and what the notes make of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.discovery import detect
from hpi_agent.discovery.host_files import HostFiles
from hpi_agent.discovery.lenient_files import LenientFiles
from hpi_agent.discovery.nvidia_files import MAX_GPUS, address, read_nvidia_files, uuid
from hpi_agent.profile import Machine, MigSlice, NvidiaDriver, NvidiaGpu, gpu_parts
from support.host_trees import host_files, host_tree

LIBRARY = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
ENVIRONMENT = "/proc/self/environ"
VERSION = "/proc/driver/nvidia/version"
MODULE = "/sys/module/nvidia/version"
L4_INFORMATION = "/proc/driver/nvidia/gpus/0000:00:03.0/information"


def detected(tmp_path: Path, name: str, changes: Mapping[str, str | None] | None = None) -> Machine:
    return detect(host_tree(tmp_path, name, changes))


def answer(name: str, change: Callable[[dict[str, Any]], None]) -> dict[str, str | None]:
    """Return the recorded answer of NVML in a tree, changed."""
    document = json.loads(host_files(name)["/nvml.json"])
    change(document)
    return {"/nvml.json": json.dumps(document)}


def only_note(machine: Machine) -> str:
    [note] = machine.notes
    return note


# What is there.


def test_a_machine_without_devices_has_none_and_no_note(tmp_path: Path) -> None:
    machine = detected(tmp_path, "container-v2-two-nodes")

    assert (machine.nvidia_driver, machine.gpus, machine.notes) == (None, (), ())


def test_what_a_real_driver_says_of_a_real_h100_is_described_whole(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-h100-recorded")

    assert machine.nvidia_driver == NvidiaDriver("580.159.04", "580.159.04", "13.0")
    assert machine.gpus == (
        NvidiaGpu(
            index=0,
            product="NVIDIA H100 80GB HBM3",
            uuid="GPU-00000100-1c2d-4e3f-8a9b-0123456789ab",
            pci_bus_id="0000:00:06.0",
            compute_capability="9.0",
            memory_bytes=85_520_809_984,
            mig_enabled=False,
        ),
    )
    assert machine.notes == ()


def test_files_alone_say_the_same_of_a_real_h100_where_nvml_is_not_asked(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-h100-recorded", {"/nvml.json": None})

    assert machine.nvidia_driver == NvidiaDriver("580.159.04", "580.159.04", None)
    assert [(gpu.product, gpu.pci_bus_id, gpu.fault) for gpu in machine.gpus] == [
        ("NVIDIA H100 80GB HBM3", "0000:00:06.0", None)
    ]


def test_one_gpu_is_described_whole(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-one")

    assert machine.nvidia_driver == NvidiaDriver("550.54.15", "550.54.15", "12.4")
    assert machine.gpus == (
        NvidiaGpu(
            index=0,
            product="NVIDIA A10",
            uuid="GPU-00000a10-1c2d-4e3f-8a9b-0123456789ab",
            pci_bus_id="0000:00:1e.0",
            compute_capability="8.6",
            memory_bytes=23028 * 2**20,
        ),
    )
    assert machine.notes == ()


def test_eight_gpus_keep_their_order_and_their_memories(tmp_path: Path) -> None:
    gpus = detected(tmp_path, "gpu-eight-mixed").gpus

    assert [gpu.index for gpu in gpus] == list(range(8))
    assert [gpu.product for gpu in gpus] == ["NVIDIA A100-SXM4-40GB"] * 4 + ["NVIDIA A100-SXM4-80GB"] * 4
    assert [gpu.memory_bytes and gpu.memory_bytes >> 30 for gpu in gpus] == [40] * 4 + [80] * 4


def test_a_gpu_in_mig_mode_counts_as_its_slices(tmp_path: Path) -> None:
    parts = gpu_parts(detected(tmp_path, "gpu-mig").gpus)

    assert [(part.gpu.index, part.mig_slice and part.mig_slice.profile) for part in parts] == [
        (0, "3g.40gb"),
        (0, "1g.10gb"),
        (1, None),
    ]
    assert [part.uuid for part in parts][1:] == [
        "MIG-3f1c2d4e-5a6b-5c7d-8e9f-000000000002",
        "GPU-00000201-1c2d-4e3f-8a9b-0123456789ab",
    ]


def test_seven_slices_of_one_gpu_are_seven_devices(tmp_path: Path) -> None:
    def cut(document: dict[str, Any]) -> None:
        document["gpus"][0]["migSlices"] = [{"index": i, "name": "x MIG 1g.10gb"} for i in range(7)]

    parts = gpu_parts(detected(tmp_path, "gpu-mig", answer("gpu-mig", cut)).gpus)

    assert len(parts) == 8


# What is broken.


def test_a_module_without_its_library_is_said_and_the_gpu_cannot_compute(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-without-library")

    assert machine.nvidia_driver == NvidiaDriver("550.54.15", None, None)
    assert [(gpu.product, gpu.fault) for gpu in machine.gpus] == [("NVIDIA L4", "there is no libnvidia-ml.so.1")]
    assert "550.54.15 is loaded, but there is no libnvidia-ml.so.1" in only_note(machine)
    assert "NVIDIA_DRIVER_CAPABILITIES" in only_note(machine)


def test_a_library_without_its_module_is_said(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-without-driver")

    assert (machine.nvidia_driver, machine.gpus) == (NvidiaDriver(None, "550.54.15", None), ())
    assert "the kernel module nvidia is not loaded" in only_note(machine)
    assert "modprobe nvidia" in only_note(machine)


def test_device_files_without_a_driver_are_said(tmp_path: Path) -> None:
    machine = detected(tmp_path, "container-v2-two-nodes", {"/dev/nvidia0": ""})

    assert machine.gpus == ()
    assert "there are device files of NVIDIA GPUs, but the kernel module nvidia is not loaded" in only_note(machine)


def test_a_module_and_a_library_of_two_versions_are_said_with_both(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-version-mismatch")

    assert machine.nvidia_driver == NvidiaDriver("550.54.14", "550.54.15", None)
    assert machine.gpus[0].fault == "NVML does not answer (NVML_ERROR_LIB_RM_VERSION_MISMATCH)"
    assert "kernel module is version 550.54.14 and its library 550.54.15" in only_note(machine)
    assert "reboot the host" in only_note(machine)


def test_a_mismatch_is_seen_in_files_alone(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-version-mismatch", {"/nvml.json": None})

    assert machine.gpus[0].fault == "kernel module and library differ"
    assert "550.54.14 and its library 550.54.15" in only_note(machine)


def test_nvml_that_answers_is_believed_whatever_the_library_is_called(tmp_path: Path) -> None:
    record = {"/nvml.json": host_files("gpu-one")["/nvml.json"], "/dev/nvidia0": ""}

    machine = detected(tmp_path, "gpu-version-mismatch", {**record, L4_INFORMATION: None})

    assert (machine.gpus[0].fault, machine.notes) == (None, ())


def test_a_lost_gpu_keeps_its_name_and_the_other_one_computes(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-lost")

    assert [gpu.fault is None for gpu in machine.gpus] == [True, False]
    assert [part.gpu.index for part in gpu_parts(machine.gpus)] == [0]
    assert only_note(machine).startswith(
        "GPU 1 (NVIDIA H100 80GB HBM3, 0000:3b:00.0) cannot be used: NVML_ERROR_GPU_IS"
    )
    assert "fallen off the bus" in only_note(machine)


def test_a_gpu_that_nvml_no_longer_counts_is_lost_too(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-lost", answer("gpu-lost", lambda document: document["gpus"].pop()))

    assert [(gpu.index, gpu.pci_bus_id, gpu.fault is None) for gpu in machine.gpus] == [
        (0, "0000:19:00.0", True),
        (1, "0000:3b:00.0", False),
    ]
    assert "NVML does not count it, though its device file is there" in only_note(machine)


@pytest.mark.parametrize("unknown", ["minor", "pciBusId"])
def test_a_gpu_is_known_by_its_address_or_by_its_number(tmp_path: Path, unknown: str) -> None:
    changes = answer("gpu-one", lambda document: document["gpus"][0].update({unknown: None}))

    machine = detected(tmp_path, "gpu-one", changes)

    assert ([gpu.fault for gpu in machine.gpus], machine.notes) == ([None], ())


def test_a_gpu_of_another_container_is_no_fault(tmp_path: Path) -> None:
    changes = answer("gpu-lost", lambda document: document["gpus"].pop())

    machine = detected(tmp_path, "gpu-lost", {**changes, "/dev/nvidia1": None})

    assert ([gpu.index for gpu in machine.gpus], machine.notes) == ([0], ())


def test_a_gpu_in_mig_mode_without_a_slice_cannot_compute(tmp_path: Path) -> None:
    def uncut(document: dict[str, Any]) -> None:
        document["gpus"][0]["migSlices"] = []

    machine = detected(tmp_path, "gpu-mig", answer("gpu-mig", uncut))

    assert [part.gpu.index for part in gpu_parts(machine.gpus)] == [1]
    assert "is in MIG mode and has no slice for this process" in only_note(machine)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("NVML_ERROR_UNKNOWN", "reload of systemd"),
        ("NVML_ERROR_NO_PERMISSION", "/dev/nvidiactl"),
        ("NVML_ERROR_TIMEOUT", "run nvidia-smi on the host"),
    ],
)
def test_nvml_that_does_not_answer_is_said_with_what_to_do(tmp_path: Path, error: str, advice: str) -> None:
    def fail(document: dict[str, Any]) -> None:
        document["error"] = {"code": 1, "name": error, "text": "why"}

    machine = detected(tmp_path, "gpu-one", answer("gpu-one", fail))

    assert machine.gpus[0].fault == f"NVML does not answer ({error})"
    assert advice in only_note(machine)


def test_a_missing_binding_leaves_the_gpus_without_a_fault(tmp_path: Path) -> None:
    record = {"formatVersion": 1, "error": {"name": "NO_BINDING", "text": "no nvidia-ml-py"}}

    machine = detected(tmp_path, "gpu-one", {"/nvml.json": json.dumps(record)})

    assert [(gpu.product, gpu.fault, gpu.compute_capability) for gpu in machine.gpus] == [("NVIDIA A10", None, None)]
    assert "install nvidia-ml-py" in only_note(machine)


def test_nvml_that_counts_nothing_is_said(tmp_path: Path) -> None:
    changes = answer("gpu-one", lambda document: document.update(gpus=[], gpuCount=0))

    machine = detected(tmp_path, "gpu-one", {**changes, "/proc/driver/nvidia/gpus/0000:00:1e.0/information": None})

    assert machine.gpus == ()
    assert "NVML counts no GPU, though there are device files of 1" in only_note(machine)


# What was given to this process.


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        (None, "was given no GPU:"),
        ("NVIDIA_VISIBLE_DEVICES=void\n", "was given no GPU (NVIDIA_VISIBLE_DEVICES=void):"),
        ("A=NVIDIA_VISIBLE_DEVICES=all\nNVIDIA_VISIBLE_DEVICES=\n", "was given no GPU (NVIDIA_VISIBLE_DEVICES=):"),
        ("NVIDIA_VISIBLE_DEVICES=\x1b[31m\n", r"(NVIDIA_VISIBLE_DEVICES=\x1b[31m):"),
    ],
)
def test_a_container_without_a_gpu_on_a_node_with_one_is_told_why(
    tmp_path: Path, environment: str | None, why: str
) -> None:
    machine = detected(tmp_path, "gpu-none-given", {ENVIRONMENT: environment})

    assert (machine.nvidia_driver, machine.gpus) == (NvidiaDriver("550.54.15", None, None), ())
    assert why in only_note(machine)


def test_only_gpus_with_a_device_file_are_given(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-eight-mixed", {"/nvml.json": None, **{f"/dev/nvidia{n}": None for n in range(6)}})

    assert [(gpu.index, gpu.pci_bus_id) for gpu in machine.gpus] == [(0, "0000:87:00.0"), (1, "0000:90:00.0")]


def test_without_a_record_another_root_tells_what_its_files_say(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-mig", {"/nvml.json": None})

    assert [(gpu.product, gpu.compute_capability, gpu.fault) for gpu in machine.gpus] == [
        ("NVIDIA A100 80GB PCIe", None, None)
    ] * 2
    assert machine.gpus[0].mig_slices == (MigSlice(0, None), MigSlice(1, None))
    assert "NVML is not asked, because" in only_note(machine)


# Files.


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (a@b)\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  550.54.15  Release Build\n",
        "GCC version: gcc version 12.2.0\nNVRM version: NVIDIA UNIX x86_64 Kernel Module 550.54.15\n",
    ],
)
def test_both_kinds_of_module_tell_their_version(tmp_path: Path, text: str) -> None:
    machine = detected(tmp_path, "gpu-none-given", {VERSION: text, MODULE: None})

    assert machine.nvidia_driver == NvidiaDriver("550.54.15", None, None)


def test_without_proc_the_version_is_that_of_sysfs(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-none-given", {VERSION: None})

    assert machine.nvidia_driver == NvidiaDriver("550.54.15", None, None)


def test_a_module_that_states_no_version_counts_as_not_loaded(tmp_path: Path) -> None:
    machine = detected(tmp_path, "gpu-none-given", {VERSION: "hello\n", MODULE: "\x1b[31m\n"})

    assert machine.nvidia_driver is None
    assert only_note(machine).endswith(r"says '\x1b[31m', which is no version: it is left out")


def test_a_library_that_leads_out_of_the_root_is_none(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "gpu-one", {LIBRARY: "-> /etc/hostname"})

    seen = read_nvidia_files(LenientFiles(HostFiles(root)), [])

    assert seen is not None
    assert (seen.library_directory, seen.library_version) == (None, None)


@pytest.mark.parametrize(("count", "notes"), [(MAX_GPUS, 0), (MAX_GPUS + 1, 1)])
def test_the_number_of_listed_gpus_is_bounded(tmp_path: Path, count: int, notes: int) -> None:
    for number in range(count):
        (tmp_path / f"proc/driver/nvidia/gpus/0000:{number // 8:02x}:0{number % 8}.0").mkdir(parents=True)
    files = LenientFiles(HostFiles(tmp_path))

    seen = read_nvidia_files(files, ["nvidia0"])

    assert seen is not None
    assert (len(seen.listed), len(files.files.notes)) == (MAX_GPUS, notes)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("00000000:3B:00.0", "0000:3b:00.0"),
        ("0000:3b:00.0", "0000:3b:00.0"),
        ("00010000:3B:00.0", "10000:3b:00.0"),
        ("3b:00.0", None),
        ("", None),
    ],
)
def test_addresses_of_both_spellings_compare(written: str, shown: str | None) -> None:
    assert address(written) == shown


def test_a_gpu_that_was_not_started_has_no_uuid() -> None:
    assert uuid("GPU-????????-????-????-????-????????????") is None
