"""The outputs of an execution context of TensorRT: where each is written, and how it reaches the caller.

Source:
    TensorRT Developer Guide, "Dynamically Shaped Output"; NvInferRuntime.h, `IExecutionContext::setTensorAddress`,
    `IOutputAllocator`.
"""

from __future__ import annotations

import math
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec
from hpi_agent.engines.cuda_runtime import CudaDevice, DeviceBuffer
from hpi_core.errors import Bug, EngineFailed

UNKNOWN: Final = -1
"""How TensorRT writes a size that only the run itself will know."""


class Output(Protocol):
    """One output of one context."""

    def prepare(self) -> None:
        """Give TensorRT the place to write to; the shapes of all inputs are set."""

    def raise_failure(self) -> None:
        """Raise what went wrong while TensorRT asked for memory.

        Raises:
            EngineFailed: The device has too little.
        """

    def fetch(self, stream: Any) -> None:
        """Have the answer brought to the host, after the work that is on the stream."""

    def answer(self) -> NDArray[Any]:
        """Return the answer, which the caller owns; the stream is synchronized."""

    @property
    def capacity_bytes(self) -> int:
        """Memory of the device that it holds."""

    def close(self) -> None:
        """Free that memory."""


class DeviceOutput:
    """An output whose shape follows from those of the inputs."""

    def __init__(self, context: Any, spec: TensorSpec, device: CudaDevice, buffer: DeviceBuffer) -> None:
        self._context = context
        self._spec = spec
        self._device = device
        self._buffer = buffer
        self._shape: tuple[int, ...] = ()
        self._array: NDArray[Any] | None = None

    def prepare(self) -> None:
        """See `Output`."""
        self._shape = tuple(self._context.get_tensor_shape(self._spec.name))
        address = self._buffer.reserve(_size_bytes(self._shape, self._spec))
        if not self._context.set_tensor_address(self._spec.name, address):
            raise EngineFailed(f"output {self._spec.name!r} takes no address")

    def raise_failure(self) -> None:
        """See `Output`; its memory is asked for before."""

    def fetch(self, stream: Any) -> None:
        """See `Output`."""
        self._array = np.empty(self._shape, dtype=self._spec.dtype)
        self._device.copy_out(self._array, self._buffer.address, stream)

    def answer(self) -> NDArray[Any]:
        """See `Output`."""
        return _handed_over(self)

    @property
    def capacity_bytes(self) -> int:
        """See `Output`."""
        return self._buffer.capacity_bytes

    def close(self) -> None:
        """See `Output`."""
        self._buffer.free()
        self._context = None


class AllocatedOutput:
    """An output whose shape the values decide: TensorRT asks for memory while it computes, and then says the shape."""

    def __init__(self, context: Any, spec: TensorSpec, device: CudaDevice, buffer: DeviceBuffer, module: Any) -> None:
        self._spec = spec
        self._device = device
        self._buffer = buffer
        self._array: NDArray[Any] | None = None
        self._allocator = _make_allocator(module, buffer)
        if not context.set_output_allocator(spec.name, self._allocator):
            raise EngineFailed(f"output {spec.name!r} takes no allocator")

    def prepare(self) -> None:
        """See `Output`."""
        self._allocator.shape = self._allocator.failure = None

    def raise_failure(self) -> None:
        """See `Output`."""
        if self._allocator.failure is not None:
            raise EngineFailed(str(self._allocator.failure)) from self._allocator.failure

    def fetch(self, stream: Any) -> None:
        """See `Output`."""
        if self._allocator.shape is None:
            raise EngineFailed(f"TensorRT said no shape of output {self._spec.name!r}")
        array: NDArray[Any] = np.empty(self._allocator.shape, dtype=self._spec.dtype)
        if array.nbytes > self._buffer.capacity_bytes:
            raise EngineFailed(f"output {self._spec.name!r} has {array.nbytes} bytes, fewer were asked for")
        self._array = array
        self._device.copy_out(array, self._buffer.address, stream)

    def answer(self) -> NDArray[Any]:
        """See `Output`."""
        return _handed_over(self)

    @property
    def capacity_bytes(self) -> int:
        """See `Output`."""
        return self._buffer.capacity_bytes

    def close(self) -> None:
        """See `Output`."""
        self._buffer.free()


