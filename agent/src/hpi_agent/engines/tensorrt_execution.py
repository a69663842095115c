"""A plan of TensorRT that is loaded, with the context and the memory it computes in.

Source:
    TensorRT Developer Guide, "Deserializing a Plan", "Performing Inference"; TensorRT Python API, "Runtime",
    "ICudaEngine", "IExecutionContext".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec
from hpi_agent.engines.cuda_runtime import CudaDevice, DeviceBuffer
from hpi_agent.engines.signature import LoadedTensor, Signature
from hpi_agent.engines.tensorrt_library import DTYPES, TensorRt
from hpi_agent.engines.tensorrt_outputs import Output, make_output
from hpi_core.errors import EngineFailed


class LoadedPlan:
    """A plan that was read, without memory to compute in.

    Attributes:
        engine: `ICudaEngine`.
        bytes: Length of the plan: about the memory of its weights. Unit: bytes.
    """

    def __init__(self, library: TensorRt, plan: memoryview, threads: int) -> None:
        """Read a plan.

        Raises:
            EngineFailed: TensorRT cannot read it.
        """
        self.library: Final = library
        self.bytes: Final = len(plan)
        mark = library.lines.mark()
        self._runtime: Any = library.make("Runtime")
        self._runtime.max_threads = threads
        self.engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise EngineFailed(library.lines.since(mark))

    @property
    def threads(self) -> int:
        """Threads of the host that it may use."""
        return int(self._runtime.max_threads)

    @property
    def context_bytes(self) -> int:
        """Memory of all intermediate results for the largest shapes. Unit: bytes."""
        # Counted in 64 bits since 10.1; the other is the only one of 10.0.
        name = "device_memory_size_v2" if hasattr(self.engine, "device_memory_size_v2") else "device_memory_size"
        return int(getattr(self.engine, name))

    def signature(self, names: Mapping[str, str]) -> Signature:
        """Return what the plan has of inputs and outputs.

        Args:
            names: What TensorRT calls each declared input, by its declared name.
        """
        declared = {engine_name: name for name, engine_name in names.items()}
        mode = self.library.module.TensorIOMode
        tensors: dict[Any, list[LoadedTensor]] = {mode.INPUT: [], mode.OUTPUT: []}
        for index in range(self.engine.num_io_tensors):
            name = self.engine.get_tensor_name(index)
            kind = self.engine.get_tensor_mode(name)
            known = {name, declared[name]} if kind == mode.INPUT and name in declared else {name}
            dtype = self.engine.get_tensor_dtype(name).name
            shape = tuple(None if size < 0 else int(size) for size in self.engine.get_tensor_shape(name))
            tensors[kind].append(LoadedTensor(frozenset(known), DTYPES.get(dtype, dtype.lower()), shape))
        return Signature(tensors[mode.INPUT], tensors[mode.OUTPUT])

    def close(self) -> None:
        """Free the engine, then the runtime."""
        self.engine = None
        self._runtime = None


class Execution:
    """The one context of a plan, its stream and its buffers. Not for two threads at once."""

    def __init__(
        self,
        plan: LoadedPlan,
        device: CudaDevice,
        names: Mapping[str, str],
        largest: Mapping[str, tuple[int, ...]],
        outputs: Sequence[TensorSpec],
    ) -> None:
        """Make everything for the largest shapes; the calling thread has selected the device.

        Args:
            plan: What is computed.
            device: Where.
            names: What TensorRT calls each declared input, by its declared name.
            largest: The largest shape of every declared input.
            outputs: Those that are wanted, in the order of the answers.

        Raises:
            EngineFailed: The device has too little memory, or TensorRT takes a tensor in another way than it says.
        """
        self._plan = plan
        self._device = device
        self._names = dict(names)
        with ExitStack() as stack:
            self._stream = device.create_stream()
            stack.callback(device.destroy_stream, self._stream)
            self._context: Any = self._make_context()
            self._fed = self._make_inputs(largest, stack)
            self._infer_shapes()
            self._outputs = self._make_outputs(outputs, stack)
            # Called first when all is closed: no context that knows the address of a buffer outlives it.
            stack.callback(self._release_context)
            self._resources = stack.pop_all()

    @property
    def buffer_bytes(self) -> int:
        """Memory of inputs and outputs. Unit: bytes."""
        inputs = sum(buffer.capacity_bytes for buffer in self._fed.values())
        return inputs + sum(output.capacity_bytes for output in self._outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs; the calling thread has selected the device.

        Raises:
            EngineFailed: TensorRT or CUDA failed; the text says how.
        """
        try:
            self._start(feeds)
        finally:
            # Nothing may read or write any more when this returns, and what failed on the device shows here.
            self._device.synchronize(self._stream)
        return [output.answer() for output in self._outputs]

    def close(self) -> None:
        """Free the context, then the buffers and the stream."""
        self._resources.close()

    def _start(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        mark = self._plan.library.lines.mark()
        for name, array in feeds.items():
            if name in self._fed:
                self._feed(name, array)
        self._infer_shapes()
        for output in self._outputs:
            output.prepare()
        executed = self._context.execute_async_v3(int(self._stream))
        # First what an output says: TensorRT knows no reason when memory was refused to it.
        for output in self._outputs:
            output.raise_failure()
        if not executed:
            raise EngineFailed(self._plan.library.lines.since(mark))
        for output in self._outputs:
            output.fetch(self._stream)

    def _make_context(self) -> Any:
        mark = self._plan.library.lines.mark()
        context = self._plan.engine.create_execution_context()
        if context is None:
            raise EngineFailed(
                f"{self._device.facts.name} has no room for the {self._plan.context_bytes} bytes of intermediate "
                f"results: {self._plan.library.lines.since(mark)}; narrow the shapes to compile for"
            )
        return context

    def _make_inputs(self, largest: Mapping[str, tuple[int, ...]], stack: ExitStack) -> dict[str, DeviceBuffer]:
        engine = self._plan.engine
        loaded = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        buffers: dict[str, DeviceBuffer] = {}
        for name, shape in largest.items():
            # TensorRT may leave out an input that nothing reads: it is declared, checked and not fed.
            if self._names[name] not in loaded:
                continue
            self._set_shape(name, shape)
            itemsize = np.dtype(DTYPES[engine.get_tensor_dtype(self._names[name]).name]).itemsize
            buffers[name] = DeviceBuffer(self._device, math.prod(shape) * itemsize)
            stack.callback(buffers[name].free)
        return buffers

    def _make_outputs(self, specs: Sequence[TensorSpec], stack: ExitStack) -> list[Output]:
        outputs = []
        for spec in specs:
            output = make_output(self._context, self._plan.engine, spec, self._device, self._plan.library.module)
            stack.callback(output.close)
            outputs.append(output)
        return outputs

    def _feed(self, name: str, array: NDArray[Any]) -> None:
        buffer = self._fed[name]
        self._set_shape(name, array.shape)
        self._device.copy_in(buffer.reserve(array.nbytes), array, self._stream)
        if not self._context.set_tensor_address(self._names[name], buffer.address):
            raise EngineFailed(f"input {name!r} takes no address")

    def _set_shape(self, name: str, shape: tuple[int, ...]) -> None:
        mark = self._plan.library.lines.mark()
        if not self._context.set_input_shape(self._names[name], shape):
            raise EngineFailed(f"input {name!r} takes no shape {shape}: {self._plan.library.lines.since(mark)}")

    def _infer_shapes(self) -> None:
        mark = self._plan.library.lines.mark()
        try:
            missing = self._context.infer_shapes()
        except RuntimeError as error:
            # What is inside the graph does not fit these shapes.
            raise EngineFailed(self._plan.library.lines.since(mark)) from error
        if missing:
            raise EngineFailed(f"TensorRT lacks the shapes of {list(missing)}")

    def _release_context(self) -> None:
        self._context = None
