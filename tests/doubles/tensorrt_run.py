"""The double of TensorRT's runtime: a plan is read, and computed on memory that the double of CUDA holds."""

from __future__ import annotations

import ctypes
import json
import threading
from typing import Any, Final

import numpy as np

from doubles.cuda_calls import finish_stream
from doubles.device_memory import OutOfMemory, read_array
from doubles.gpus import MACHINE
from doubles.onnx_graph import Graph, ShapeFailure
from doubles.tensorrt_build import MAGIC, this_device
from doubles.tensorrt_words import (
    NUMPY_TYPES,
    ONNX_TYPES,
    DataType,
    Dims,
    ExecutionContextAllocationStrategy,
    ILogger,
    IOutputAllocator,
    ProcessEnds,
    TensorIOMode,
    TensorLocation,
    checked,
    error,
    has_device,
)

CONTEXT_BYTES: Final = 4096


class Runtime:
    """Reads plans."""

    def __init__(self, logger: ILogger) -> None:
        self._logger = checked(logger, ILogger, "Runtime")
        if not has_device():
            error(logger, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._threads = 1

    @property
    def max_threads(self) -> int:
        return self._threads

    @max_threads.setter
    def max_threads(self, threads: int) -> None:
        self._threads = checked(threads, int, "max_threads")

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        content = bytes(memoryview(serialized_engine))
        if not content.startswith(MAGIC):
            raise ProcessEnds("a plan that TensorRT did not write")
        described, _, onnx = content[len(MAGIC) :].partition(b"\0")
        plan = json.loads(described)
        if {name: plan[name] for name in this_device()} != this_device():
            raise ProcessEnds("a plan of another release or another device")
        try:
            return ICudaEngine(self, self._logger, plan, Graph(onnx), len(onnx))
        except OutOfMemory:
            error(self._logger, "[defaultAllocator.cpp::allocate] Error Code 1: Cuda Runtime (out of memory)")
            return None


class _Holder:
    """Whoever holds memory of a device until nothing refers to it any more."""

    def __init__(self, nbytes: int, owner: str) -> None:
        self.gpu = MACHINE.current
        self._owner = owner
        # That of the machine it was made on: a test may have another by the time it is collected.
        self._memory = MACHINE.memory
        self._address = self._memory.allocate(nbytes, self.gpu, owner, MACHINE.gpus[self.gpu].memory_bytes)

    def __del__(self) -> None:
        # It has none where it found no room.
        if hasattr(self, "_address"):
            self._memory.free(self._address, self._owner)


class ICudaEngine(_Holder):
    """A plan that was read."""

    def __init__(self, runtime: Runtime, logger: ILogger, plan: dict[str, Any], graph: Graph, nbytes: int) -> None:
        super().__init__(nbytes, "weights")
        self.runtime, self.logger, self.plan, self.graph = runtime, logger, plan, graph
        outputs = {value.name for value in graph.outputs}
        self.inputs = {f"__{one.name}" if one.name in outputs else one.name: one for one in graph.inputs}
        self.outputs = {one.name: one for one in graph.outputs}

    @property
    def num_io_tensors(self) -> int:
        return len(self.inputs) + len(self.outputs)

    @property
    def device_memory_size_v2(self) -> int:
        return CONTEXT_BYTES

    def get_tensor_name(self, index: int) -> str:
        names: list[str] = [*self.inputs, *self.outputs]
        return names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return ONNX_TYPES[self._value(name).type.tensor_type.elem_type]

    def get_tensor_shape(self, name: str) -> Dims:
        dimensions = self._value(name).type.tensor_type.shape.dim
        return Dims(one.dim_value if one.HasField("dim_value") else -1 for one in dimensions)

    def get_tensor_location(self, name: str) -> TensorLocation:
        is_shape = name in self.outputs and self.graph.is_shape(name)
        return TensorLocation.HOST if is_shape else TensorLocation.DEVICE

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> IExecutionContext | None:
        assert strategy == ExecutionContextAllocationStrategy.STATIC
        try:
            return IExecutionContext(self)
        except OutOfMemory:
            error(
                self.logger, "IExecutionContext::IExecutionContext: Error Code 2: OutOfMemory (Requested size was 4096)"
            )
            return None

    def _value(self, name: str) -> Any:
        return self.inputs[name] if name in self.inputs else self.outputs[name]


class IExecutionContext(_Holder):
    """Computes one set of shapes after the other; by one thread at a time."""

    def __init__(self, engine: ICudaEngine) -> None:
        super().__init__(CONTEXT_BYTES, "context")
        self.engine = engine
        self._shapes = {
            name: tuple(engine.get_tensor_shape(name))
            for name in engine.inputs
            if -1 not in engine.get_tensor_shape(name)
        }
        self._addresses: dict[str, int] = {}
        self._allocators: dict[str, IOutputAllocator] = {}
        self._set_by: dict[str, int] = {}
        """The thread that set the shape or the address of each tensor last."""

    def set_input_shape(self, name: str, shape: Any) -> bool:
        self._set_by[name] = threading.get_ident()
        if not isinstance(shape, (tuple, list)):
            raise TypeError(f"set_input_shape(): incompatible function arguments: {shape!r}")
        if name not in self.engine.inputs:
            return self._refuse(f"setInputShape: {name} is not the name of an input tensor")
        [profile] = self.engine.plan["profiles"] or [{}]
        allowed = profile.get(name)
        smallest, _, largest = allowed or [list(self.engine.get_tensor_shape(name))] * 3
        if len(shape) != len(smallest) or not all(
            low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)
        ):
            return self._refuse(f"setInputShape: {name} {tuple(shape)} does not satisfy any optimization profiles")
        self._shapes[name] = tuple(int(size) for size in shape)
        return True

    def infer_shapes(self) -> list[str]:
        missing = [name for name in self.engine.inputs if name not in self._shapes]
        if not missing:
            self._write_shapes(self._output_shapes())
        return missing

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self.engine.inputs:
            return Dims(self._shapes.get(name, self.engine.get_tensor_shape(name)))
        return Dims(self._output_shapes()[name])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._set_by[name] = threading.get_ident()
        if name not in {*self.engine.inputs, *self.engine.outputs} or checked(memory, int, "set_tensor_address") == 0:
            return self._refuse(f"setTensorAddress: {name} takes no such address")
        self._addresses[name] = memory
        return True

    def set_output_allocator(self, name: str, output_allocator: IOutputAllocator) -> bool:
        checked(output_allocator, IOutputAllocator, "set_output_allocator")
        if name not in self.engine.outputs:
            return self._refuse(f"setOutputAllocator: {name} is not the name of an output tensor")
        self._allocators[name] = output_allocator
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if checked(stream_handle, int, "execute_async_v3") not in MACHINE.streams:
            raise ProcessEnds("a stream that is not there")
        if {self._set_by[name] for name in self._addresses} - {threading.get_ident()}:
            raise ProcessEnds("two threads in one context at once")
        if MACHINE.streams[stream_handle].gpu != self.gpu or MACHINE.current != self.gpu:
            return self._refuse("enqueueV3: Error Code 1: Cuda Runtime (invalid device)")
        if MACHINE.gpus[self.gpu].busy:
            return self._refuse("enqueueV3: Error Code 1: Cuda Runtime (too many resources requested for launch)")
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        outputs = self._output_shapes()
        for name in [*self.engine.inputs, *self.engine.outputs]:
            if name not in addresses and name not in self._allocators:
                return self._refuse(f"enqueueV3: Address is not set for tensor {name}")
        decided = [name for name in self._allocators if -1 in outputs[name]]
        if not decided:
            MACHINE.streams[stream_handle].work.append(lambda: self._compute_later(shapes, addresses))
            return True
        finish_stream(stream_handle)
        return self._compute(shapes, addresses)

    def _write_shapes(self, outputs: dict[str, tuple[int, ...]]) -> None:
        # What is computed on the host is written as soon as it is known, where an address is set.
        for name in set(self._addresses) & set(self.engine.outputs):
            if self.engine.get_tensor_location(name) == TensorLocation.HOST:
                feeds = {value.name: self._shapes[given] for given, value in self.engine.inputs.items()}
                array = self.engine.graph.compute(self.engine.graph.zeros(feeds), frozenset())[name]
                ctypes.memmove(self._addresses[name], array.tobytes(), array.nbytes)

    def _compute_later(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> None:
        self._compute(shapes, addresses)

    def _compute(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int]) -> bool:
        feeds = {}
        for name, value in self.engine.inputs.items():
            dtype = NUMPY_TYPES[self.engine.get_tensor_dtype(name)]
            nbytes = int(np.prod(shapes[name], dtype=np.int64)) * np.dtype(dtype).itemsize
            feeds[value.name] = read_array(MACHINE.memory.view(addresses[name], nbytes, self.gpu), dtype, shapes[name])
        flags = frozenset(self.engine.plan["flags"])
        for name, array in self.engine.graph.compute(feeds, flags).items():
            if name in self._allocators:
                address = self._allocate(name, array.nbytes)
                if address == 0:
                    return self._refuse(f"enqueueV3: Error Code 2: OutOfMemory (no memory for output {name})")
            else:
                address = addresses[name]
            if self.engine.get_tensor_location(name) == TensorLocation.HOST:
                ctypes.memmove(address, array.tobytes(), array.nbytes)
            elif array.nbytes:
                MACHINE.memory.view(address, array.nbytes, self.gpu)[:] = np.frombuffer(array.tobytes(), dtype=np.uint8)
            if name in self._allocators:
                self._allocators[name].notify_shape(name, Dims(array.shape))  # type: ignore[attr-defined]
        return True

    def _allocate(self, name: str, nbytes: int) -> int:
        # By position; the newer method where there is one. Whatever is no number is a failure.
        allocator: Any = self._allocators[name]
        newer = getattr(allocator, "reallocate_output_async", None)
        size = max(1, nbytes)
        given = allocator.reallocate_output(name, 0, size, 256) if newer is None else newer(name, 0, size, 256, 0)
        return given if isinstance(given, int) else 0

    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        names = {value.name: name for name, value in self.engine.inputs.items()}
        given = tuple((value.name, self._shapes[names[value.name]]) for value in self.engine.graph.inputs)
        try:
            shapes = self.engine.graph.infer(given)
        except ShapeFailure as failure:
            self._refuse(f"IExecutionContext::inferShapes: Error Code 7: Internal Error ({failure})")
            raise RuntimeError("Shape inference failed") from failure
        return dict(zip(self.engine.outputs, shapes, strict=True))

    def _refuse(self, text: str) -> bool:
        error(self.engine.logger, text)
        return False
