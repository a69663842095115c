"""What discovery found, as HPINode.status words it: sorts of devices with their number, drivers, notes; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from hpi_agent.profile import Machine, gpu_parts, plain_product, usable_npus
from hpi_core.api.v1alpha1.node import MAX_DEVICE_GROUPS, Hardware
from hpi_core.api.v1alpha1.scalars import CHIP, VERSION

MAX_NOTES: Final = 8
MAX_NOTE: Final = 256
MAX_FLAGS: Final = 32
UNKNOWN: Final = "unknown"
NVML: Final = "NVML"
"""Begins every fault that NVML itself has told."""


class _Sort(NamedTuple):
    """What tells devices apart."""

    vendor: str
    product: str | None
    chip: str | None
    capability: str | None
    memory_bytes: int | None
    cut: str | None

    @property
    def name(self) -> str:
        """Product and slice."""
        return " ".join(word for word in (self.product or self.chip or UNKNOWN, self.cut) if word)[:128]


def hardware(machine: Machine) -> Hardware:
    """Return the hardware of a node.

    Faulty devices are notes and no devices. More than 8 sorts, or 8 notes, are cut, and a note says so.
    """
    sorts, notes = list(_sorts(machine)), [*faults(machine), *machine.notes]
    if len(sorts) > MAX_DEVICE_GROUPS:
        left_out = ", ".join(one["name"] for one in sorts[MAX_DEVICE_GROUPS:])
        notes.insert(0, f"more than {MAX_DEVICE_GROUPS} sorts of devices; left out: {left_out}")
    processors = {
        "architecture": machine.cpu.architecture,
        "model": (machine.cpu.model_name or "")[:128],
        "isaLevel": (machine.cpu.isa_level or "")[:16],
        "isaFlags": [flag[:24] for flag in machine.cpu.isa_flags[:MAX_FLAGS]],
        "cores": machine.cpu.physical_cores or machine.cpu.logical_cpus,
        "numaNodes": len(machine.numa_nodes),
    }
    written = {
        "processors": _known(processors),
        "devices": sorts[:MAX_DEVICE_GROUPS],
        "drivers": list(_drivers(machine)),
        "notes": list(_cut(notes)),
    }
    return Hardware.model_validate({**written, **_known({"memoryBytes": machine.memory.total_bytes})})


def faults(machine: Machine) -> tuple[str, ...]:
    """Return why devices of a node cannot compute, one sentence each; empty where none is known to be broken.

    Who looks at a machine through another root than `/`, as a pod does, asks no NVML: that the driver's library is not
    found there says nothing of pods that are given a GPU, and stays a note.
    """
    gpus = [
        f"GPU {one.index} ({one.product or UNKNOWN}) cannot compute: {one.fault}"
        for one in machine.gpus
        if one.fault and (machine.host_root == "/" or one.fault.startswith(NVML))
    ]
    npus = [f"NPU {one.index} ({one.chip or UNKNOWN}) cannot compute: {one.fault}" for one in machine.npus if one.fault]
    driver = machine.nvidia_driver
    if driver is None or not driver.version or not driver.library_version or driver.version == driver.library_version:
        return (*gpus, *npus)
    return (f"NVIDIA's kernel driver is {driver.version}, its library {driver.library_version}", *gpus, *npus)


def _sorts(machine: Machine) -> Iterator[dict[str, Any]]:
    found = Counter(
        [
            *(
                _Sort(
                    "NVIDIA",
                    None if part.gpu.product is None else plain_product(part.gpu.product)[:128],
                    None,
                    part.gpu.compute_capability,
                    part.memory_bytes,
                    None if part.mig_slice is None else (part.mig_slice.profile or UNKNOWN)[:40],
                )
                for part in gpu_parts(machine.gpus)
            ),
            *(
                _Sort(
                    "Ascend",
                    None,
                    npu.chip if re.fullmatch(CHIP, npu.chip or "") else None,
                    None,
                    npu.memory_bytes,
                    None if npu.template is None else npu.template[:40],
                )
                for npu in usable_npus(machine.npus)
            ),
        ]
    )
    names = Counter(one.name for one in found)
    for one, count in sorted(found.items(), key=lambda pair: (pair[0].vendor, pair[0].name, pair[0].memory_bytes or 0)):
        # Devices of one product may differ in memory; names are the keys of the list.
        told = names[one.name] > 1
        known = _known(
            {
                "product": one.product,
                "chip": one.chip,
                "computeCapability": one.capability,
                "memoryBytes": one.memory_bytes,
                "slice": one.cut,
            }
        )
        name = f"{one.name} {one.capability or ''} {one.memory_bytes or UNKNOWN}" if told else one.name
        yield {"name": name, "vendor": one.vendor, "count": count, **known}


def _drivers(machine: Machine) -> Iterator[dict[str, Any]]:
    nvidia, ascend, cann = machine.nvidia_driver, machine.ascend_driver, machine.cann
    if nvidia is not None:
        versions = {"version": nvidia.version, "libraryVersion": nvidia.library_version, "toolkit": nvidia.cuda_version}
        yield {"vendor": "NVIDIA", **_versions(versions)}
    if ascend is not None or cann is not None:
        versions = {
            "version": None if ascend is None else ascend.version,
            "toolkit": None if cann is None else cann.version,
        }
        yield {"vendor": "Ascend", **_versions(versions)}


def _versions(told: dict[str, str | None]) -> dict[str, str]:
    # What is no version is none that anybody could compare.
    return {key: value for key, value in told.items() if value and len(value) <= 64 and re.fullmatch(VERSION, value)}


def _known(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if value is not None}


def _cut(notes: Iterable[str]) -> Iterator[str]:
    # A set, in the order of discovery: the API server refuses a sentence that stands there twice.
    told = list(dict.fromkeys(note if len(note) <= MAX_NOTE else f"{note[: MAX_NOTE - 1]}…" for note in notes))
    if len(told) <= MAX_NOTES:
        yield from told
        return
    yield from told[: MAX_NOTES - 1]
    yield f"and {len(told) - MAX_NOTES + 1} more; see `hpi-agent detect` on the node"
