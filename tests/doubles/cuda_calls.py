"""The functions of `cuda.bindings.runtime` that the engines call, on GPUs that exist in this process alone.

Each has the parameters of the published one and returns a tuple that begins with the error. Copies between pageable
memory and a device behave as CUDA documents: into the device the bytes are taken at once, out of it the call waits for
the stream.

Source:
    CUDA Runtime API, "API synchronization behavior"; names as in `published/`.
"""

from __future__ import annotations

import ctypes
from enum import IntEnum
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from doubles.device_memory import IllegalAddress, OutOfMemory
from doubles.gpus import MACHINE, Gpu, Stream

OWNER: Final = "cudaMalloc"
cudaStreamNonBlocking: Final = 1


class cudaError_t(IntEnum):
    """Errors, with CUDA's numbers."""

    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorInvalidDevice = 101
    cudaErrorIllegalAddress = 700


class cudaMemcpyKind(IntEnum):
    """Directions."""

    cudaMemcpyHostToHost = 0
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class cudaDeviceAttr(IntEnum):
    """Facts of a device."""

    cudaDevAttrComputeCapabilityMajor = 75
    cudaDevAttrComputeCapabilityMinor = 76


class cudaStream_t:
    """The handle of a stream."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __int__(self) -> int:
        return self._handle


TEXTS: Final = {
    cudaError_t.cudaSuccess: "no error",
    cudaError_t.cudaErrorInvalidValue: "invalid argument",
    cudaError_t.cudaErrorMemoryAllocation: "out of memory",
    cudaError_t.cudaErrorNoDevice: "no CUDA-capable device is detected",
    cudaError_t.cudaErrorInvalidDevice: "invalid device ordinal",
    cudaError_t.cudaErrorIllegalAddress: "an illegal memory access was encountered",
}
SUCCESS: Final = cudaError_t.cudaSuccess


def cudaGetDeviceCount() -> tuple[cudaError_t, int]:
    _need_driver()
    return (SUCCESS, len(MACHINE.gpus)) if MACHINE.gpus else (_failed(cudaError_t.cudaErrorNoDevice), 0)


def cudaSetDevice(device: int) -> tuple[cudaError_t]:
    _need_driver()
    if not 0 <= device < len(MACHINE.gpus):
        return (_failed(cudaError_t.cudaErrorInvalidDevice),)
    MACHINE.current = device
    return (SUCCESS,)


def cudaGetDeviceProperties(device: int) -> tuple[cudaError_t, Any]:
    return SUCCESS, SimpleNamespace(name=MACHINE.gpus[device].name.encode())


def cudaDeviceGetAttribute(attr: cudaDeviceAttr, device: int) -> tuple[cudaError_t, int]:
    if not isinstance(attr, cudaDeviceAttr):
        raise TypeError(f"attr must be cudaDeviceAttr, got {type(attr).__name__}")
    capability = MACHINE.gpus[device].capability
    return SUCCESS, capability[attr - cudaDeviceAttr.cudaDevAttrComputeCapabilityMajor]


def cudaMalloc(size: int) -> tuple[cudaError_t, int]:
    gpu = _working()
    if gpu is None:
        return _failed(cudaError_t.cudaErrorIllegalAddress), 0
    if size == 0:
        return SUCCESS, 0
    try:
        return SUCCESS, MACHINE.memory.allocate(size, MACHINE.current, OWNER, gpu.memory_bytes)
    except OutOfMemory:
        return _failed(cudaError_t.cudaErrorMemoryAllocation), 0


def cudaFree(devPtr: int) -> tuple[cudaError_t]:
    if _working() is None:
        return (_failed(cudaError_t.cudaErrorIllegalAddress),)
    try:
        # It waits for the device first.
        for stream in MACHINE.streams.values():
            _finish(stream)
        MACHINE.memory.free(devPtr, OWNER)
    except IllegalAddress:
        return (_failed(cudaError_t.cudaErrorInvalidValue),)
    return (SUCCESS,)


def cudaMemGetInfo() -> tuple[cudaError_t, int, int]:
    total = MACHINE.gpus[MACHINE.current].memory_bytes
    return SUCCESS, total - MACHINE.memory.used_bytes(MACHINE.current), total


def cudaStreamCreateWithFlags(flags: int) -> tuple[cudaError_t, cudaStream_t]:
    assert flags == cudaStreamNonBlocking
    return SUCCESS, cudaStream_t(MACHINE.open_stream())


def cudaStreamSynchronize(stream: cudaStream_t) -> tuple[cudaError_t]:
    found = MACHINE.streams.get(int(stream))
    if found is None:
        return (_failed(cudaError_t.cudaErrorInvalidValue),)
    _finish(found)
    if MACHINE.gpus[found.gpu].broken:
        return (_failed(cudaError_t.cudaErrorIllegalAddress),)
    return (SUCCESS,)


def cudaStreamDestroy(stream: cudaStream_t) -> tuple[cudaError_t]:
    if MACHINE.streams.pop(int(stream), None) is None:
        return (_failed(cudaError_t.cudaErrorInvalidValue),)
    return (SUCCESS,)


def cudaMemcpyAsync(dst: int, src: int, count: int, kind: cudaMemcpyKind, stream: cudaStream_t) -> tuple[cudaError_t]:
    if not isinstance(kind, cudaMemcpyKind):
        raise TypeError(f"kind must be cudaMemcpyKind, got {type(kind).__name__}")
    found = MACHINE.streams.get(int(stream))
    directions = {
        (False, True): cudaMemcpyKind.cudaMemcpyHostToDevice,
        (True, False): cudaMemcpyKind.cudaMemcpyDeviceToHost,
    }
    if found is None or directions.get((MACHINE.memory.holds(src), MACHINE.memory.holds(dst))) != kind:
        return (_failed(cudaError_t.cudaErrorInvalidValue),)
    # A stream of another device than the thread's cannot be given work.
    if found.gpu != MACHINE.current:
        return (_failed(cudaError_t.cudaErrorInvalidDevice),)
    if kind == cudaMemcpyKind.cudaMemcpyHostToDevice:
        taken = np.frombuffer(ctypes.string_at(src, count), dtype=np.uint8)
        found.work.append(lambda: _write(dst, taken, found.gpu))
        return (SUCCESS,)
    _finish(found)
    try:
        ctypes.memmove(dst, MACHINE.memory.view(src, count, found.gpu).ctypes.data, count)
    except IllegalAddress:
        return (_failed(cudaError_t.cudaErrorInvalidValue),)
    return (_failed(cudaError_t.cudaErrorIllegalAddress) if MACHINE.gpus[found.gpu].broken else SUCCESS,)


def cudaGetLastError() -> tuple[cudaError_t]:
    error, MACHINE.last_error = MACHINE.last_error, None
    return (error or SUCCESS,)


def cudaGetErrorName(error: cudaError_t) -> tuple[cudaError_t, bytes]:
    return SUCCESS, error.name.encode()


def cudaGetErrorString(error: cudaError_t) -> tuple[cudaError_t, bytes]:
    return SUCCESS, TEXTS[error].encode()


def _write(address: int, taken: Any, gpu: int) -> None:
    MACHINE.memory.view(address, taken.size, gpu)[:] = taken


def _finish(stream: Stream) -> None:
    while stream.work:
        try:
            stream.work.popleft()()
        except IllegalAddress:
            MACHINE.gpus[stream.gpu].broken = True
            stream.work.clear()


def _failed(error: cudaError_t) -> cudaError_t:
    MACHINE.last_error = error
    return error


def _working() -> Gpu | None:
    gpu = MACHINE.gpus[MACHINE.current]
    return None if gpu.broken else gpu


def _need_driver() -> None:
    if not MACHINE.driver:
        raise RuntimeError("Failed to dlopen libcuda.so.1")


def finish_stream(handle: int) -> None:
    """Do all the work of a stream, as a kernel of it would wait for what was asked before."""
    _finish(MACHINE.streams[handle])
