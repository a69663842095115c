"""The doubles refuse what the runtimes refuse: misuse that went through here would fail on a device."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from doubles import ascend_runtimes, cuda_calls, npus, nvidia_runtimes, tensorrt_words
from doubles.cuda_calls import cudaError_t, cudaMemcpyKind
from doubles.device_memory import PATTERN
from doubles.gpus import Machine
from doubles.npus import CHIP
from doubles.offline_models import OfflineModel
from doubles.presenting import importable
from doubles.tensorrt_build import CACHE_MAGIC, MAGIC
from doubles.tensorrt_words import ProcessEnds
from models import graphs

IN, OUT = cudaMemcpyKind.cudaMemcpyHostToDevice, cudaMemcpyKind.cudaMemcpyDeviceToHost
INVALID = (cudaError_t.cudaErrorInvalidValue,)


@pytest.fixture
def machine() -> Iterator[Machine]:
    with nvidia_runtimes.presented() as found:
        yield found


@pytest.fixture
def stream(machine: Machine) -> Iterator[Any]:
    _, made = cuda_calls.cudaStreamCreateWithFlags(cuda_calls.cudaStreamNonBlocking)
    yield made
    cuda_calls.cudaStreamDestroy(made)


# CUDA.


def test_memory_is_given_back_once(machine: Machine) -> None:
    _, address = cuda_calls.cudaMalloc(16)

    assert cuda_calls.cudaFree(address) == (cudaError_t.cudaSuccess,)
    assert cuda_calls.cudaFree(address) == INVALID
    assert cuda_calls.cudaGetLastError() == INVALID
    assert cuda_calls.cudaGetLastError() == (cudaError_t.cudaSuccess,)


def test_fresh_memory_holds_nothing_useful(machine: Machine, stream: Any) -> None:
    _, address = cuda_calls.cudaMalloc(4)
    array = np.zeros(4, dtype=np.uint8)

    cuda_calls.cudaMemcpyAsync(array.ctypes.data, address, 4, OUT, stream)

    assert array.tolist() == [PATTERN] * 4
    cuda_calls.cudaFree(address)


@pytest.mark.parametrize("kind", [OUT, cudaMemcpyKind.cudaMemcpyHostToHost, cudaMemcpyKind.cudaMemcpyDeviceToDevice])
def test_a_copy_in_the_wrong_direction_is_refused(kind: cudaMemcpyKind, machine: Machine, stream: Any) -> None:
    _, address = cuda_calls.cudaMalloc(4)
    array = np.zeros(4, dtype=np.uint8)

    assert cuda_calls.cudaMemcpyAsync(address, array.ctypes.data, 4, kind, stream) == INVALID
    cuda_calls.cudaFree(address)


def test_a_copy_beyond_the_end_breaks_the_device(machine: Machine, stream: Any) -> None:
    _, address = cuda_calls.cudaMalloc(4)
    array = np.zeros(8, dtype=np.uint8)

    cuda_calls.cudaMemcpyAsync(address, array.ctypes.data, 8, IN, stream)

    assert cuda_calls.cudaStreamSynchronize(stream) == (cudaError_t.cudaErrorIllegalAddress,)
    machine.gpus[0].broken = False
    cuda_calls.cudaFree(address)


def test_what_is_copied_in_is_taken_at_once_and_arrives_when_it_is_waited_for(machine: Machine, stream: Any) -> None:
    _, address = cuda_calls.cudaMalloc(4)
    array = np.arange(4, dtype=np.uint8)
    cuda_calls.cudaMemcpyAsync(address, array.ctypes.data, 4, IN, stream)
    array[:] = 9

    before = machine.memory.view(address, 4, 0).tolist()
    cuda_calls.cudaStreamSynchronize(stream)
    after = machine.memory.view(address, 4, 0).tolist()

    assert (before, after) == ([PATTERN] * 4, [0, 1, 2, 3])
    cuda_calls.cudaFree(address)


def test_a_stream_of_another_device_takes_no_work(machine: Machine, stream: Any) -> None:
    _, address = cuda_calls.cudaMalloc(4)
    array = np.arange(4, dtype=np.uint8)
    cuda_calls.cudaSetDevice(1)

    failed = cuda_calls.cudaMemcpyAsync(address, array.ctypes.data, 4, IN, stream)

    assert failed == (cudaError_t.cudaErrorInvalidDevice,)
    cuda_calls.cudaSetDevice(0)
    cuda_calls.cudaFree(address)


# TensorRT.


class Said:
    """TensorRT's double with a logger that remembers."""

    def __init__(self) -> None:
        import tensorrt

        self.trt: Any = tensorrt
        self.lines: list[str] = []
        lines = self.lines

        class Logger(tensorrt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                tensorrt.ILogger.__init__(self)

            def log(self, severity: Any, msg: str) -> None:
                lines.append(msg)

        self.logger = Logger()

    def build(
        self,
        shapes: tuple[tuple[int, ...], ...] | None = ((1, 3), (2, 3), (4, 3)),
        flag: Any = None,
        forget: str | None = None,
    ) -> bytes | None:
        """Build `add`, with something left out or wrong."""
        builder = self.trt.Builder(self.logger)
        network = builder.create_network(1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = self.trt.OnnxParser(network, self.logger)
        assert parser.parse(graphs.add().proto.SerializeToString())
        config = builder.create_builder_config()
        if flag is not None:
            config.set_flag(flag)
        if shapes is not None:
            profile = builder.create_optimization_profile()
            profile.set_shape("x", *shapes)
            config.add_optimization_profile(profile)
        if forget == "parser":
            del parser
        plan = builder.build_serialized_network(network, config)
        return None if plan is None else bytes(plan)

    def context(self) -> Any:
        """Return an execution context of `add`."""
        engine = self.trt.Runtime(self.logger).deserialize_cuda_engine(self.build())
        return engine.create_execution_context()


@pytest.fixture
def said(machine: Machine) -> Said:
    return Said()


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"shapes": None}, "no optimization profile has been defined"),
        ({"shapes": ((1, 2), (2, 2), (4, 2))}, "kMIN shape (1, 2) is no shape of (-1, 3)"),
        ({"flag": tensorrt_words.BuilderFlag.FP16}, "cannot be set with a strongly typed network"),
    ],
)
def test_a_configuration_that_tensorrt_refuses_gives_no_plan(wrong: dict[str, Any], text: str, said: Said) -> None:
    plan = said.build(**wrong)

    assert plan is None
    assert text in said.lines[-1]


