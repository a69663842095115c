"""An offline model that acl has loaded: what it takes and gives, and the memory it does so in.

Source:
    CANN, "acl API (Python)": `acl.mdl.*`, `acl.create_data_buffer`; "Dynamic batch, dynamic resolution and dynamic
    dimensions (gears)" of the application development guide; `aclmdlExecute`, on threads and contexts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.acl_library import AscendDevice
from hpi_agent.engines.base import TensorSpec
from hpi_agent.engines.cann import UNKNOWN, installed_cann
from hpi_agent.engines.om_gears import GEAR_INPUT, Gears, read_gears
from hpi_core.errors import EngineFailed
from hpi_core.formats import DType

DTYPES: Final[dict[int, DType]] = {
    0: "float32",
    1: "float16",
    2: "int8",
    3: "int32",
    4: "uint8",
    6: "int16",
    7: "uint16",
    8: "uint32",
    9: "int64",
    10: "uint64",
    11: "float64",
    12: "bool",
}
"""`aclDataType`, as far as numpy has the type."""


@dataclass(frozen=True)
class _Slot:
    """One input or output with its memory."""

    spec: TensorSpec
    position: int
    address: int
    nbytes: int


class OfflineModel:
    """One model. The calling thread has entered the context of the device, and two never call at once."""

    def __init__(self, device: AscendDevice, path: Path) -> None:
        """Load a model and make memory for its largest shapes.

        Raises:
            EngineFailed: acl cannot load it, or the device has too little memory.
        """
        self._device = device
        self._acl = device.acl
        self._path = path
        with ExitStack() as stack:
            self._load(stack)
            self.gears: Gears | None = read_gears(device, self._description, self._fed_shapes())
            self._inputs, self._input_set = self._slots("input", stack)
            self._outputs, self._output_set = self._slots("output", stack)
            self._resources = stack.pop_all()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What a caller has to give, without the input that carries the gear."""
        return tuple(slot.spec for slot in self._inputs if slot.spec.name != GEAR_INPUT)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it gives."""
        return tuple(slot.spec for slot in self._outputs)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in order.

        Raises:
            Refused: The model was not made for these shapes.
            EngineFailed: acl failed.
        """
        gear = None if self.gears is None else self.gears.gear_for(feeds)
        for slot in self._inputs:
            if slot.spec.name in feeds:
                self._device.copy_in(slot.address, slot.nbytes, feeds[slot.spec.name])
        if self.gears is not None and gear is not None:
            self.gears.shift(self._model, self._input_set, gear)
        self._device.check(self._acl.mdl.execute(self._model, self._input_set, self._output_set), "acl.mdl.execute")
        return [self._fetch(slot) for slot in self._outputs]

    def close(self) -> None:
        """Destroy datasets and buffers, free their memory, unload the model."""
        self._resources.close()

    def _load(self, stack: ExitStack) -> None:
        mdl, check = self._acl.mdl, self._device.check
        try:
            self._model = self._device.value(mdl.load_from_file(str(self._path)), "acl.mdl.load_from_file")
        except EngineFailed as error:
            raise EngineFailed(
                f"{error}; an offline model is for one chip and for no CANN older than its own: this is "
                f"{self._device.chip} with CANN {installed_cann() or UNKNOWN}; convert the model again with "
                f"--soc_version={self._device.chip}"
            ) from error
        stack.callback(lambda: check(mdl.unload(self._model), "acl.mdl.unload"))
        self._description = mdl.create_desc()
        stack.callback(lambda: check(mdl.destroy_desc(self._description), "acl.mdl.destroy_desc"))
        check(mdl.get_desc(self._description, self._model), "acl.mdl.get_desc")

    def _fed_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        shapes = []
        for position in range(self._acl.mdl.get_num_inputs(self._description)):
            dims = self._device.value(
                self._acl.mdl.get_input_dims(self._description, position), "acl.mdl.get_input_dims"
            )
            name = self._acl.mdl.get_input_name_by_index(self._description, position)
            if name != GEAR_INPUT:
                shapes.append((name, tuple(dims["dims"])))
        return shapes

    def _slots(self, kind: str, stack: ExitStack) -> tuple[list[_Slot], int]:
        mdl, check = self._acl.mdl, self._device.check
        dataset = mdl.create_dataset()
        stack.callback(lambda: check(mdl.destroy_dataset(dataset), "acl.mdl.destroy_dataset"))
        slots = []
        for position in range(getattr(mdl, f"get_num_{kind}s")(self._description)):
            spec = self._spec(kind, position)
            nbytes = getattr(mdl, f"get_{kind}_size_by_index")(self._description, position)
            if nbytes == 0 and 0 not in spec.shape:
                raise EngineFailed(
                    f"the size of {kind} {spec.name!r} is not known before it runs; convert the model again without "
                    "it, or choose another backend"
                )
            address = self._device.allocate(nbytes)
            stack.callback(self._device.free, address)
            slots.append(_Slot(spec, position, address, nbytes))
            buffer = self._acl.create_data_buffer(address, nbytes)
            stack.callback(self._destroy_buffer(buffer))
            self._device.value(mdl.add_dataset_buffer(dataset, buffer), "acl.mdl.add_dataset_buffer")
        return slots, dataset

    def _destroy_buffer(self, buffer: int) -> Callable[[], None]:
        return lambda: self._device.check(self._acl.destroy_data_buffer(buffer), "acl.destroy_data_buffer")

    def _spec(self, kind: str, position: int) -> TensorSpec:
        mdl = self._acl.mdl
        name = getattr(mdl, f"get_{kind}_name_by_index")(self._description, position)
        code = getattr(mdl, f"get_{kind}_data_type")(self._description, position)
        dims = self._device.value(
            getattr(mdl, f"get_{kind}_dims")(self._description, position), f"acl.mdl.get_{kind}_dims"
        )
        if code not in DTYPES:
            raise EngineFailed(
                f"{kind} {name!r} has the type {code} of aclDataType; allowed: "
                f"{', '.join(sorted(set(DTYPES.values())))}"
            )
        shape = tuple(dims["dims"])
        if kind == "output":
            name = output_name(name)
            # Said for the largest gear.
            free = self.gears is not None
            return TensorSpec(name, DTYPES[code], tuple(None if free else size for size in shape))
        return TensorSpec(name, DTYPES[code], tuple(None if size < 0 else size for size in shape))

    def _fetch(self, slot: _Slot) -> NDArray[Any]:
        dims = self._device.value(
            self._acl.mdl.get_cur_output_dims(self._description, slot.position), "acl.mdl.get_cur_output_dims"
        )
        shape = tuple(dims["dims"])
        if math.prod(shape) * np.dtype(slot.spec.dtype).itemsize > slot.nbytes:
            raise EngineFailed(
                f"output {slot.spec.name!r} has the shape {shape}, which {slot.nbytes} bytes do not hold"
            )
        array: NDArray[Any] = np.empty(shape, dtype=slot.spec.dtype)
        self._device.copy_out(array, slot.address)
        return array


def output_name(name: str) -> str:
    """Return what a model's author calls an output.

    ATC writes `node:number:name`, as in `PartitionedCall_/Softmax_3:0:fetch_name_0`.
    """
    return name.rpartition(":")[2] or name
