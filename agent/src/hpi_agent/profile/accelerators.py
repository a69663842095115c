"""Facts of NVIDIA GPUs and Ascend NPUs, their drivers and toolkits. None stands for what could not be found out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class NvidiaDriver:
    """The two halves of NVIDIA's driver, of which a container brings neither: both come from the host."""

    version: str | None = None
    """Of the kernel module, such as `550.54.15`; None: it is not loaded."""
    library_version: str | None = None
    """Of `libnvidia-ml.so.1`; None: no such library. Nothing works where it differs from `version`."""
    cuda_version: str | None = None
    """Newest CUDA that the driver serves, such as `12.4`."""


@dataclass(frozen=True)
class MigSlice:
    """One compute instance of a GPU in MIG mode: what CUDA counts as a device."""

    index: int
    """Number among the slices of its GPU, from 0."""
    profile: str | None
    """Name of its profile, such as `1g.10gb` or `1c.3g.20gb`."""
    uuid: str | None = None
    """What `CUDA_VISIBLE_DEVICES` takes, such as `MIG-<uuid>`."""
    memory_bytes: int | None = None


@dataclass(frozen=True)
class NvidiaGpu:
    """One GPU."""

    index: int
    """Number as NVML counts, by PCI address, from 0."""
    product: str | None
    """The vendor's name, such as `NVIDIA A100-SXM4-40GB`."""
    uuid: str | None = None
    pci_bus_id: str | None = None
    """Domain, bus, device and function, such as `0000:3b:00.0`."""
    compute_capability: str | None = None
    """Such as `8.0`."""
    memory_bytes: int | None = None
    """All of it, whoever uses it."""
    mig_enabled: bool | None = None
    """Whether it computes through slices alone. None: it has no such mode, or it is not known."""
    mig_slices: tuple[MigSlice, ...] = ()
    """The slices that this process may see."""
    fault: str | None = None
    """Why it cannot compute; None: nothing speaks against it."""


@dataclass(frozen=True)
class GpuPart:
    """What CUDA counts as one device: a whole GPU, or a slice of one in MIG mode."""

    gpu: NvidiaGpu
    mig_slice: MigSlice | None = None

    @property
    def uuid(self) -> str | None:
        """What `CUDA_VISIBLE_DEVICES` takes to choose it."""
        return self.gpu.uuid if self.mig_slice is None else self.mig_slice.uuid

    @property
    def memory_bytes(self) -> int | None:
        """Memory of this part."""
        return self.gpu.memory_bytes if self.mig_slice is None else self.mig_slice.memory_bytes


@dataclass(frozen=True)
class AscendDriver:
    """The driver and firmware of Ascend NPUs, which a container gets from the host."""

    version: str | None = None
    """Such as `24.1.rc2`."""
    firmware_version: str | None = None
    """Such as `7.3.0.1.231`."""


@dataclass(frozen=True)
class Cann:
    """An installation of CANN, the toolkit that compiles and runs models on NPUs."""

    version: str | None
    """Such as `8.0.RC3`."""
    package: Literal["toolkit", "nnrt", "nnae"]
    """`toolkit` compiles and runs; `nnrt` and `nnae` run."""
    directory: str
    """Where it lies, as a path of this program's own view."""


@dataclass(frozen=True)
class AscendNpu:
    """One NPU as the runtime counts them: one chip, of which a card may hold several, or one vNPU."""

    index: int
    """Position among the NPUs of this process, by device number, from 0: PaddleX's `npu:0`."""
    chip: str | None
    """The SoC version as ATC takes it, such as `Ascend310P3` or `Ascend910B3`."""
    device_number: int | None = None
    """N of `/dev/davinciN`."""
    card: int | None = None
    """Number of the card, `npu-smi info -i`."""
    card_chip: int | None = None
    """Number of the chip on its card, `npu-smi info -c`."""
    pci_bus_id: str | None = None
    """Such as `0000:82:00.0`."""
    memory_bytes: int | None = None
    memory_kind: Literal["HBM", "DDR"] | None = None
    health: str | None = None
    """As npu-smi says: `OK`, `Warning`, `Alarm`, `Critical`."""
    template: str | None = None
    """Template of a vNPU, such as `vir04`; None: a whole chip."""
    fault: str | None = None
    """Why it cannot compute; None: nothing speaks against it."""


def gpu_parts(gpus: Iterable[NvidiaGpu]) -> tuple[GpuPart, ...]:
    """Return what can compute, in the order of NVML: a GPU in MIG mode counts as its slices, a faulty one not at all.

    CUDA itself shows a process one slice at most, and no whole GPU beside it: who wants another part than the first
    names its `uuid` in `CUDA_VISIBLE_DEVICES`.

    Source:
        NVIDIA Multi-Instance GPU User Guide, "CUDA Device Enumeration".
    """
    parts: list[GpuPart] = []
    for gpu in gpus:
        if gpu.fault is None and gpu.mig_enabled:
            parts += [GpuPart(gpu, mig_slice) for mig_slice in gpu.mig_slices]
        elif gpu.fault is None:
            parts.append(GpuPart(gpu))
    return tuple(parts)


def usable_npus(npus: Iterable[AscendNpu]) -> tuple[AscendNpu, ...]:
    """Return the NPUs that nothing speaks against, in their order."""
    return tuple(npu for npu in npus if npu.fault is None)
