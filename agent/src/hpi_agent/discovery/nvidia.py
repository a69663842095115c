"""NVIDIA's driver and GPUs: what NVML says beside what files say, and what a difference between both means.

Who sees one half of the driver alone is told which half is missing: the kernel module is the host's, the library comes
into a container with the container runtime, and a device file is what gives a GPU to a process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hpi_agent.discovery.device_signs import NVIDIA_LIBRARY
from hpi_agent.discovery.lenient_files import LenientFiles, word
from hpi_agent.discovery.nvidia_files import VERSION_FILE, NvidiaFiles, read_nvidia_files
from hpi_agent.discovery.nvml import ADVICE, CRASHED, HUNG, NO_BINDING, OTHER_ADVICE, NvmlAnswer, advice_on, read_nvml
from hpi_agent.profile import NvidiaDriver, NvidiaGpu

VISIBLE_DEVICES: Final = "NVIDIA_VISIBLE_DEVICES"
"""By which NVIDIA's container runtime is told what to give; `void` and an empty text ask for nothing at all."""
MISMATCH: Final = "NVML_ERROR_LIB_RM_VERSION_MISMATCH"

_Numbered = tuple[int | None, NvidiaGpu]
"""A GPU and the number of its device file."""


def read_nvidia(files: LenientFiles, device_names: Sequence[str]) -> tuple[NvidiaDriver | None, tuple[NvidiaGpu, ...]]:
    """Return the driver, None when there is no sign of one, and the GPUs that this process may see.

    Args:
        files: The host; what is broken becomes a note.
        device_names: The names in /dev.
    """
    seen = read_nvidia_files(files, device_names)
    if seen is None:
        return None, ()
    # Without a device file and without the library, NVML cannot answer.
    asked = bool(seen.minors) or seen.library_directory is not None
    answer = read_nvml(files, seen.library_directory) if asked else None
    if answer is not None and answer.error is None:
        gpus = _compared(seen.given, answer.gpus)
        _note_gpus(files, gpus)
    else:
        fault = _fault(seen, answer)
        gpus = tuple(replace(gpu, index=index, fault=fault) for index, (_, gpu) in enumerate(seen.given))
    if not gpus or answer is None or answer.error is not None:
        files.note(_trouble(files, seen, answer))
    told = answer or NvmlAnswer()
    driver = NvidiaDriver(
        version=seen.kernel_version or told.driver_version,
        library_version=seen.library_version or told.library_version,
        cuda_version=told.cuda_version,
    )
    return driver, gpus


def _fault(seen: NvidiaFiles, answer: NvmlAnswer | None) -> str | None:
    """Return what keeps every GPU from computing while NVML does not speak of them one by one."""
    if answer is not None and answer.error != NO_BINDING:
        return f"NVML does not answer ({answer.error})"
    if seen.kernel_version is None:
        return "the kernel module is not loaded"
    if seen.library_version is not None and seen.library_version != seen.kernel_version:
        return "kernel module and library differ"
    return f"there is no {NVIDIA_LIBRARY}" if seen.library_directory is None else None


def _compared(given: Sequence[_Numbered], told: Sequence[_Numbered]) -> tuple[NvidiaGpu, ...]:
    """Return NVML's GPUs, completed by what files say of those that it has lost."""
    known = {gpu.pci_bus_id for _, gpu in told} - {None}
    numbers = {minor for minor, _ in told} - {None}
    missed = [gpu for minor, gpu in given if gpu.pci_bus_id not in known and minor not in numbers]
    nameless = [gpu.index for _, gpu in told if gpu.fault is not None and gpu.pci_bus_id is None]
    if len(missed) == len(nameless):
        # NVML counts by address too, so the first that it cannot name is the first that it misses.
        lost = dict(zip(nameless, missed, strict=True))
        return tuple(
            replace(lost[gpu.index], index=gpu.index, fault=gpu.fault) if gpu.index in lost else gpu for _, gpu in told
        )
    gone = [replace(gpu, index=len(told) + position, fault=GONE) for position, gpu in enumerate(missed)]
    return (*(gpu for _, gpu in told), *gone)


GONE: Final = "NVML_ERROR_GPU_IS_LOST: NVML does not count it, though its device file is there"


def _trouble(files: LenientFiles, seen: NvidiaFiles, answer: NvmlAnswer | None) -> str:
    """Return why there is no GPU, or why NVML says nothing of those that files name."""
    kernel, library = seen.kernel_version, seen.library_version
    if answer is not None and answer.error in (HUNG, CRASHED):
        return answer.reason
    if kernel is None:
        return _without_module(files, seen)
    if not seen.minors:
        return _without_device(files, kernel)
    if answer is not None and answer.error is None:
        return f"NVML counts no GPU, though there are device files of {len(seen.minors)}; {OTHER_ADVICE}"
    if library is not None and library != kernel:
        return (
            f"NVIDIA's kernel module is version {kernel} and its library {library}: no GPU can be used until both are "
            f"the same; {ADVICE[MISMATCH]}"
        )
    if seen.library_directory is None:
        return (
            f"NVIDIA's kernel module {kernel} is loaded, but there is no {NVIDIA_LIBRARY}: no GPU can be used; "
            f"{ADVICE['NVML_ERROR_LIBRARY_NOT_FOUND']}"
        )
    if answer is not None:
        return answer.reason
    return (
        f"NVML is not asked, because {files.shown('/')} is not this machine's own root and holds no nvml.json: "
        "compute capability, memory and CUDA version of its GPUs are not known"
    )


def _without_module(files: LenientFiles, seen: NvidiaFiles) -> str:
    what = (
        f"{NVIDIA_LIBRARY} is there" if seen.library_directory is not None else "there are device files of NVIDIA GPUs"
    )
    return (
        f"{what}, but the kernel module nvidia is not loaded (no {files.shown(VERSION_FILE)}): no GPU can be used; "
        f"{ADVICE['NVML_ERROR_DRIVER_NOT_LOADED']}"
    )


def _without_device(files: LenientFiles, kernel: str) -> str:
    visible = files.environment(VISIBLE_DEVICES)
    why = "" if visible is None else f" ({VISIBLE_DEVICES}={word(visible) or ''})"
    return (
        f"NVIDIA's kernel module {kernel} is loaded, but this process was given no GPU{why}: there is no "
        f"{files.shown('/dev/nvidia')}<number>; ask for one where it has to compute on it (the limit nvidia.com/gpu of "
        "a pod, docker run --gpus)"
    )


def _note_gpus(files: LenientFiles, gpus: Sequence[NvidiaGpu]) -> None:
    for gpu in gpus:
        name = f"GPU {gpu.index} ({gpu.product or 'unknown product'}, {gpu.pci_bus_id or 'unknown address'})"
        if gpu.fault is not None:
            files.note(f"{name} cannot be used: {gpu.fault}; {advice_on(gpu.fault)}")
        elif gpu.mig_enabled and not gpu.mig_slices:
            files.note(
                f"{name} is in MIG mode and has no slice for this process: it cannot compute; make one (nvidia-smi mig "
                "-cgi ... -C), ask for one, or leave MIG mode (nvidia-smi -mig 0)"
            )
