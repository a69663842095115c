"""From the facts of GPUs and NPUs to their hardware classes."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from hpi_agent.profile import (
    AcceleratorClass,
    AscendDriver,
    AscendNpu,
    Cann,
    Cpu,
    CpuAllowance,
    Machine,
    Memory,
    MigSlice,
    NvidiaDriver,
    NvidiaGpu,
    gpu_parts,
    hardware_class,
    plain_product,
    usable_npus,
)
from hpi_core.digest import canonical_json
from hpi_core.errors import Refused
from hpi_core.formats import DeviceKind

GIB = 2**30

BARE = Machine(
    host_root="/",
    cpu=Cpu("x86_64", "AMD", "AMD EPYC", "x86-64-v3", ("avx2",), 4, 8, 8),
    allowance=CpuAllowance(4, "online", tuple(range(4)), None, None, None),
    numa_nodes=(),
    memory=Memory(64 * GIB, None, None),
    notes=(),
)
A100 = NvidiaGpu(0, "NVIDIA A100-SXM4-80GB", "GPU-1", "0000:07:00.0", "8.0", 80 * GIB, False)
L4 = NvidiaGpu(1, "NVIDIA L4", "GPU-2", "0000:08:00.0", "8.9", 23 * GIB - 1)
LOST = replace(A100, index=2, fault="GPU is lost")
LOST_IN_SLICES = replace(LOST, mig_enabled=True, mig_slices=(MigSlice(0, "7g.80gb", "MIG-3", 79 * GIB),))
CUT = replace(
    A100,
    index=3,
    mig_enabled=True,
    mig_slices=(MigSlice(0, "3g.40gb", "MIG-1", 39 * GIB), MigSlice(1, "1g.10gb", "MIG-2", 9 * GIB)),
)
UNCUT = replace(CUT, index=4, mig_slices=())
GPUS = replace(
    BARE, nvidia_driver=NvidiaDriver("550.54.15", "550.54.15", "12.4"), gpus=(A100, L4, LOST_IN_SLICES, CUT, UNCUT)
)

P3 = AscendNpu(0, "Ascend310P3", 0, 0, 0, "0000:01:00.0", 21 * GIB + 5, "DDR", "OK")
B3 = AscendNpu(1, "Ascend910B3", 1, 1, 0, "0000:02:00.0", 64 * GIB, "HBM", "Warning")
GONE = replace(B3, index=2, fault="no device file")
VNPU = replace(P3, index=3, template="vir04", memory_bytes=11 * GIB)
UNKNOWN = AscendNpu(4, None, 4)
NPUS = replace(
    BARE,
    ascend_driver=AscendDriver("24.1.rc3", "7.5.0.1.129"),
    cann=Cann("8.0.0", "toolkit", "/usr/local/Ascend/ascend-toolkit/latest"),
    npus=(P3, B3, GONE, VNPU, UNKNOWN),
)


def accelerator(machine: Machine, device: DeviceKind, index: int = 0) -> AcceleratorClass:
    found = hardware_class(machine, device, index)
    assert found.accelerator is not None
    assert found.device == device
    return found.accelerator


def test_a_gpu_is_classed_by_what_moves_the_choice_of_an_engine() -> None:
    assert accelerator(GPUS, "gpu") == AcceleratorClass(
        vendor="NVIDIA",
        product="NVIDIA A100-SXM4-80GB",
        compute_capability="8.0",
        memory_gibibytes=80,
        driver="550.54.15",
        toolkit="12.4",
    )


def test_an_npu_is_classed_by_what_moves_the_choice_of_an_engine() -> None:
    assert accelerator(NPUS, "npu") == AcceleratorClass(
        vendor="Ascend",
        product="Ascend310P3",
        chip="Ascend310P3",
        memory_gibibytes=21,
        driver="24.1.rc3",
        toolkit="8.0.0",
    )


@pytest.mark.parametrize(
    ("machine", "device", "index", "product", "part", "gibibytes"),
    [
        (GPUS, "gpu", 1, "NVIDIA L4", None, 22),
        (GPUS, "gpu", 2, "NVIDIA A100-SXM4-80GB", "3g.40gb", 39),
        (GPUS, "gpu", 3, "NVIDIA A100-SXM4-80GB", "1g.10gb", 9),
        (NPUS, "npu", 1, "Ascend910B3", None, 64),
        (NPUS, "npu", 2, "Ascend310P3", "vir04", 11),
    ],
)
def test_a_number_counts_what_can_compute(
    machine: Machine, device: DeviceKind, index: int, product: str, part: str | None, gibibytes: int
) -> None:
    got = accelerator(machine, device, index)

    assert (got.product, got.slice, got.memory_gibibytes) == (product, part, gibibytes)


def test_faulty_devices_and_gpus_without_a_slice_do_not_count() -> None:
    assert [(part.gpu.index, part.uuid) for part in gpu_parts(GPUS.gpus)] == [
        (0, "GPU-1"),
        (1, "GPU-2"),
        (3, "MIG-1"),
        (3, "MIG-2"),
    ]
    assert [npu.index for npu in usable_npus(NPUS.npus)] == [0, 1, 3, 4]


def test_the_canonical_json_of_a_gpus_class_is_frozen() -> None:
    assert canonical_json(hardware_class(GPUS, "gpu").to_json()) == (
        b'{"accelerator":{"chip":null,"computeCapability":"8.0","driver":"550.54.15","memoryGibibytes":80,'
        b'"product":"NVIDIA A100-SXM4-80GB","slice":null,"toolkit":"12.4","vendor":"NVIDIA"},"architecture":"x86_64",'
        b'"device":"gpu","formatVersion":1,"isaFlags":["avx2"],"isaLevel":"x86-64-v3","memoryGibibytes":64,'
        b'"numaNodes":1,"threads":4,"vendor":"AMD"}'
    )


@pytest.mark.parametrize("machine", [GPUS, NPUS], ids=["GPUs", "NPUs"])
def test_devices_leave_the_class_of_the_processors_as_it_is(machine: Machine) -> None:
    assert hardware_class(machine).to_json() == hardware_class(BARE).to_json()
    assert "accelerator" not in hardware_class(machine).to_json()


OTHERS: dict[str, Any] = {
    "vendor": "Ascend",
    "product": "NVIDIA L4",
    "compute_capability": "8.9",
    "chip": "Ascend310P3",
    "memory_gibibytes": 40,
    "slice": "1g.10gb",
    "driver": "550.54.14",
    "toolkit": "12.5",
}


@pytest.mark.parametrize("field", [field.name for field in fields(AcceleratorClass)])
def test_a_change_of_any_field_of_the_accelerator_changes_the_digest(field: str) -> None:
    base = hardware_class(GPUS, "gpu")

    changed = replace(base, accelerator=replace(accelerator(GPUS, "gpu"), **{field: OTHERS[field]}))

    assert changed.digest != base.digest


@pytest.mark.parametrize(
    "gpu",
    [
        replace(A100, uuid="GPU-9", pci_bus_id="0000:ff:00.0", index=7),
        replace(A100, memory_bytes=80 * GIB + 1),
        replace(A100, product="NVIDIA A100-SXM4-80GB-SHARED"),
        replace(A100, mig_enabled=None),
    ],
    ids=["another of its kind", "one byte of memory", "shared", "mode not known"],
)
def test_what_does_not_move_the_choice_does_not_change_the_class_of_a_gpu(gpu: NvidiaGpu) -> None:
    assert hardware_class(replace(GPUS, gpus=(gpu,)), "gpu") == hardware_class(GPUS, "gpu")


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("NVIDIA A100-SXM4-40GB", "NVIDIA A100-SXM4-40GB"),
        ("NVIDIA-A100-SXM4-40GB-SHARED", "NVIDIA-A100-SXM4-40GB"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "NVIDIA-A100-SXM4-40GB"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb-SHARED", "NVIDIA-A100-SXM4-40GB"),
        ("NVIDIA-H100-80GB-HBM3-MIG-1g.10gb.me", "NVIDIA-H100-80GB-HBM3"),
        ("NVIDIA A100-SXM4-40GB MIG 1c.3g.20gb", "NVIDIA A100-SXM4-40GB"),
        ("NVIDIA-A100-SXM4-40GB-MIG-INVALID", "NVIDIA-A100-SXM4-40GB"),
        ("Tesla T4", "Tesla T4"),
        ("GRID A100-4C", "GRID A100-4C"),
        ("NVIDIA SHARED THING", "NVIDIA SHARED THING"),
    ],
)
def test_a_product_is_named_without_what_sharing_appends(name: str, plain: str) -> None:
    assert plain_product(name) == plain


# Refused.


@pytest.mark.parametrize(
    ("machine", "device", "index", "found"),
    [
        (BARE, "gpu", 0, "found: no NVIDIA GPU;"),
        (BARE, "npu", 0, "found: no Ascend NPU;"),
        (NPUS, "gpu", 0, "found: no NVIDIA GPU;"),
        (replace(BARE, nvidia_driver=NvidiaDriver("550.54.15")), "gpu", 0, "found: a driver, but no NVIDIA GPU;"),
        (replace(BARE, ascend_driver=AscendDriver("24.1.rc3")), "npu", 0, "found: a driver, but no Ascend NPU;"),
        (
            GPUS,
            "gpu",
            4,
            "found: gpu:0 NVIDIA A100-SXM4-80GB, gpu:1 NVIDIA L4, gpu:2 NVIDIA A100-SXM4-80GB MIG 3g.40gb, "
            "gpu:3 NVIDIA A100-SXM4-80GB MIG 1g.10gb, NVIDIA A100-SXM4-80GB, which cannot compute (GPU is lost), "
            "NVIDIA A100-SXM4-80GB in MIG mode without slices;",
        ),
        (NPUS, "npu", 4, "npu:3 unknown chip, Ascend910B3, which cannot compute (no device file);"),
        (GPUS, "gpu", -1, "this machine has no device gpu:-1; found: gpu:0"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_what_was_found(
    machine: Machine, device: DeviceKind, index: int, found: str
) -> None:
    with pytest.raises(Refused) as caught:
        hardware_class(machine, device, index)

    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("gpu", "driver", "unknown"),
    [
        (replace(A100, product=None), NvidiaDriver("1.2"), "unknown product"),
        (replace(A100, compute_capability=None), NvidiaDriver("1.2"), "compute capability unknown"),
        (A100, NvidiaDriver(), "driver unknown"),
        (A100, None, "driver unknown"),
        (replace(CUT, mig_slices=(MigSlice(0, None),)), NvidiaDriver("1.2"), "slice of unknown profile"),
    ],
    ids=["product", "capability", "version", "driver", "profile"],
)
def test_a_gpu_of_which_too_little_is_known_has_no_class(
    gpu: NvidiaGpu, driver: NvidiaDriver | None, unknown: str
) -> None:
    with pytest.raises(Refused, match=rf"gpu:0 .*{unknown}.* cannot be classed: all of it must be known"):
        hardware_class(replace(BARE, nvidia_driver=driver, gpus=(gpu,)), "gpu")


def test_an_npu_whose_chip_is_not_known_has_no_class() -> None:
    with pytest.raises(Refused, match="npu:3 cannot be classed: its chip is not known"):
        hardware_class(NPUS, "npu", 3)


def test_an_npu_without_driver_or_cann_is_classed_by_its_chip() -> None:
    got = accelerator(replace(NPUS, ascend_driver=None, cann=None), "npu")

    assert (got.chip, got.driver, got.toolkit) == ("Ascend310P3", None, None)


def test_processors_have_no_number_and_other_kinds_do_not_exist() -> None:
    with pytest.raises(Refused, match="the device cpu has no number but 0, got 1"):
        hardware_class(BARE, "cpu", 1)
    with pytest.raises(Refused, match="device must be one of cpu, gpu, npu, got 'tpu'"):
        hardware_class(BARE, "tpu")  # type: ignore[arg-type]
