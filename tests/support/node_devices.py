"""Accelerators of nodes: the labels, resources and taints that they bring, and what an agent finds of them.

Source:
    NVIDIA/k8s-device-plugin, docs/gpu-feature-discovery/README.md, "Generated Labels"; mind-cluster, device plugin,
    node labels: the names of before release 26 and those that replace them are both written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from support.manifests import Document

MIB: Final = 2**20
GIB: Final = 2**30

DRIVER: Final = "550.54.15"
CUDA: Final = "12.4"
NPU_DRIVER: Final = "24.1.rc2"
CANN: Final = "8.0.RC3"
NPU_TAINT: Final = "huawei.com/npu:NoSchedule"


@dataclass(frozen=True)
class Gpu:
    """What is known of an NVIDIA product."""

    compute_capability: str
    memory_mebibytes: int
    family: str
    has_mig: bool = False
    """Whether it can be sliced."""


@dataclass(frozen=True)
class Npu:
    """What is known of an Ascend chip."""

    resource: str
    accelerator: str
    """Value of mind-cluster's label `accelerator`."""
    memory_mebibytes: int
    server: str


GPUS: Final[Mapping[str, Gpu]] = {
    "Tesla T4": Gpu("7.5", 15360, "turing"),
    "NVIDIA A10": Gpu("8.6", 23028, "ampere"),
    "NVIDIA A100-SXM4-40GB": Gpu("8.0", 40960, "ampere", has_mig=True),
    "NVIDIA L4": Gpu("8.9", 23034, "ada-lovelace"),
    "NVIDIA H100 80GB HBM3": Gpu("9.0", 81559, "hopper", has_mig=True),
    "NVIDIA B200": Gpu("10.0", 183359, "blackwell", has_mig=True),
}
"""Products by the name that the driver gives them."""

NPUS: Final[Mapping[str, Npu]] = {
    "Ascend310P3": Npu("huawei.com/Ascend310P", "huawei-Ascend310P", 21527, "Ascend310P-32"),
    "Ascend910B3": Npu("huawei.com/Ascend910", "huawei-Ascend910", 65536, "Ascend910B-20"),
    "Ascend910B4": Npu("huawei.com/Ascend910", "huawei-Ascend910", 32768, "Ascend910B-20"),
}
"""Chips by their SoC version."""


@dataclass(frozen=True)
class Part:
    """Devices of one vendor on a node."""

    labels: Mapping[str, str]
    resources: Mapping[str, int]
    devices: tuple[Document, ...]
    """Devices of `HPINode.status.hardware`."""
    driver: Document
    """A driver of the same."""
    taints: tuple[str, ...] = ()


def nvidia_part(product: str, gpus: int, shared_by: int, mig: Mapping[str, int], driver: str, cuda: str) -> Part:
    """Return GPUs of one product, whole or in slices; `support.nodes.a_node` says what the arguments mean."""
    known = GPUS[product]
    labels = _gpu_labels(product, gpus, shared_by, driver, cuda)
    gpu = {"vendor": "NVIDIA", "product": product, "computeCapability": known.compute_capability}
    versions = {"vendor": "NVIDIA", "version": driver, "libraryVersion": driver, "toolkit": cuda}
    if not mig:
        whole = {**gpu, "name": product, "count": gpus, "memoryBytes": known.memory_mebibytes * MIB}
        return Part(labels, {"nvidia.com/gpu": gpus * shared_by}, (whole,), versions)
    labels |= {"nvidia.com/mig.strategy": "mixed", "nvidia.com/gpu.replicas": "0"}
    resources = {"nvidia.com/gpu": 0}
    slices = []
    for profile, count in mig.items():
        memory_bytes = int(profile.partition(".")[2].removesuffix("gb")) * GIB
        resources[f"nvidia.com/mig-{profile}"] = count
        labels |= _slice_labels(product, profile, count, memory_bytes)
        slices.append(
            {**gpu, "name": f"{product} {profile}", "count": count, "memoryBytes": memory_bytes, "slice": profile}
        )
    return Part(labels, resources, tuple(slices), versions)