class HostOutput:
    """An output that TensorRT writes on the host, such as the shape of another tensor.

    It may write as soon as the shapes of the next call are set, so this memory never becomes a caller's.
    """

    capacity_bytes = 0

    def __init__(self, context: Any, spec: TensorSpec) -> None:
        self._context = context
        self._spec = spec
        self._shape: tuple[int, ...] = ()
        self._host: NDArray[Any] = np.empty(0, dtype=spec.dtype)

    def prepare(self) -> None:
        """See `Output`."""
        self._shape = tuple(self._context.get_tensor_shape(self._spec.name))
        if self._host.size < max(1, math.prod(self._shape)):
            # Never without an element: an empty array has no address.
            self._host = np.empty(max(1, math.prod(self._shape)), dtype=self._spec.dtype)
        if not self._context.set_tensor_address(self._spec.name, self._host.ctypes.data):
            raise EngineFailed(f"output {self._spec.name!r} takes no address")

    def raise_failure(self) -> None:
        """See `Output`; it needs no memory of the device."""

    def fetch(self, stream: Any) -> None:
        """See `Output`; it is on the host."""

    def answer(self) -> NDArray[Any]:
        """See `Output`."""
        answer: NDArray[Any] = self._host[: math.prod(self._shape)].reshape(self._shape).copy()
        return answer

    def close(self) -> None:
        """See `Output`."""
        self._context = None


def make_output(context: Any, engine: Any, spec: TensorSpec, device: CudaDevice, module: Any) -> Output:
    """Return an output of the kind that TensorRT wants; the inputs have their largest shapes.

    Raises:
        EngineFailed: The device has too little memory for it.
    """
    if engine.get_tensor_location(spec.name) == module.TensorLocation.HOST:
        return HostOutput(context, spec)
    shape = tuple(context.get_tensor_shape(spec.name))
    if UNKNOWN in shape:
        return AllocatedOutput(context, spec, device, DeviceBuffer(device), module)
    return DeviceOutput(context, spec, device, DeviceBuffer(device, _size_bytes(shape, spec)))


def _handed_over(output: DeviceOutput | AllocatedOutput) -> NDArray[Any]:
    """Return the array of an output, which forgets it."""
    array, output._array = output._array, None
    if array is None:
        raise Bug("an answer must be fetched before it is handed over")
    return array


def _size_bytes(shape: tuple[int, ...], spec: TensorSpec) -> int:
    return math.prod(shape) * np.dtype(spec.dtype).itemsize


def _make_allocator(module: Any, buffer: DeviceBuffer) -> Any:
    class Allocator(module.IOutputAllocator):  # type: ignore[misc]
        """What it raised would be printed by the bindings and lost."""

        def __init__(self) -> None:
            module.IOutputAllocator.__init__(self)
            self.shape: tuple[int, ...] | None = None
            self.failure: EngineFailed | None = None

        def reallocate_output(self, tensor_name: str, memory: int, size: int, alignment: int) -> int:
            """Return an address for so many bytes, 0 for a failure. CUDA's own alignment is enough for any tensor."""
            try:
                return buffer.reserve(size)
            except EngineFailed as error:
                self.failure = error
                return 0

        def reallocate_output_async(self, tensor_name: str, memory: int, size: int, alignment: int, stream: int) -> int:
            """Do the same; the releases of TensorRT 10 ask for the one or for the other."""
            return self.reallocate_output(tensor_name, memory, size, alignment)

        def notify_shape(self, tensor_name: str, shape: Any) -> None:
            """Keep the shape."""
            self.shape = tuple(shape)

    return Allocator()
