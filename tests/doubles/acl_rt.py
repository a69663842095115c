"""The functions of `acl.rt` that the engine calls: devices, contexts and memory."""

from __future__ import annotations

import ctypes
from typing import Final

from doubles.acl_module import ACL_ERROR_INVALID_PARAM, ACL_ERROR_UNINITIALIZE, failed, number
from doubles.device_memory import IllegalAddress, OutOfMemory
from doubles.npus import MACHINE

PUBLISHED: Final = (
    "get_device_count",
    "set_device",
    "create_context",
    "set_context",
    "destroy_context",
    "malloc",
    "free",
    "memcpy",
)
"""What a program sees of this module."""
OWNER: Final = "acl.rt.malloc"
ACL_ERROR_RT_PARAM_INVALID: Final = 107000
ACL_ERROR_RT_INVALID_DEVICEID: Final = 107001
ACL_ERROR_RT_CONTEXT_NULL: Final = 107002
ACL_ERROR_RT_MEMORY_ALLOCATION: Final = 207001
HOST_TO_DEVICE: Final = 1
DEVICE_TO_HOST: Final = 2


class Context:
    """One context of one device."""

    def __init__(self, device: int) -> None:
        self.device = device


def get_device_count() -> tuple[int, int]:
    return (MACHINE.count, 0) if MACHINE.initialised else (0, failed(ACL_ERROR_UNINITIALIZE, "acl is not initialized"))


def set_device(device_id: int, /) -> int:
    if not 0 <= number(device_id) < MACHINE.count:
        return failed(ACL_ERROR_RT_INVALID_DEVICEID, f"device id {device_id} is invalid")
    return 0


def create_context(device_id: int, /) -> tuple[int, int]:
    code = set_device(device_id)
    if code:
        return 0, code
    MACHINE.context = MACHINE.keep(Context(device_id))
    return MACHINE.context or 0, 0


def set_context(context: int, /) -> int:
    MACHINE.find(number(context), Context)
    MACHINE.context = context
    return 0


def destroy_context(context: int, /) -> int:
    MACHINE.drop(number(context), Context)
    return 0


def malloc(size: int, policy: int, /) -> tuple[int, int]:
    number(policy)
    device = current_device()
    if device is None:
        return 0, no_context()
    if number(size) == 0:
        return 0, failed(ACL_ERROR_INVALID_PARAM, "size must be greater than zero")
    try:
        return MACHINE.memory.allocate(size, device, OWNER, MACHINE.memory_bytes), 0
    except OutOfMemory:
        return 0, failed(ACL_ERROR_RT_MEMORY_ALLOCATION, f"malloc device memory failed, size={size}")


def free(dev_ptr: int, /) -> int:
    try:
        MACHINE.memory.free(number(dev_ptr), OWNER)
    except IllegalAddress:
        return failed(ACL_ERROR_RT_PARAM_INVALID, f"{hex(dev_ptr)} was not allocated")
    return 0


def memcpy(dst: int, dest_max: int, src: int, count: int, kind: int, /) -> int:
    device = current_device()
    if device is None:
        return no_context()
    directions = {(False, True): HOST_TO_DEVICE, (True, False): DEVICE_TO_HOST}
    direction = directions.get((MACHINE.memory.holds(number(src)), MACHINE.memory.holds(number(dst))))
    if direction != number(kind) or number(count) > number(dest_max) or count == 0:
        return failed(ACL_ERROR_INVALID_PARAM, f"memcpy of {count} bytes to at most {dest_max}, kind {kind}")
    try:
        if kind == HOST_TO_DEVICE:
            ctypes.memmove(MACHINE.memory.view(dst, count, device).ctypes.data, src, count)
        else:
            ctypes.memmove(dst, MACHINE.memory.view(src, count, device).ctypes.data, count)
    except IllegalAddress as error:
        return failed(ACL_ERROR_RT_PARAM_INVALID, f"no memory: {error}")
    return 0


def current_device() -> int | None:
    """Return the device of the calling thread's context."""
    return None if MACHINE.context is None else int(MACHINE.find(MACHINE.context, Context).device)


def no_context() -> int:
    """Return what a call without a context gives."""
    return failed(ACL_ERROR_RT_CONTEXT_NULL, "ctx is NULL")