def test_shapes_that_do_not_grow_are_refused_at_once(said: Said) -> None:
    with pytest.raises(ValueError, match="inconsistent with other shapes"):
        said.build(shapes=((2, 3), (1, 3), (4, 3)))


def test_a_network_whose_parser_is_gone_cannot_be_built(said: Said) -> None:
    with pytest.raises(ProcessEnds, match="the weights went with the parser"):
        said.build(forget="parser")


@pytest.mark.parametrize(
    "plan",
    [b"", b"a plan of somebody else", MAGIC + b'{"version": "10.0.1", "capability": [8, 6]}\0'],
    ids=["nothing", "somebody else's", "another release"],
)
def test_a_plan_of_others_would_end_the_process(plan: bytes, said: Said) -> None:
    with pytest.raises(ProcessEnds):
        said.trt.Runtime(said.logger).deserialize_cuda_engine(plan)


def test_timings_of_others_would_end_the_process_and_those_of_another_device_are_refused(said: Said) -> None:
    config = said.trt.Builder(said.logger).create_builder_config()
    other = config.create_timing_cache(CACHE_MAGIC + b'[{"version": "10.13.3.9", "capability": [7, 5]}, {}]')

    assert not config.set_timing_cache(other, False)
    with pytest.raises(ProcessEnds):
        config.create_timing_cache(b"timings of somebody else")


def test_a_context_computes_nothing_before_every_shape_and_address_is_set(said: Said, stream: Any) -> None:
    context = said.context()

    missing = context.infer_shapes()
    context.set_input_shape("x", (2, 3))
    executed = context.execute_async_v3(int(stream))

    assert missing == ["x"]
    assert not executed
    assert said.lines[-1] == "enqueueV3: Address is not set for tensor x"


