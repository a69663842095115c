"""How a process comes to a device: what the runtimes' own variables leave of a machine, and what a child is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from hpi_agent.building.device_access import DeviceAccess, access_to, visible_part
from hpi_agent.engines.base import CPU, Device
from hpi_agent.profile import (
    AscendNpu,
    Cpu,
    CpuAllowance,
    Machine,
    Memory,
    MigSlice,
    NvidiaGpu,
    hardware_class,
)
from hpi_core.errors import Refused

SLICES: Final = (MigSlice(0, "1g.5gb", "MIG-a", 5 << 30), MigSlice(1, "3g.20gb", "MIG-b", 20 << 30))
A100: Final = NvidiaGpu(0, "NVIDIA A100-SXM4-40GB", "GPU-aaaa-1", compute_capability="8.0", memory_bytes=40 << 30)
SECOND: Final = replace(A100, index=1, uuid="GPU-bbbb-2")
T4: Final = NvidiaGpu(1, "Tesla T4", "GPU-cccc-3", compute_capability="7.5", memory_bytes=15 << 30)
SLICED: Final = replace(A100, mig_enabled=True, mig_slices=SLICES)


def a_machine(*gpus: NvidiaGpu, npus: tuple[AscendNpu, ...] = ()) -> Machine:
    cpu = Cpu("x86_64", "AMD", None, "x86-64-v4", (), 8, 16, 16)
    allowance = CpuAllowance(16, "online", tuple(range(16)), None, None, None)
    return Machine("/", cpu, allowance, (), Memory(2**35, None, None), (), gpus=gpus, npus=npus)


def visible(machine: Machine, **environment: str) -> list[str | None]:
    return [gpu.uuid for gpu in visible_part(machine, environment).gpus]


def test_without_variables_everything_is_visible() -> None:
    machine = a_machine(A100, SECOND)

    assert visible_part(machine, {"PATH": "/bin"}) == machine


@pytest.mark.parametrize(
    ("names", "seen"),
    [
        ("1", ["GPU-bbbb-2"]),
        ("1,0", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        ("GPU-bbbb", ["GPU-bbbb-2"]),
        (" 0 , GPU-bbbb-2", ["GPU-aaaa-1", "GPU-bbbb-2"]),
        ("0,7,1", ["GPU-aaaa-1"]),
        ("-1", []),
        ("", []),
        ("GPU-zzzz", []),
    ],
)
def test_cudas_variable_says_which_gpus_there_are_and_in_which_order(names: str, seen: list[str]) -> None:
    assert visible(a_machine(A100, SECOND), CUDA_VISIBLE_DEVICES=names) == seen


def test_one_slice_of_a_gpu_is_visible_alone() -> None:
    [gpu] = visible_part(a_machine(SLICED), {"CUDA_VISIBLE_DEVICES": "MIG-b"}).gpus

    assert gpu.mig_slices == SLICES[1:]


def test_numbers_of_gpus_of_several_kinds_mean_nothing_unless_their_order_is_said() -> None:
    mixed = a_machine(A100, T4)

    with pytest.raises(Refused, match="counts GPUs of several kinds by their speed; set CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        visible(mixed, CUDA_VISIBLE_DEVICES="0")
    assert visible(mixed, CUDA_VISIBLE_DEVICES="1", CUDA_DEVICE_ORDER="PCI_BUS_ID") == ["GPU-cccc-3"]
    assert visible(mixed, CUDA_VISIBLE_DEVICES="GPU-cccc-3") == ["GPU-cccc-3"]


def test_the_first_gpu_of_a_manifest_is_the_first_visible_one() -> None:
    machine = visible_part(a_machine(A100, SECOND), {"CUDA_VISIBLE_DEVICES": "1"})

    assert access_to(Device("gpu", 0), machine).environment["CUDA_VISIBLE_DEVICES"] == "GPU-bbbb-2"


def test_a_gpu_is_chosen_by_its_uuid_and_is_then_the_only_one() -> None:
    access = access_to(Device("gpu", 1), a_machine(A100, SECOND))

    assert access == DeviceAccess(
        Device("gpu", 0), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-bbbb-2"}
    )
    assert access.name == "GPU-bbbb-2"


def test_a_slice_is_chosen_by_its_own_uuid() -> None:
    access = access_to(Device("gpu", 1), a_machine(SLICED))

    assert access.environment["CUDA_VISIBLE_DEVICES"] == "MIG-b"
    assert access.device == Device("gpu", 0)


def test_a_gpu_without_a_uuid_keeps_its_number_in_the_order_of_addresses() -> None:
    access = access_to(Device("gpu", 1), a_machine(replace(A100, uuid=None), replace(SECOND, uuid=None)))

    assert (access.device, access.environment) == (Device("gpu", 1), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert access.name == "gpu-1"


def npu(index: int, fault: str | None = None) -> AscendNpu:
    return AscendNpu(index, "Ascend310P3", device_number=index, fault=fault)


def test_the_runtime_of_ascend_counts_faulty_npus_and_a_manifest_does_not() -> None:
    machine = a_machine(npus=(npu(0, "Alarm"), npu(1), npu(2)))

    assert [access_to(Device("npu", index), machine).device.index for index in (0, 1)] == [1, 2]
    assert access_to(Device("npu", 0), machine).name == "npu-1"


def test_ascends_variable_says_which_npus_there_are() -> None:
    machine = visible_part(a_machine(npus=(npu(0), npu(1), npu(2))), {"ASCEND_RT_VISIBLE_DEVICES": "2,1"})

    assert [(one.index, one.device_number) for one in machine.npus] == [(0, 2), (1, 1)]
    assert access_to(Device("npu", 0), machine).device == Device("npu", 0)


def test_the_processors_need_nothing() -> None:
    assert access_to(CPU, a_machine(A100)) == DeviceAccess()


def test_a_device_that_the_machine_has_not_is_refused_by_name_with_what_was_found() -> None:
    machine = visible_part(a_machine(A100, SECOND), {"CUDA_VISIBLE_DEVICES": "0"})

    with pytest.raises(Refused, match="this machine has no device gpu:1; found: gpu:0 NVIDIA A100-SXM4-40GB"):
        hardware_class(machine, "gpu", 1)
