"""The driver library of NVIDIA, `libcuda.so.1`, as far as `nvidia_driver` calls it: a few GPUs that nobody has here.

Source:
    CUDA Driver API, sections "Initialization", "Device Management" and "Error Handling" (cuda.h of CUDA 12 and 13).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

INVALID_VALUE: Final = 1
NOT_INITIALIZED: Final = 3
NO_DEVICE: Final = 100
INVALID_DEVICE: Final = 101
ERRORS: Final = {
    1: b"invalid argument",
    3: b"initialization error",
    100: b"no CUDA-capable device is detected",
    101: b"invalid device ordinal",
    999: b"unknown error",
}
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76


@dataclass(frozen=True)
class PlayedGpu:
    """One GPU."""

    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int


class DoubleOfCudaDriver:
    """What `ctypes.CDLL("libcuda.so.1")` gives."""

    def __init__(self, gpus: Sequence[PlayedGpu], broken: int = 0) -> None:
        """Play a driver.

        Args:
            gpus: The devices, in order.
            broken: The code that `cuInit` returns; 0: it works.
        """
        self._gpus = gpus
        self._broken = broken
        self._ready = False

    def cuInit(self, flags: int) -> int:
        if flags != 0:
            return INVALID_VALUE
        code = self._broken or (0 if self._gpus else NO_DEVICE)
        self._ready = code == 0
        return code

    def cuDeviceGetCount(self, count: Any) -> int:
        return self._write(count, ctypes.c_int, len(self._gpus))

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        if not 0 <= ordinal < len(self._gpus):
            return INVALID_DEVICE
        # A handle is a number of its own, not the ordinal.
        return self._write(device, ctypes.c_int, ordinal + 7)

    def cuDeviceGetName(self, name: Any, length: int, device: ctypes.c_int) -> int:
        gpu = self._gpu(device)
        if gpu is None:
            return INVALID_DEVICE
        name.value = gpu.name.encode()[: length - 1]
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: ctypes.c_int) -> int:
        gpu = self._gpu(device)
        return INVALID_DEVICE if gpu is None else self._write(size, ctypes.c_size_t, gpu.memory_bytes)

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: ctypes.c_int) -> int:
        gpu = self._gpu(device)
        if gpu is None:
            return INVALID_DEVICE
        if attribute not in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
            return INVALID_VALUE
        return self._write(value, ctypes.c_int, gpu.compute_capability[attribute - CAPABILITY_MAJOR])

    def cuGetErrorString(self, code: int, text: Any) -> int:
        return self._write(text, ctypes.c_char_p, ERRORS[code]) if code in ERRORS else INVALID_VALUE

    def _gpu(self, device: ctypes.c_int) -> PlayedGpu | None:
        place = device.value - 7
        return self._gpus[place] if self._ready and 0 <= place < len(self._gpus) else None

    def _write(self, reference: Any, kind: type[Any], value: Any) -> int:
        # What `byref` made: the library would write through the pointer.
        target = reference._obj
        if not isinstance(target, kind):
            return INVALID_VALUE
        if kind is not ctypes.c_char_p and not self._ready:
            return NOT_INITIALIZED
        target.value = value
        return 0
