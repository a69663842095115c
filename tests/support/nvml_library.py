"""A libnvidia-ml.so for tests: the C functions of NVML over GPUs that are made up, called by NVIDIA's own binding.

It keeps NVML's promises as far as discovery relies on them: handles for GPUs and slices, counts, text in the caller's
buffers, structures of the binding's layout, and a return code from every call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

MIB = 2**20


@dataclass
class Slice:
    """A MIG device."""

    name: str
    uuid: str
    memory_bytes: int


@dataclass
class Gpu:
    """A GPU; `slices` has one place for every slice it may have, None where there is none."""

    name: str = "NVIDIA A100-SXM4-40GB"
    uuid: str = "GPU-00000000-0000-0000-0000-000000000000"
    bus: str = "00000000:07:00.0"
    minor: int = 0
    capability: tuple[int, int] = (8, 0)
    memory_bytes: int = 40960 * MIB
    mig: bool | None = False
    slices: Sequence[Slice | None] = ()
    errors: Mapping[str, int] = field(default_factory=dict)
    """Return codes of functions that fail on this GPU, by name."""


class NvmlLibrary:
    """The loaded library. Functions that it lacks are named in `absent`."""

    def __init__(
        self, gpus: Sequence[Gpu], *, init: int = 0, count: int | None = None, absent: Sequence[str] = ()
    ) -> None:
        self._gpus = gpus
        self._init = init
        self._count = count
        self._absent = absent

    def __getattr__(self, name: str) -> Callable[..., int]:
        """Return a C function, as ctypes looks it up."""
        function: Callable[..., int] | None = None if name in self._absent else FUNCTIONS.get(name)
        if function is None:
            raise AttributeError(name)
        return lambda *arguments: function(self, *arguments)

    def init(self, flags: int) -> int:
        return self._init

    def driver_version(self, buffer: Any, length: Any) -> int:
        return write(buffer, "550.54.15")

    def nvml_version(self, buffer: Any, length: Any) -> int:
        return write(buffer, "12.550.54.15")

    def cuda_version(self, version: Any) -> int:
        return put(version, 12040)

    def count(self, count: Any) -> int:
        return put(count, len(self._gpus) if self._count is None else self._count)

    def handle(self, index: Any, device: Any) -> int:
        gpu = self._gpus[index.value % len(self._gpus)]
        return gpu.errors.get("nvmlDeviceGetHandleByIndex_v2") or hold(device, 1 + index.value % len(self._gpus))

    def name(self, device: Any, buffer: Any, length: Any) -> int:
        found = self._of(device)
        return self._fails(device, "nvmlDeviceGetName") or write(buffer, found.name)

    def uuid(self, device: Any, buffer: Any, length: Any) -> int:
        return self._fails(device, "nvmlDeviceGetUUID") or write(buffer, self._of(device).uuid)

    def pci(self, device: Any, info: Any) -> int:
        info._obj.busId = self._gpu(device).bus.encode()
        return self._fails(device, "nvmlDeviceGetPciInfo_v3")

    def minor(self, device: Any, minor: Any) -> int:
        return self._fails(device, "nvmlDeviceGetMinorNumber") or put(minor, self._gpu(device).minor)

    def memory(self, device: Any, memory: Any) -> int:
        memory._obj.total = self._of(device).memory_bytes
        return self._fails(device, "nvmlDeviceGetMemoryInfo")

    def capability(self, device: Any, major: Any, minor: Any) -> int:
        put(major, self._gpu(device).capability[0])
        put(minor, self._gpu(device).capability[1])
        return self._fails(device, "nvmlDeviceGetCudaComputeCapability")

    def mig_mode(self, device: Any, current: Any, pending: Any) -> int:
        mode = self._gpu(device).mig
        if mode is None:
            return int(pynvml.NVML_ERROR_NOT_SUPPORTED)
        put(pending, int(mode))
        return put(current, int(mode))

    def mig_count(self, device: Any, count: Any) -> int:
        return put(count, len(self._gpu(device).slices))

    def mig_handle(self, device: Any, index: Any, found: Any) -> int:
        if self._gpu(device).slices[index.value] is None:
            return int(pynvml.NVML_ERROR_NOT_FOUND)
        return hold(found, number(device) + 1000 * (1 + index.value))

    def _gpu(self, device: Any) -> Gpu:
        return self._gpus[number(device) % 1000 - 1]

    def _of(self, device: Any) -> Gpu | Slice:
        position = number(device) // 1000
        found = self._gpu(device).slices[position - 1] if position else self._gpu(device)
        assert found is not None
        return found

    def _fails(self, device: Any, function: str) -> int:
        return 0 if number(device) >= 1000 else self._gpu(device).errors.get(function, 0)


FUNCTIONS: dict[str, Callable[..., int]] = {
    "nvmlInitWithFlags": NvmlLibrary.init,
    "nvmlSystemGetDriverVersion": NvmlLibrary.driver_version,
    "nvmlSystemGetNVMLVersion": NvmlLibrary.nvml_version,
    "nvmlSystemGetCudaDriverVersion": NvmlLibrary.cuda_version,
    "nvmlDeviceGetCount_v2": NvmlLibrary.count,
    "nvmlDeviceGetHandleByIndex_v2": NvmlLibrary.handle,
    "nvmlDeviceGetName": NvmlLibrary.name,
    "nvmlDeviceGetUUID": NvmlLibrary.uuid,
    "nvmlDeviceGetPciInfo_v3": NvmlLibrary.pci,
    "nvmlDeviceGetMinorNumber": NvmlLibrary.minor,
    "nvmlDeviceGetMemoryInfo": NvmlLibrary.memory,
    "nvmlDeviceGetCudaComputeCapability": NvmlLibrary.capability,
    "nvmlDeviceGetMigMode": NvmlLibrary.mig_mode,
    "nvmlDeviceGetMaxMigDeviceCount": NvmlLibrary.mig_count,
    "nvmlDeviceGetMigDeviceHandleByIndex": NvmlLibrary.mig_handle,
}


def load(monkeypatch: pytest.MonkeyPatch, library: NvmlLibrary) -> Any:
    """Give NVIDIA's binding this library instead of the machine's, and return the binding."""
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return pynvml


def write(buffer: Any, text: str) -> int:
    """Write a text into the caller's buffer."""
    buffer.value = text.encode()
    return 0


def put(reference: Any, value: int) -> int:
    """Write a number where the caller wants it."""
    reference._obj.value = value
    return 0


def hold(reference: Any, value: int) -> int:
    """Write an opaque handle where the caller wants it."""
    ctypes.memmove(
        ctypes.addressof(reference._obj), ctypes.byref(ctypes.c_void_p(value)), ctypes.sizeof(ctypes.c_void_p)
    )
    return 0


def number(device: Any) -> int:
    """Return the number that a handle stands for."""
    return ctypes.cast(device, ctypes.c_void_p).value or 0
