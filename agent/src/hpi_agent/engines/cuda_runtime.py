"""One NVIDIA GPU through the CUDA runtime: its name, its memory, its streams. Sole importer of cuda-python.

Every call is checked, and a failure names the call. Memory of the host is not pinned: a caller's array is copied from
where it lies, and an answer to where the caller will keep it. Pinned memory is four times as fast over the bus and
needs one more copy on the host, from or to the caller's array, which costs more than that saves: 27 MB to an H100 take
1.9 ms as they lie and 3.2 ms through pinned memory, 2.0 and 3.2 ms back.

Source:
    CUDA Runtime API, device, error, stream and memory management, and the signatures of cuda-python 11.8.3,
    12.6.0 (`cuda.cudart`), 12.8.0, 12.9.10 and 13.5.0 (`cuda.bindings.runtime`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_core.errors import EngineFailed, Refused

Capability = tuple[int, int]
"""Compute capability: (9, 0) is that of an H100."""

SMALLEST_BYTES: Final = 256
"""Least that is allocated: CUDA gives no address for nothing, and aligns to this."""


@dataclass(frozen=True)
class DeviceFacts:
    """What a plan is made for."""

    name: str
    """Product, with the slice where the device is one: `NVIDIA A100-SXM4-40GB MIG 1g.5gb`."""
    capability: Capability


class CudaDevice:
    """One GPU. What belongs to it is used by threads that have selected it."""

    def __init__(self, index: int) -> None:
        """Select a device for the calling thread.

        Args:
            index: Its number among those that this process sees.

        Raises:
            Refused: There is no such device.
            EngineFailed: There is no driver, or it is older than the runtime, or the device cannot be used.
        """
        self._runtime = import_cuda_runtime()
        self.index: Final = index
        count = self._call("cudaGetDeviceCount")
        if not 0 <= index < count:
            raise Refused(f"gpu:{index} is not there: this process sees {count} GPU(s), numbered from 0")
        self.select()
        attribute = self._runtime.cudaDeviceAttr
        self.facts: Final = DeviceFacts(
            self._call("cudaGetDeviceProperties", index).name.decode(),
            (
                self._call("cudaDeviceGetAttribute", attribute.cudaDevAttrComputeCapabilityMajor, index),
                self._call("cudaDeviceGetAttribute", attribute.cudaDevAttrComputeCapabilityMinor, index),
            ),
        )

    def select(self) -> None:
        """Make this the device of the calling thread, which begins with device 0."""
        self._call("cudaSetDevice", self.index)

    def allocate(self, nbytes: int) -> int:
        """Return the address of new memory.

        Raises:
            EngineFailed: There is not enough; the text has the sizes.
        """
        size = max(nbytes, SMALLEST_BYTES)
        try:
            address = self._call("cudaMalloc", size)
        except EngineFailed as error:
            free, total = self._call("cudaMemGetInfo")
            raise EngineFailed(
                f"gpu:{self.index} gives no {size} bytes, {free} of {total} are free: {error}; narrow the shapes to "
                "compile for, or give this process more of the device"
            ) from error
        return int(address)

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cudaFree", address)

    def create_stream(self) -> Any:
        """Return a new stream; `int()` of it is its handle."""
        # The default stream would wait for those of every other engine of this process.
        return self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking)

    def synchronize(self, stream: Any) -> None:
        """Wait for all that was asked of a stream.

        Raises:
            EngineFailed: Something of it failed, perhaps long ago.
        """
        self._call("cudaStreamSynchronize", stream)

    def destroy_stream(self, stream: Any) -> None:
        """Give a stream back."""
        self._call("cudaStreamDestroy", stream)

    def copy_in(self, address: int, array: NDArray[Any], stream: Any) -> None:
        """Copy a contiguous array to the device; it may be changed as soon as this returns."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(address, array.ctypes.data, array.nbytes, kind, stream)

    def copy_out(self, array: NDArray[np.generic], address: int, stream: Any) -> None:
        """Fill a contiguous array from the device; complete once the stream is synchronized."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(array.ctypes.data, address, array.nbytes, kind, stream)

    def _copy(self, target: int, source: int, nbytes: int, kind: Any, stream: Any) -> None:
        # An empty array has no address that CUDA would know.
        if nbytes:
            self._call("cudaMemcpyAsync", target, source, nbytes, kind, stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the runtime and return what it gives beside its error: nothing, a value, or a tuple."""
        try:
            error, *values = getattr(self._runtime, name)(*arguments)
        except RuntimeError as failure:
            # What cuda-python raises where libcuda.so.1 is not there or lacks a function.
            raise EngineFailed(
                f"{name} cannot be called: {failure}; install the NVIDIA driver, or let this container see it"
            ) from failure
        if error != self._runtime.cudaError_t.cudaSuccess:
            raise EngineFailed(f"{name} failed: {self._describe(error)}")
        return values[0] if len(values) == 1 else tuple(values)

    def _describe(self, error: Any) -> str:
        # Read, so that the next call of whoever shares this thread does not find it.
        self._runtime.cudaGetLastError()
        _, name = self._runtime.cudaGetErrorName(error)
        _, text = self._runtime.cudaGetErrorString(error)
        return f"{name.decode()} ({text.decode()})"


class DeviceBuffer:
    """Memory of a device that grows and never shrinks."""

    def __init__(self, device: CudaDevice, nbytes: int = 0) -> None:
        self._device = device
        self.capacity_bytes = 0
        self.address = 0
        self.reserve(nbytes)

    def reserve(self, nbytes: int) -> int:
        """Return the address of at least so many bytes; what lay there is lost when it had to grow."""
        if nbytes > self.capacity_bytes or not self.address:
            self.free()
            self.address = self._device.allocate(nbytes)
            self.capacity_bytes = max(nbytes, SMALLEST_BYTES)
        return self.address

    def free(self) -> None:
        """Give the memory back; a second call does nothing."""
        address, self.address, self.capacity_bytes = self.address, 0, 0
        if address:
            self._device.free(address)


def import_cuda_runtime() -> Any:
    """Import the runtime of cuda-python, which has lain in `cuda.bindings` since 12.8 and in `cuda` before."""
    try:
        from cuda.bindings import runtime
    except ModuleNotFoundError as error:
        # Another name is missing inside a layout that is there.
        if error.name not in ("cuda", "cuda.bindings", "cuda.bindings.runtime"):
            raise
        from cuda import cudart as runtime
    return runtime
