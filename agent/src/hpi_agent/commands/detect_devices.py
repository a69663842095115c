"""GPUs and NPUs as `hpi-agent detect` shows them: the rows of its table and the fields of its JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from hpi_agent.discovery.cpulist import format_cpulist
from hpi_agent.profile import (
    AscendNpu,
    GpuPart,
    HardwareClass,
    Machine,
    NvidiaGpu,
    gpu_parts,
    hardware_class,
    usable_npus,
)
from hpi_core.errors import Refused
from hpi_core.formats import DeviceKind

UNCLASSED: Final = "not known, see the notes"

_Class = HardwareClass | str
"""The class of one device, or why it has none."""


def devices_document(machine: Machine) -> dict[str, Any]:
    """Return the fields on accelerators, in the schema of `hpi_agent.commands.detect`."""
    nvidia, ascend, cann = machine.nvidia_driver, machine.ascend_driver, machine.cann
    return {
        "nvidiaDriver": None
        if nvidia is None
        else {
            "version": nvidia.version,
            "libraryVersion": nvidia.library_version,
            "cudaVersion": nvidia.cuda_version,
        },
        "gpus": [_gpu_document(gpu) for gpu in machine.gpus],
        "ascendDriver": None
        if ascend is None
        else {"version": ascend.version, "firmwareVersion": ascend.firmware_version},
        "cann": None
        if cann is None
        else {"version": cann.version, "package": cann.package, "directory": cann.directory},
        "npus": [_npu_document(npu) for npu in machine.npus],
        "devices": [
            {
                "device": f"{kind}:{index}",
                "uuid": uuid,
                "hardwareClass": None if isinstance(found, str) else found.to_json(),
                "hardwareClassDigest": None if isinstance(found, str) else found.digest,
                "unclassed": found if isinstance(found, str) else None,
            }
            for kind, index, uuid, found in _classes(machine)
        ],
    }


def device_rows(machine: Machine) -> list[tuple[str, str]]:
    """Return label and value of every line of the table on accelerators, in plain ASCII."""
    rows: list[tuple[str, str]] = []
    nvidia, ascend, cann = machine.nvidia_driver, machine.ascend_driver, machine.cann
    if nvidia is not None:
        served = "" if nvidia.cuda_version is None else f", serves CUDA {nvidia.cuda_version}"
        library = f"library {nvidia.library_version or 'missing'}"
        rows.append(("NVIDIA driver", f"{nvidia.version or 'not loaded'} ({library}){served}"))
    rows += [(f"gpu:{index}", _part_text(part)) for index, part in enumerate(gpu_parts(machine.gpus))]
    rows += [("GPU out of use", text) for text in map(_idle_gpu_text, machine.gpus) if text]
    if ascend is not None:
        firmware = "" if ascend.firmware_version is None else f", firmware {ascend.firmware_version}"
        rows.append(("Ascend driver", f"{ascend.version or 'unknown version'}{firmware}"))
    if cann is not None:
        rows.append(("CANN", f"{cann.version or 'unknown version'} ({cann.package}), in {cann.directory}"))
    rows += [(f"npu:{index}", _npu_text(npu)) for index, npu in enumerate(usable_npus(machine.npus))]
    rows += [("NPU out of use", f"{_npu_text(npu)}: {npu.fault}") for npu in machine.npus if npu.fault is not None]
    if not machine.gpus and not machine.npus:
        rows.append(("Accelerators", "none"))
    return rows


def class_rows(machine: Machine) -> list[tuple[str, str]]:
    """Return one line for every class that GPUs and NPUs are in."""
    members: dict[tuple[DeviceKind, str], list[int]] = {}
    for kind, index, _, found in _classes(machine):
        members.setdefault((kind, UNCLASSED if isinstance(found, str) else found.digest), []).append(index)
    return [(f"Class of {kind}:{format_cpulist(indices)}", text) for (kind, text), indices in members.items()]


def _classes(machine: Machine) -> Iterator[tuple[DeviceKind, int, str | None, _Class]]:
    """Yield kind, number, UUID and class of every device that may be asked for."""
    for index, part in enumerate(gpu_parts(machine.gpus)):
        yield "gpu", index, part.uuid, _class(machine, "gpu", index)
    for index, _ in enumerate(usable_npus(machine.npus)):
        yield "npu", index, None, _class(machine, "npu", index)


def _class(machine: Machine, kind: DeviceKind, index: int) -> _Class:
    try:
        return hardware_class(machine, kind, index)
    except Refused as error:
        return str(error)


def _gpu_document(gpu: NvidiaGpu) -> dict[str, Any]:
    return {
        "index": gpu.index,
        "product": gpu.product,
        "uuid": gpu.uuid,
        "pciBusId": gpu.pci_bus_id,
        "computeCapability": gpu.compute_capability,
        "memoryBytes": gpu.memory_bytes,
        "migEnabled": gpu.mig_enabled,
        "migSlices": [
            {"index": one.index, "profile": one.profile, "uuid": one.uuid, "memoryBytes": one.memory_bytes}
            for one in gpu.mig_slices
        ],
        "fault": gpu.fault,
    }


def _npu_document(npu: AscendNpu) -> dict[str, Any]:
    return {
        "index": npu.index,
        "chip": npu.chip,
        "deviceNumber": npu.device_number,
        "card": npu.card,
        "cardChip": npu.card_chip,
        "pciBusId": npu.pci_bus_id,
        "memoryBytes": npu.memory_bytes,
        "memoryKind": npu.memory_kind,
        "health": npu.health,
        "template": npu.template,
        "fault": npu.fault,
    }


def _part_text(part: GpuPart) -> str:
    gpu = part.gpu
    cut = "" if part.mig_slice is None else f" MIG {part.mig_slice.profile or 'unknown profile'}"
    capability = f"compute capability {gpu.compute_capability or 'unknown'}"
    return f"{gpu.product or 'unknown product'}{cut}, {_memory(part.memory_bytes)}, {capability}, {_place(gpu)}"


def _idle_gpu_text(gpu: NvidiaGpu) -> str | None:
    if gpu.fault is not None:
        return f"{gpu.product or 'unknown product'}, {_place(gpu)}: {gpu.fault}"
    if gpu.mig_enabled and not gpu.mig_slices:
        return f"{gpu.product or 'unknown product'}, {_place(gpu)}: in MIG mode without a slice"
    return None


def _npu_text(npu: AscendNpu) -> str:
    parts = [npu.chip or "unknown chip"]
    if npu.template is not None:
        parts[0] += f" vNPU {npu.template}"
    if npu.memory_bytes is not None:
        parts.append(f"{_memory(npu.memory_bytes)} of {npu.memory_kind or 'unknown kind'}")
    if npu.health is not None:
        parts.append(f"health {npu.health}")
    if npu.card is not None:
        parts.append(f"card {npu.card} chip {npu.card_chip}")
    if npu.pci_bus_id is not None:
        parts.append(f"at {npu.pci_bus_id}")
    if npu.device_number is not None:
        parts.append(f"/dev/davinci{npu.device_number}")
    return ", ".join(parts)


def _place(gpu: NvidiaGpu) -> str:
    return f"at {gpu.pci_bus_id or 'an unknown address'}"


def _memory(size_bytes: int | None) -> str:
    return "unknown memory" if size_bytes is None else f"{size_bytes / 2**30:.2f} GiB"
