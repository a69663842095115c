"""The functions of `acl.mdl` that the engine calls: models, their descriptions, their datasets, and the run."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from doubles.acl_module import DataBuffer, failed, number
from doubles.acl_rt import current_device, no_context
from doubles.device_memory import IllegalAddress, OutOfMemory, read_array
from doubles.npus import MACHINE, Dataset, Loaded, ProcessEnds
from doubles.offline_models import ACL_TYPES, GEAR_INPUT, OfflineModel
from doubles.onnx_graph import ShapeFailure

PUBLISHED: Final = (
    "query_size",
    "load_from_file",
    "unload",
    "create_desc",
    "get_desc",
    "destroy_desc",
    "get_num_inputs",
    "get_num_outputs",
    "get_input_name_by_index",
    "get_output_name_by_index",
    "get_input_index_by_name",
    "get_input_data_type",
    "get_output_data_type",
    "get_input_dims",
    "get_output_dims",
    "get_cur_output_dims",
    "get_input_size_by_index",
    "get_output_size_by_index",
    "get_dynamic_batch",
    "get_dynamic_hw",
    "get_input_dynamic_gear_count",
    "get_input_dynamic_dims",
    "set_dynamic_batch_size",
    "set_dynamic_hw_size",
    "set_input_dynamic_dims",
    "create_dataset",
    "add_dataset_buffer",
    "destroy_dataset",
    "execute",
)
"""What a program sees of this module."""
OWNER: Final = "model"
GEAR_BYTES: Final = 4
ACL_ERROR_INVALID_PARAM: Final = 100000
ACL_ERROR_READ_MODEL_FAILURE: Final = 100014
ACL_ERROR_MODEL_INPUT_NOT_MATCH: Final = 100017
ACL_ERROR_RT_MODEL_CONTEXT: Final = 107004
ACL_ERROR_GE_DYNAMIC_BATCH_SIZE_INVALID: Final = 145013
ACL_ERROR_GE_MEMORY_ALLOCATION: Final = 245000
ACL_ERROR_RT_MODEL_EXECUTE: Final = 507011
ACL_ERROR_GE_LOAD_MODEL: Final = 545001


class Description:
    """What a model takes and gives; empty until `get_desc` fills it."""

    def __init__(self) -> None:
        self.loaded: Loaded | None = None

    @property
    def model(self) -> OfflineModel:
        """The model described.

        Raises:
            ProcessEnds: None was.
        """
        if self.loaded is None:
            raise ProcessEnds("a description that describes nothing")
        return self.loaded.model


def query_size(file_name: str, /) -> tuple[int, int, int]:
    model = _read(file_name)
    if model is None:
        return 0, 0, failed(ACL_ERROR_READ_MODEL_FAILURE, "load model failed")
    return 4096, len(model.onnx), 0


def load_from_file(model_path: str, /) -> tuple[int, int]:
    device = current_device()
    if device is None:
        return 0, no_context()
    model = _read(model_path)
    if model is None:
        return 0, failed(ACL_ERROR_READ_MODEL_FAILURE, f"load model from file {model_path} failed")
    if model.chip != MACHINE.chip:
        return 0, failed(ACL_ERROR_GE_LOAD_MODEL, f"The soc version {model.chip} of the model is not {MACHINE.chip}")
    try:
        address = MACHINE.memory.allocate(len(model.onnx), device, OWNER, MACHINE.memory_bytes)
    except OutOfMemory:
        return 0, failed(ACL_ERROR_GE_MEMORY_ALLOCATION, "malloc memory for weights failed")
    return MACHINE.keep(Loaded(model, MACHINE.context or 0, device, address)), 0


def unload(model_id: int, /) -> int:
    loaded = MACHINE.find(number(model_id), Loaded)
    if loaded.context != MACHINE.context:
        return failed(ACL_ERROR_RT_MODEL_CONTEXT, "model is not in current ctx")
    MACHINE.drop(model_id, Loaded)
    MACHINE.memory.free(loaded.address, OWNER)
    return 0


def create_desc() -> int:
    return MACHINE.keep(Description())


def get_desc(model_desc: int, model_id: int, /) -> int:
    MACHINE.find(number(model_desc), Description).loaded = MACHINE.find(number(model_id), Loaded)
    return 0


def destroy_desc(model_desc: int, /) -> int:
    MACHINE.drop(number(model_desc), Description)
    return 0


def get_num_inputs(model_desc: int, /) -> int:
    return len(_model(model_desc).names)


def get_num_outputs(model_desc: int, /) -> int:
    return len(_model(model_desc).graph.outputs)


def get_input_name_by_index(model_desc: int, index: int, /) -> str:
    return _model(model_desc).names[number(index)]


def get_output_name_by_index(model_desc: int, index: int, /) -> str:
    return _model(model_desc).output_name(number(index))


def get_input_index_by_name(model_desc: int, name: str, /) -> tuple[int, int]:
    names = _model(model_desc).names
    return (names.index(name), 0) if name in names else (0, failed(ACL_ERROR_INVALID_PARAM, f"no input {name}"))


def get_input_data_type(model_desc: int, index: int, /) -> int:
    model = _model(model_desc)
    if model.names[number(index)] == GEAR_INPUT:
        return ACL_TYPES["int32"]
    return ACL_TYPES[model.dtype(model.graph.inputs[index])]


def get_output_data_type(model_desc: int, index: int, /) -> int:
    model = _model(model_desc)
    return ACL_TYPES[model.dtype(model.graph.outputs[number(index)])]


def get_input_dims(model_desc: int, index: int, /) -> tuple[dict[str, Any], int]:
    model = _model(model_desc)
    name = model.names[number(index)]
    return _dims(name, (1,) if name == GEAR_INPUT else model.shapes[name]), 0


def get_output_dims(model_desc: int, index: int, /) -> tuple[dict[str, Any], int]:
    model = _model(model_desc)
    shapes = model.graph.infer(model.fixed(None))
    return _dims(model.output_name(number(index)), shapes[index]), 0


def get_cur_output_dims(model_desc: int, index: int, /) -> tuple[dict[str, Any], int]:
    loaded = MACHINE.find(number(model_desc), Description).loaded
    shapes = loaded.model.graph.infer(loaded.model.fixed(loaded.gear))
    return _dims(loaded.model.output_name(number(index)), shapes[index]), 0


def get_input_size_by_index(model_desc: int, index: int, /) -> int:
    model = _model(model_desc)
    if model.names[number(index)] == GEAR_INPUT:
        return GEAR_BYTES
    _, shape = model.fixed(None)[index]
    return math.prod(shape) * np.dtype(model.dtype(model.graph.inputs[index])).itemsize


def get_output_size_by_index(model_desc: int, index: int, /) -> int:
    model = _model(model_desc)
    shape = model.graph.infer(model.fixed(None))[number(index)]
    # Not known before it runs.
    if -1 in shape:
        return 0
    return math.prod(shape) * np.dtype(model.dtype(model.graph.outputs[index])).itemsize


def get_dynamic_batch(model_desc: int, /) -> tuple[dict[str, Any], int]:
    gears = _gears(model_desc, "batch")
    return {"batchCount": len(gears), "batch": [gear[0] for gear in gears]}, 0


def get_dynamic_hw(model_desc: int, index: int, /) -> tuple[dict[str, Any], int]:
    assert number(index) == -1
    gears = _gears(model_desc, "resolution")
    return {"hwCount": len(gears), "hw": [list(gear) for gear in gears]}, 0


def get_input_dynamic_gear_count(model_desc: int, index: int, /) -> tuple[int, int]:
    assert number(index) == -1
    return len(_gears(model_desc, "dimensions")), 0


def get_input_dynamic_dims(model_desc: int, index: int, gear_count: int, /) -> tuple[list[dict[str, Any]], int]:
    assert number(index) == -1
    return [_dims("", gear) for gear in _gears(model_desc, "dimensions")[: number(gear_count)]], 0


def set_dynamic_batch_size(model_id: int, dataset: int, index: int, batch_size: int, /) -> int:
    return _shift(model_id, dataset, index, "batch", (number(batch_size),))


def set_dynamic_hw_size(model_id: int, dataset: int, index: int, height: int, width: int, /) -> int:
    return _shift(model_id, dataset, index, "resolution", (number(height), number(width)))


def set_input_dynamic_dims(model_id: int, dataset: int, index: int, dims: dict[str, Any], /) -> int:
    if dims["dimCount"] != len(dims["dims"]):
        raise TypeError("the dims of fourth parameter is not list of int")
    return _shift(model_id, dataset, index, "dimensions", tuple(dims["dims"]))


def create_dataset() -> int:
    return MACHINE.keep(Dataset())


def add_dataset_buffer(dataset: int, data_buffer: int, /) -> tuple[int, int]:
    MACHINE.find(number(data_buffer), DataBuffer)
    MACHINE.find(number(dataset), Dataset).buffers.append(data_buffer)
    return dataset, 0


def destroy_dataset(dataset: int, /) -> int:
    MACHINE.drop(number(dataset), Dataset)
    return 0


def execute(model_id: int, input: int, output: int, /) -> int:  # noqa: A002 - the published name
    loaded = MACHINE.find(number(model_id), Loaded)
    if loaded.context != MACHINE.context:
        return failed(ACL_ERROR_RT_MODEL_CONTEXT, "model is not in current ctx")
    if loaded.running is not None:
        raise ProcessEnds("two threads in one model at once")
    loaded.running = threading.get_ident()
    try:
        return _execute(loaded, _buffers(input), _buffers(output))
    except IllegalAddress as error:
        return failed(ACL_ERROR_RT_MODEL_EXECUTE, f"no memory: {error}")
    except ShapeFailure as error:
        return failed(ACL_ERROR_RT_MODEL_EXECUTE, str(error))
    finally:
        loaded.running = None


def _execute(loaded: Loaded, inputs: list[DataBuffer], outputs: list[DataBuffer]) -> int:
    model = loaded.model
    if len(inputs) != len(model.names) or len(outputs) != len(model.graph.outputs):
        return failed(ACL_ERROR_MODEL_INPUT_NOT_MATCH, f"{len(inputs)} input buffers, {len(model.names)} inputs")
    feeds = {}
    for (name, shape), value, buffer in zip(model.fixed(loaded.gear), model.graph.inputs, inputs, strict=False):
        dtype = model.dtype(value)
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        if buffer.size < nbytes:
            return failed(ACL_ERROR_MODEL_INPUT_NOT_MATCH, f"input {name}: buffer {buffer.size}, {nbytes} needed")
        feeds[name] = read_array(MACHINE.memory.view(buffer.address, nbytes, loaded.device), dtype, shape)
    answers = model.graph.compute(feeds, model.flags)
    for buffer, answer in zip(outputs, answers.values(), strict=True):
        if answer.nbytes:
            view = MACHINE.memory.view(buffer.address, answer.nbytes, loaded.device)
            view[:] = np.frombuffer(answer.tobytes(), dtype=np.uint8)
    return 0


def _shift(model_id: int, dataset: int, index: int, kind: str, gear: tuple[int, ...]) -> int:
    loaded = MACHINE.find(number(model_id), Loaded)
    MACHINE.find(number(dataset), Dataset)
    if loaded.model.kind != kind or gear not in loaded.model.gears or loaded.model.names[number(index)] != GEAR_INPUT:
        return failed(ACL_ERROR_GE_DYNAMIC_BATCH_SIZE_INVALID, f"the {kind} {gear} is not one of the model's")
    loaded.gear = gear
    return 0


def _buffers(dataset: int) -> list[DataBuffer]:
    return [MACHINE.find(handle, DataBuffer) for handle in MACHINE.find(number(dataset), Dataset).buffers]


def _gears(model_desc: int, kind: str) -> tuple[tuple[int, ...], ...]:
    model = _model(model_desc)
    return model.gears if model.kind == kind else ()


def _model(model_desc: int) -> OfflineModel:
    found: OfflineModel = MACHINE.find(number(model_desc), Description).model
    return found


def _dims(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "dimCount": len(shape), "dims": list(shape)}


def _read(path: str) -> OfflineModel | None:
    if not isinstance(path, str):
        raise TypeError("argument 1 must be str")
    try:
        return OfflineModel.from_bytes(Path(path).read_bytes())
    except (OSError, ValueError):
        return None
