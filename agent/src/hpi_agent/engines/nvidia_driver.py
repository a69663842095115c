"""Name the NVIDIA GPU that computes, through the driver's own library.

Every runtime on a GPU needs `libcuda.so.1`, and it numbers the devices as they all do; no Python package that wraps it
is part of every plugin variant, and five calls need none. Nothing here makes a context or takes memory of the device.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from hpi_core.errors import EngineFailed

LIBRARY: Final = "libcuda.so.1"
_NAME_BYTES: Final = 256
_NO_DEVICE: Final = 100
"""`CUDA_ERROR_NO_DEVICE`: what `cuInit` answers where `CUDA_VISIBLE_DEVICES` leaves none."""
_CAPABILITY_MAJOR: Final = 75
"""`CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` of cuda.h; the minor number is the next one."""
_CAPABILITY_MINOR: Final = 76
TF32_SINCE: Final = (8, 0)
"""First compute capability whose multipliers take TF32."""


class NoSuchGpu(EngineFailed):
    """The driver shows this process fewer GPUs than were asked for."""


@dataclass(frozen=True)
class Gpu:
    """One GPU, or one slice of it in MIG mode."""

    name: str
    """The vendor's name, such as `NVIDIA H100 80GB HBM3`."""
    compute_capability: tuple[int, int]
    memory_bytes: int
    """All of it, whoever uses it. Unit: bytes."""

    @property
    def has_tf32(self) -> bool:
        """Whether float32 can be multiplied in TF32 here; if not, it is multiplied in float32."""
        return self.compute_capability >= TF32_SINCE


def describe_gpu(index: int) -> Gpu:
    """Return the GPU that has a number in this process.

    Args:
        index: Number among the devices that this process sees (`CUDA_VISIBLE_DEVICES`), from 0.

    Raises:
        NoSuchGpu: The driver works and shows this process fewer devices.
        EngineFailed: The driver is not here or does not work.
    """
    driver = load_driver()
    count, device, major, minor = (ctypes.c_int() for _ in range(4))
    name, memory = ctypes.create_string_buffer(_NAME_BYTES), ctypes.c_size_t()
    started = driver.cuInit(0)
    if started != _NO_DEVICE:
        _check(driver, started, "cuInit")
        _check(driver, driver.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    if index >= count.value:
        raise NoSuchGpu(
            f"gpu:{index} was asked for, this process sees {count.value} NVIDIA GPU(s), counted from 0; ask for one of "
            "them, or give it another device"
        )
    _check(driver, driver.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    _check(driver, driver.cuDeviceGetName(name, _NAME_BYTES, device), "cuDeviceGetName")
    _check(driver, driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "cuDeviceTotalMem")
    for attribute, number in ((_CAPABILITY_MAJOR, major), (_CAPABILITY_MINOR, minor)):
        _check(driver, driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device), "cuDeviceGetAttribute")
    return Gpu(name.value.decode(errors="replace"), (major.value, minor.value), memory.value)


@cache
def load_driver() -> Any:
    """Return the driver's library.

    Raises:
        EngineFailed: It is not here.
    """
    try:
        return ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise EngineFailed(
            f"no driver of NVIDIA is here: {error}; run on a node that has one, in a container that was given the GPU"
        ) from error


def _check(driver: Any, code: int, call: str) -> None:
    if code == 0:
        return
    text = ctypes.c_char_p()
    # It knows its own codes alone.
    known = driver.cuGetErrorString(code, ctypes.byref(text)) == 0 and text.value is not None
    reason = (text.value or b"").decode(errors="replace") if known else "an unknown error"
    raise EngineFailed(f"the driver of NVIDIA fails in {call} with {code}: {reason}; see `hpi-agent detect`")