def ascend_part(chip: str, npus: int, vnpus: Mapping[str, int], driver: str, cann: str) -> Part:
    """Return NPUs of one chip, whole or in slices; `support.nodes.a_node` says what the arguments mean."""
    known = NPUS[chip]
    resources = {known.resource: npus}
    npu = {"vendor": "Ascend", "chip": chip}
    devices: list[Document] = []
    if npus:
        devices.append({**npu, "name": chip, "count": npus, "memoryBytes": known.memory_mebibytes * MIB})
    for template, count in vnpus.items():
        cores = int("".join(filter(str.isdigit, template)))
        resources[f"{known.resource}-{cores}c"] = count
        devices.append({**npu, "name": f"{chip} {template}", "count": count, "slice": template})
    versions = {"vendor": "Ascend", "version": driver, "libraryVersion": driver, "toolkit": cann}
    return Part(_npu_labels(chip, driver), resources, tuple(devices), versions, (NPU_TAINT,))


def _gpu_labels(product: str, gpus: int, shared_by: int, driver: str, cuda: str) -> dict[str, str]:
    known = GPUS[product]
    major, _, minor = known.compute_capability.partition(".")
    parts = (*driver.split("."), "0", "0")
    label = product.replace(" ", "-")
    return {
        "nvidia.com/cuda.driver-version.full": driver,
        "nvidia.com/cuda.driver-version.major": parts[0],
        "nvidia.com/cuda.driver-version.minor": parts[1],
        "nvidia.com/cuda.driver-version.revision": parts[2],
        "nvidia.com/cuda.runtime-version.full": cuda,
        "nvidia.com/cuda.runtime-version.major": cuda.partition(".")[0],
        "nvidia.com/cuda.runtime-version.minor": cuda.partition(".")[2],
        "nvidia.com/gpu.compute.major": major,
        "nvidia.com/gpu.compute.minor": minor,
        "nvidia.com/gpu.count": str(gpus or 1),
        "nvidia.com/gpu.family": known.family,
        "nvidia.com/gpu.memory": str(known.memory_mebibytes),
        "nvidia.com/gpu.mode": "compute",
        "nvidia.com/gpu.present": "true",
        "nvidia.com/gpu.product": f"{label}-SHARED" if shared_by > 1 else label,
        "nvidia.com/gpu.replicas": str(shared_by),
        "nvidia.com/gpu.sharing-strategy": "time-slicing" if shared_by > 1 else "none",
        "nvidia.com/mig.capable": str(known.has_mig).lower(),
        "nvidia.com/mig.strategy": "none",
    }


def _slice_labels(product: str, profile: str, count: int, memory_bytes: int) -> dict[str, str]:
    prefix = f"nvidia.com/mig-{profile}"
    return {
        f"{prefix}.count": str(count),
        f"{prefix}.memory": str(memory_bytes // MIB),
        f"{prefix}.product": f"{product.replace(' ', '-')}-MIG-{profile}",
        f"{prefix}.replicas": "1",
        f"{prefix}.sharing-strategy": "none",
        f"{prefix}.slices.gi": profile.partition("g.")[0],
    }


def _npu_labels(chip: str, driver: str) -> dict[str, str]:
    known = NPUS[chip]
    name, memory = chip.removeprefix("Ascend"), f"{-(-known.memory_mebibytes // 1024)}G"
    return {
        "accelerator": known.accelerator,
        "servertype": known.server,
        "workerselector": "dls-worker-node",
        "node.kubernetes.io/npu.chip.name": name,
        "mind-cluster/npu-chip-memory": memory,
        "huawei.com/driver.version": driver,
        "huawei.com/npu.chip.name": name,
        "huawei.com/npu.chip.memory": memory,
        "huawei.com/npu.server.type": known.server,
        "huawei.com/npu.driver.version": driver,
    }