@pytest.mark.parametrize("shape", [(5, 3), (0, 3), (2, 2), (2,)])
def test_a_context_takes_no_shape_outside_its_profile(shape: tuple[int, ...], said: Said) -> None:
    assert not said.context().set_input_shape("x", shape)
    assert "does not satisfy any optimization profiles" in said.lines[-1]


def test_an_address_that_was_given_back_breaks_the_device(said: Said, stream: Any, machine: Machine) -> None:
    context = said.context()
    _, x = cuda_calls.cudaMalloc(24)
    _, y = cuda_calls.cudaMalloc(24)
    context.set_input_shape("x", (2, 3))
    context.set_tensor_address("x", x)
    context.set_tensor_address("y", y)
    cuda_calls.cudaFree(y)

    assert context.execute_async_v3(int(stream))
    assert cuda_calls.cudaStreamSynchronize(stream) == (cudaError_t.cudaErrorIllegalAddress,)
    machine.gpus[0].broken = False
    cuda_calls.cudaFree(x)


def test_two_threads_in_one_context_are_noticed(said: Said, stream: Any) -> None:
    context = said.context()
    _, address = cuda_calls.cudaMalloc(24)
    context.set_tensor_address("x", address)
    other = threading.Thread(target=context.set_tensor_address, args=("y", address))
    other.start()
    other.join()
    context.set_input_shape("x", (2, 3))

    with pytest.raises(ProcessEnds, match="two threads in one context at once"):
        context.execute_async_v3(int(stream))
    cuda_calls.cudaFree(address)


@pytest.mark.parametrize("argument", ["x", None, 1.5])
def test_an_argument_of_another_type_is_refused_as_the_bindings_do(argument: Any, said: Said) -> None:
    with pytest.raises(TypeError):
        said.context().set_tensor_address("x", argument)


def test_a_logger_that_forgets_its_base_is_refused(said: Said) -> None:
    class Careless(said.trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="must be called when overriding __init__"):
        said.trt.Runtime(Careless())


# acl.


@pytest.fixture
def acl() -> Iterator[Any]:
    with ascend_runtimes.presented():
        import acl

        yield acl


def test_a_thread_without_a_context_gets_no_memory(acl: Any) -> None:
    assert acl.rt.malloc(16, 0) == (0, 107002)
    assert "ctx is NULL" in acl.get_recent_err_msg()
    assert acl.get_recent_err_msg() == ""


def test_a_copy_larger_than_its_target_is_refused(acl: Any) -> None:
    context, _ = acl.rt.create_context(0)
    address, _ = acl.rt.malloc(4, 0)
    array = np.zeros(8, dtype=np.uint8)

    assert acl.rt.memcpy(address, 4, array.ctypes.data, 8, 1) == 100000
    assert acl.rt.memcpy(address, 8, array.ctypes.data, 8, 1) == 107000
    assert (acl.rt.free(address), acl.rt.free(address)) == (0, 107000)
    acl.rt.destroy_context(context)


def test_a_handle_that_was_destroyed_is_followed_no_more(acl: Any) -> None:
    dataset = acl.mdl.create_dataset()
    acl.mdl.destroy_dataset(dataset)

    with pytest.raises(npus.ProcessEnds):
        acl.mdl.destroy_dataset(dataset)


def test_a_model_runs_in_the_context_it_was_loaded_in_alone(acl: Any, tmp_path: Any) -> None:
    path = tmp_path / "add.om"
    path.write_bytes(OfflineModel(graphs.add().proto.SerializeToString(), CHIP, {"x": (2, 3)}).to_bytes())
    first, _ = acl.rt.create_context(0)
    model, _ = acl.mdl.load_from_file(str(path))
    second, _ = acl.rt.create_context(0)

    assert acl.mdl.unload(model) == 107004
    acl.rt.set_context(first)
    assert acl.mdl.unload(model) == 0
    for context in (first, second):
        acl.rt.destroy_context(context)


def test_an_argument_by_name_is_refused(acl: Any) -> None:
    with pytest.raises(TypeError):
        acl.rt.set_device(device_id=0)


# Their place.


def test_a_double_never_takes_the_place_of_what_is_installed(tmp_path: Any) -> None:
    with (
        pytest.raises(RuntimeError, match="onnxruntime can be imported here without its double"),
        importable(tmp_path, ("onnxruntime",)),
    ):
        pass
