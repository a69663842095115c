"""Facts of a machine as HPINode.status words them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpi_agent.node.hardware import MAX_NOTES, faults, hardware
from hpi_agent.profile import (
    AscendDriver,
    AscendNpu,
    Cann,
    Cpu,
    CpuAllowance,
    Machine,
    Memory,
    MigSlice,
    NumaNode,
    NvidiaDriver,
    NvidiaGpu,
)

GIB = 2**30
MACHINE = Machine(
    host_root="/",
    cpu=Cpu("x86_64", "AMD", "AMD EPYC", "x86-64-v4", ("avx2", "avx512f"), 4, 8, 8),
    allowance=CpuAllowance(1, "quota v2", tuple(range(8)), None, None, None),
    numa_nodes=(NumaNode(0, (0, 1, 2, 3)), NumaNode(1, (4, 5, 6, 7))),
    memory=Memory(64 * GIB, GIB, "/sys/fs/cgroup/memory.max"),
    notes=(),
)
DRIVER = NvidiaDriver("550.54.15", "550.54.15", "12.4")


def a_gpu(index: int, product: str = "NVIDIA L4", memory: int = 24 * GIB, **more: object) -> NvidiaGpu:
    """Return a GPU."""
    return replace(NvidiaGpu(index, product, f"GPU-{index}", None, "8.9", memory), **more)  # type: ignore[arg-type]


def test_it_is_the_nodes_and_not_what_the_agents_own_limits_leave() -> None:
    told = hardware(MACHINE)

    assert (told.processors.cores, told.processors.numa_nodes, told.memory_bytes) == (4, 2, 64 * GIB)
    assert (told.processors.isa_level, told.processors.isa_flags) == ("x86-64-v4", ("avx2", "avx512f"))
    assert (told.devices, told.drivers, told.notes) == ((), (), ())


def test_devices_are_counted_by_sort() -> None:
    machine = replace(MACHINE, nvidia_driver=DRIVER, gpus=(a_gpu(0), a_gpu(1), a_gpu(2, "NVIDIA A10")))

    told = hardware(machine)

    assert [(one.name, one.count, one.compute_capability) for one in told.devices] == [
        ("NVIDIA A10", 1, "8.9"),
        ("NVIDIA L4", 2, "8.9"),
    ]
    assert [(one.vendor, one.version, one.toolkit) for one in told.drivers] == [("NVIDIA", "550.54.15", "12.4")]


def test_devices_of_one_name_that_differ_are_two_sorts() -> None:
    machine = replace(MACHINE, nvidia_driver=DRIVER, gpus=(a_gpu(0), a_gpu(1, memory=48 * GIB)))

    told = hardware(machine)

    assert len({one.name for one in told.devices}) == 2
    assert [one.memory_bytes for one in told.devices] == [24 * GIB, 48 * GIB]


def test_slices_are_devices_and_their_gpu_is_none() -> None:
    slices = tuple(MigSlice(number, "1g.10gb", f"MIG-{number}", 10 * GIB) for number in range(4))
    machine = replace(MACHINE, nvidia_driver=DRIVER, gpus=(a_gpu(0, mig_enabled=True, mig_slices=slices),))

    [one] = hardware(machine).devices

    assert (one.name, one.slice, one.count, one.memory_bytes) == ("NVIDIA L4 1g.10gb", "1g.10gb", 4, 10 * GIB)


def test_a_device_that_cannot_compute_is_a_fault_and_no_device() -> None:
    machine = replace(MACHINE, nvidia_driver=DRIVER, gpus=(a_gpu(0), a_gpu(1, fault="it is lost")))

    told = hardware(machine)

    assert [one.count for one in told.devices] == [1]
    assert told.notes == faults(machine) == ("GPU 1 (NVIDIA L4) cannot compute: it is lost",)


@pytest.mark.parametrize(
    ("root", "fault", "is_fault"),
    [
        ("/", "there is no libnvidia-ml.so.1", True),
        ("/host", "there is no libnvidia-ml.so.1", False),
        ("/host", "NVML_ERROR_GPU_IS_LOST: it has fallen off the bus", True),
    ],
)
def test_through_another_root_a_library_that_is_not_found_is_no_fault(root: str, fault: str, is_fault: bool) -> None:
    machine = replace(MACHINE, host_root=root, nvidia_driver=DRIVER, gpus=(a_gpu(0, fault=fault),))

    assert bool(faults(machine)) is is_fault


def test_a_driver_whose_halves_differ_is_a_fault() -> None:
    machine = replace(MACHINE, nvidia_driver=replace(DRIVER, library_version="560.1"))

    assert faults(machine) == ("NVIDIA's kernel driver is 550.54.15, its library 560.1",)


def test_npus_are_told_by_their_chip() -> None:
    npus = (AscendNpu(0, "Ascend310P3", memory_bytes=21 * GIB), AscendNpu(1, "Ascend310P3", template="vir04"))
    cann = Cann("8.0.RC3", "toolkit", "/usr/local/Ascend")

    told = hardware(replace(MACHINE, npus=npus, ascend_driver=AscendDriver("24.1.rc2"), cann=cann))

    assert [(one.name, one.chip, one.slice) for one in told.devices] == [
        ("Ascend310P3", "Ascend310P3", None),
        ("Ascend310P3 vir04", "Ascend310P3", "vir04"),
    ]
    assert [(one.vendor, one.version, one.toolkit) for one in told.drivers] == [("Ascend", "24.1.rc2", "8.0.RC3")]


@pytest.mark.parametrize(("notes", "kept"), [(MAX_NOTES, MAX_NOTES), (MAX_NOTES + 5, MAX_NOTES)])
def test_notes_that_find_no_place_are_counted(notes: int, kept: int) -> None:
    told = hardware(replace(MACHINE, notes=tuple(f"note {number} {'x' * 300}" for number in range(notes)))).notes

    assert len(told) == kept
    assert ("6 more" in told[-1]) is (notes > MAX_NOTES)
    assert all(len(one) <= 256 for one in told)


def test_more_sorts_than_have_a_place_are_said() -> None:
    gpus = tuple(a_gpu(number, f"NVIDIA X{number}") for number in range(9))

    told = hardware(replace(MACHINE, nvidia_driver=DRIVER, gpus=gpus))

    assert len(told.devices) == 8
    assert told.notes == ("more than 8 sorts of devices; left out: NVIDIA X8",)
