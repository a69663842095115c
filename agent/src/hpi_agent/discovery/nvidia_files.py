"""What files say of NVIDIA's driver and GPUs: enough to tell a broken installation from none, too little to choose by.

    /proc/driver/nvidia/version    NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar ...
                                   NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  555.42.06  Release Build ...
    /sys/module/nvidia/version     550.54.15
    /proc/driver/nvidia/gpus/<address>/information
                                   Model, GPU UUID, Bus Location, Device Minor, one `name: value` a line
    /proc/driver/nvidia/capabilities/gpu<minor>/mig/gi<n>/ci<m>/access
                                   one for each MIG compute instance
    /dev/nvidia<minor>             there when the GPU is given to this process
    libnvidia-ml.so.1 -> libnvidia-ml.so.550.54.15

All containers of a host see its /proc/driver/nvidia; what they may use is known by /dev and the library alone.

Source:
    NVIDIA open-gpu-kernel-modules, kernel-open/nvidia/nv-procfs.c; NVIDIA/nvidia-container-toolkit,
    internal/info/proc/devices and internal/nvcaps; NVIDIA MIG User Guide, "Device Nodes and Capabilities".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hpi_agent.discovery.device_signs import NVIDIA_LIBRARY, library_directory
from hpi_agent.discovery.lenient_files import LenientFiles, word
from hpi_agent.profile import MigSlice, NvidiaGpu

VERSION_FILE: Final = "/proc/driver/nvidia/version"
MODULE_FILE: Final = "/sys/module/nvidia/version"
GPU_DIRECTORY: Final = "/proc/driver/nvidia/gpus"
CAPABILITIES_DIRECTORY: Final = "/proc/driver/nvidia/capabilities"
MAX_GPUS: Final = 256
"""Most GPUs that are looked at."""

_KERNEL_VERSION: Final = re.compile(r"Kernel Module(?: for \S+)?[ \t]+([0-9]{2,5}(?:\.[0-9]{1,5}){1,3})\b")
_NODE: Final = re.compile(r"nvidia([0-9]{1,4})")
_ADDRESS: Final = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", re.IGNORECASE)
_UUID: Final = re.compile(r"(?:GPU|MIG)-[0-9A-Za-z/-]{1,90}")
_LIBRARY_FILE: Final = re.compile(r"libnvidia-ml\.so\.([0-9]{2,5}(?:\.[0-9]{1,5}){1,3})")
_INSTANCE: Final = {name: re.compile(rf"{name}[0-9]{{1,4}}") for name in ("gi", "ci")}


@dataclass(frozen=True)
class NvidiaFiles:
    """What files say."""

    kernel_version: str | None
    library_version: str | None
    library_directory: str | None
    """Where the library lies, as a host path; None: see `device_signs`."""
    minors: frozenset[int]
    """Numbers of the device files that are there."""
    listed: tuple[tuple[int | None, NvidiaGpu], ...]
    """The GPUs of the machine by address, each with the number of its device file, whether or not that is there."""

    @property
    def given(self) -> tuple[tuple[int | None, NvidiaGpu], ...]:
        """The GPUs whose device file is there."""
        return tuple((minor, gpu) for minor, gpu in self.listed if minor in self.minors)


def read_nvidia_files(files: LenientFiles, device_names: Sequence[str]) -> NvidiaFiles | None:
    """Return what files say, or None when there is no sign of a driver, a library or a GPU.

    Args:
        files: The host.
        device_names: The names in /dev.
    """
    kernel_version = _kernel_version(files)
    minors = frozenset(int(match[1]) for match in map(_NODE.fullmatch, device_names) if match)
    directory = library_directory(files)
    if kernel_version is None and not minors and directory is None:
        return None
    library = (
        None if directory is None else _LIBRARY_FILE.fullmatch(files.resolved_name(f"{directory}/{NVIDIA_LIBRARY}"))
    )
    return NvidiaFiles(
        kernel_version=kernel_version,
        library_version=None if library is None else library[1],
        library_directory=directory,
        minors=minors,
        listed=_listed(files),
    )


def address(text: str) -> str | None:
    """Return a PCI address as Linux spells it, `0000:3b:00.0`; NVML writes `00000000:3B:00.0`. None: it is none."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        return None
    domain, bus, device, function = match.groups()
    return f"{int(domain, 16):04x}:{bus}:{device}.{function}".lower()


def uuid(text: str) -> str | None:
    """Return a UUID of a GPU or a slice, or None: the driver writes question marks for a GPU it has not started yet."""
    return text.strip() if _UUID.fullmatch(text.strip()) else None


def _kernel_version(files: LenientFiles) -> str | None:
    text = files.text(VERSION_FILE)
    match = None if text is None else _KERNEL_VERSION.search(text)
    if match is not None:
        return match[1]
    module = files.text(MODULE_FILE)
    return files.version(MODULE_FILE, None if module is None else module.strip())


def _listed(files: LenientFiles) -> tuple[tuple[int | None, NvidiaGpu], ...]:
    names = [name for name in files.names(GPU_DIRECTORY) if address(name) is not None]
    if len(names) > MAX_GPUS:
        files.note(f"{files.shown(GPU_DIRECTORY)} lists {len(names)} GPUs: only the first {MAX_GPUS} are looked at")
    return tuple(_gpu(files, index, name) for index, name in enumerate(names[:MAX_GPUS]))


def _gpu(files: LenientFiles, index: int, name: str) -> tuple[int | None, NvidiaGpu]:
    told = files.fields(f"{GPU_DIRECTORY}/{name}/information", ":")
    text = told.get("Device Minor", "")
    minor = int(text) if re.fullmatch("[0-9]{1,4}", text) else None
    slices = () if minor is None else _slices(files, minor)
    gpu = NvidiaGpu(
        index=index,
        product=word(told.get("Model", "")),
        uuid=uuid(told.get("GPU UUID", "")),
        pci_bus_id=address(name),
        mig_enabled=True if slices else None,
        mig_slices=slices,
    )
    return minor, gpu


def _slices(files: LenientFiles, minor: int) -> tuple[MigSlice, ...]:
    top = f"{CAPABILITIES_DIRECTORY}/gpu{minor}/mig"
    instances = [
        f"{gpu_instance}/{compute_instance}"
        for gpu_instance in files.names(top)
        if _INSTANCE["gi"].fullmatch(gpu_instance)
        for compute_instance in files.names(f"{top}/{gpu_instance}")
        if _INSTANCE["ci"].fullmatch(compute_instance)
    ]
    return tuple(MigSlice(index, None) for index in range(len(instances[:MAX_GPUS])))
