"""What two machines, or two devices of one, must share to choose the same engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from hpi_agent.profile.accelerators import GpuPart, gpu_parts, usable_npus
from hpi_agent.profile.machine import Architecture, Machine
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused
from hpi_core.formats import DEVICE_KINDS, DeviceKind

HARDWARE_CLASS_FORMAT: Final = 1
"""Version of the canonical form of `HardwareClass`; a change of meaning gets a new number, and so new digests."""

_SHARING: Final = re.compile(r"(?:[- ]MIG[- ][0-9a-z.+]+|-MIG-INVALID)?(?:-SHARED)?$")


@dataclass(frozen=True)
class AcceleratorClass:
    """What two accelerators must share to run the same engine. None stands for what could not be found out."""

    vendor: Literal["NVIDIA", "Ascend"]
    product: str | None
    """The vendor's name without what sharing adds to it, such as `NVIDIA A100-SXM4-40GB` or `Ascend910B3`."""
    compute_capability: str | None = None
    """Of NVIDIA, such as `8.6`."""
    chip: str | None = None
    """Of Ascend, the SoC version as ATC takes it, such as `Ascend310P3`."""
    memory_gibibytes: int | None = None
    """Memory of the device or of the slice of it, rounded down."""
    slice: str | None = None
    """The part of the device that is had: a MIG profile (`1g.10gb`), a vNPU template (`vir04`); None: all of it."""
    driver: str | None = None
    """Version of the kernel driver, whole; engines do not carry over between its patch levels."""
    toolkit: str | None = None
    """Newest CUDA that the driver serves (`12.4`), or the installed CANN (`8.0.RC3`)."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "vendor": self.vendor,
            "product": self.product,
            "computeCapability": self.compute_capability,
            "chip": self.chip,
            "memoryGibibytes": self.memory_gibibytes,
            "slice": self.slice,
            "driver": self.driver,
            "toolkit": self.toolkit,
        }


@dataclass(frozen=True)
class HardwareClass:
    """What two machines must share to choose the same engine."""

    architecture: Architecture | None
    vendor: str | None
    isa_level: str | None
    isa_flags: tuple[str, ...]
    """Sorted."""
    threads: int
    """Whole cores left to this process."""
    numa_nodes: int
    """Memory nodes whose processors this process may use; 1 when the kernel describes none."""
    memory_gibibytes: int | None
    """Memory available to this process, rounded down: machines of one model differ by some megabytes."""
    accelerator: AcceleratorClass | None = None
    """What computes beside the processors; None: they compute alone, whatever else the machine has."""

    @property
    def device(self) -> DeviceKind:
        """What computes."""
        if self.accelerator is None:
            return "cpu"
        return "gpu" if self.accelerator.vendor == "NVIDIA" else "npu"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; its canonical spelling (`hpi_core.digest`) is what `digest` hashes.

        `accelerator` is there for a GPU or NPU alone: the digests of processors are older than accelerators.
        """
        document: dict[str, Any] = {
            "formatVersion": HARDWARE_CLASS_FORMAT,
            "device": self.device,
            "architecture": self.architecture,
            "vendor": self.vendor,
            "isaLevel": self.isa_level,
            "isaFlags": list(self.isa_flags),
            "threads": self.threads,
            "numaNodes": self.numa_nodes,
            "memoryGibibytes": self.memory_gibibytes,
        }
        if self.accelerator is not None:
            document["accelerator"] = self.accelerator.to_json()
        return document

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the canonical JSON form."""
        return digest_of_json(self.to_json())


def hardware_class(machine: Machine, device: DeviceKind = "cpu", index: int = 0) -> HardwareClass:
    """Return the hardware class of a machine, or of one of its devices, as this process may use it.

    Args:
        machine: The facts.
        device: What has to compute.
        index: Number of the device, from 0: of a GPU among `gpu_parts`, of an NPU among `usable_npus`; 0 for `cpu`.

    Raises:
        Refused: The machine has no such device, or so little is known of it that its class would also be that of
            devices which run other engines.
    """
    usable = machine.allowance.usable_cpus
    nodes = sum(1 for node in machine.numa_nodes if usable.intersection(node.cpus))
    available = machine.memory.available_bytes
    return HardwareClass(
        architecture=machine.cpu.architecture,
        vendor=machine.cpu.vendor,
        isa_level=machine.cpu.isa_level,
        isa_flags=tuple(sorted(machine.cpu.isa_flags)),
        threads=machine.allowance.whole_cores,
        numa_nodes=max(1, nodes),
        memory_gibibytes=_gibibytes(available),
        accelerator=_accelerator_class(machine, device, index),
    )


def plain_product(name: str) -> str:
    """Return a GPU's product name without what sharing appends, so that shared and whole GPUs compare.

    Source:
        NVIDIA k8s-device-plugin, docs/gpu-feature-discovery: `nvidia.com/gpu.product` ends in `-SHARED` where a GPU is
        shared and in `-MIG-<profile>` for a slice; NVML names a slice `<product> MIG <profile>`.
    """
    return _SHARING.sub("", name)


def _accelerator_class(machine: Machine, device: DeviceKind, index: int) -> AcceleratorClass | None:
    if device == "gpu":
        return _gpu_class(machine, index)
    if device == "npu":
        return _npu_class(machine, index)
    if device != "cpu":
        raise Refused(f"device must be one of {', '.join(DEVICE_KINDS)}, got {device!r}")
    if index != 0:
        raise Refused(f"the device cpu has no number but 0, got {index}")
    return None


def _gpu_class(machine: Machine, index: int) -> AcceleratorClass:
    parts = gpu_parts(machine.gpus)
    if not 0 <= index < len(parts):
        raise Refused(
            f"this machine has no device gpu:{index}; found: {_found_gpus(machine, parts)}; "
            "ask for one of them or for cpu; `hpi-agent detect` says what was seen"
        )
    part, driver = parts[index], machine.nvidia_driver
    version = None if driver is None else driver.version or driver.library_version
    cut = part.mig_slice
    extent = "whole" if cut is None else f"slice {cut.profile or 'of unknown profile'}"
    if not part.gpu.product or not part.gpu.compute_capability or not version or (cut and not cut.profile):
        raise Refused(
            f"gpu:{index} ({part.gpu.product or 'unknown product'}, compute capability "
            f"{part.gpu.compute_capability or 'unknown'}, driver {version or 'unknown'}, {extent}) cannot be classed: "
            "all of it must be known; repair what `hpi-agent detect` notes, or ask for cpu"
        )
    return AcceleratorClass(
        vendor="NVIDIA",
        product=plain_product(part.gpu.product),
        compute_capability=part.gpu.compute_capability,
        memory_gibibytes=_gibibytes(part.memory_bytes),
        slice=None if cut is None else cut.profile,
        driver=version,
        toolkit=None if driver is None else driver.cuda_version,
    )


def _npu_class(machine: Machine, index: int) -> AcceleratorClass:
    npus, driver = usable_npus(machine.npus), machine.ascend_driver
    if not 0 <= index < len(npus):
        raise Refused(
            f"this machine has no device npu:{index}; found: {_found_npus(machine)}; "
            "ask for one of them or for cpu; `hpi-agent detect` says what was seen"
        )
    npu = npus[index]
    if npu.chip is None:
        raise Refused(
            f"npu:{index} cannot be classed: its chip is not known; repair what `hpi-agent detect` notes, "
            "or ask for cpu"
        )
    return AcceleratorClass(
        vendor="Ascend",
        product=npu.chip,
        chip=npu.chip,
        memory_gibibytes=_gibibytes(npu.memory_bytes),
        slice=npu.template,
        driver=None if driver is None else driver.version,
        toolkit=None if machine.cann is None else machine.cann.version,
    )


def _found_gpus(machine: Machine, parts: tuple[GpuPart, ...]) -> str:
    found = [
        f"gpu:{number} {part.gpu.product or 'unknown product'}"
        + ("" if part.mig_slice is None else f" MIG {part.mig_slice.profile or 'unknown profile'}")
        for number, part in enumerate(parts)
    ]
    found += [f"{gpu.product or 'a GPU'}, which cannot compute ({gpu.fault})" for gpu in machine.gpus if gpu.fault]
    found += [
        f"{gpu.product or 'a GPU'} in MIG mode without slices"
        for gpu in machine.gpus
        if gpu.mig_enabled and not gpu.mig_slices and gpu.fault is None
    ]
    return ", ".join(found) or ("no NVIDIA GPU" if machine.nvidia_driver is None else "a driver, but no NVIDIA GPU")


def _found_npus(machine: Machine) -> str:
    found = [f"npu:{number} {npu.chip or 'unknown chip'}" for number, npu in enumerate(usable_npus(machine.npus))]
    found += [f"{npu.chip or 'an NPU'}, which cannot compute ({npu.fault})" for npu in machine.npus if npu.fault]
    return ", ".join(found) or ("no Ascend NPU" if machine.ascend_driver is None else "a driver, but no Ascend NPU")


def _gibibytes(size_bytes: int | None) -> int | None:
    return None if size_bytes is None else size_bytes >> 30
