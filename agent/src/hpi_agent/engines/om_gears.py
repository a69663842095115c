"""The shapes that an offline model was made for, where ATC was given several: batches, resolutions or dimensions.

Such a model has one more input, through which acl is told the gear before every run.

Source:
    ATC user guide, `--dynamic_batch_size`, `--dynamic_image_size`, `--dynamic_dims`; CANN, "acl API (Python)":
    `acl.mdl.get_dynamic_batch`, `get_dynamic_hw`, `get_input_dynamic_dims`, `set_dynamic_batch_size`,
    `set_dynamic_hw_size`, `set_input_dynamic_dims`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from numpy.typing import NDArray

from hpi_agent.engines.acl_library import AscendDevice
from hpi_core.errors import EngineFailed, Refused

GEAR_INPUT: Final = "ascend_mbatch_shape_data"
"""Name of that input (`ACL_DYNAMIC_TENSOR_NAME`)."""
ALL: Final = -1
"""The number that acl wants where it takes no number of an input."""

Kind = Literal["batch", "resolution", "dimensions"]


@dataclass(frozen=True)
class Gears:
    """What one model was made for.

    Attributes:
        kind: Which option of ATC made them.
        allowed: The sizes of each gear, in the order of the free dimensions: one for a batch, height and width for a
            resolution, all dimensions of all inputs otherwise.
        shapes: The declared shapes of the inputs, -1 for free dimensions, by name.
        position: Number of the input that carries the gear.
    """

    device: AscendDevice
    kind: Kind
    allowed: tuple[tuple[int, ...], ...]
    shapes: Mapping[str, tuple[int, ...]]
    position: int

    def gear_for(self, feeds: Mapping[str, NDArray[Any]]) -> tuple[int, ...]:
        """Return the gear that arrays need.

        Raises:
            Refused: The model has none for them; the text has all.
        """
        if self.kind == "dimensions":
            wanted = {tuple(size for name in self.shapes for size in feeds[name].shape)}
        else:
            # One gear is for every input that has free dimensions.
            wanted = {
                tuple(size for size, declared in zip(feeds[name].shape, shape, strict=True) if declared < 0)
                for name, shape in self.shapes.items()
                if min(shape, default=0) < 0
            }
        gear = next(iter(wanted))
        if len(wanted) != 1 or gear not in self.allowed:
            seen = ", ".join(f"{name} {feeds[name].shape}" for name in self.shapes)
            raise Refused(
                f"this offline model was made for the {self.kind} {', '.join(map(_written, self.allowed))}, got "
                f"{seen}; send one of these, or convert the model for more"
            )
        return gear

    def shift(self, model: int, dataset: int, gear: Sequence[int]) -> None:
        """Tell acl which gear comes.

        Raises:
            EngineFailed: acl does not take it.
        """
        mdl, check = self.device.acl.mdl, self.device.check
        if self.kind == "batch":
            code = mdl.set_dynamic_batch_size(model, dataset, self.position, gear[0])
            check(code, "acl.mdl.set_dynamic_batch_size")
        elif self.kind == "resolution":
            code = mdl.set_dynamic_hw_size(model, dataset, self.position, gear[0], gear[1])
            check(code, "acl.mdl.set_dynamic_hw_size")
        else:
            dims = {"name": "", "dimCount": len(gear), "dims": list(gear)}
            check(mdl.set_input_dynamic_dims(model, dataset, self.position, dims), "acl.mdl.set_input_dynamic_dims")


def read_gears(device: AscendDevice, description: int, inputs: Sequence[tuple[str, tuple[int, ...]]]) -> Gears | None:
    """Return the gears of a model, or None where its shapes are fixed.

    Args:
        device: Where it is loaded.
        description: Its `aclmdlDesc`.
        inputs: Name and dimensions of each input without the one that carries the gear.

    Raises:
        EngineFailed: It has free dimensions and no gears: it was made for ranges of shapes, which are not taken here.
    """
    free = sorted(name for name, shape in inputs if min(shape, default=0) < 0)
    if not free:
        return None
    mdl = device.acl.mdl
    position, code = mdl.get_input_index_by_name(description, GEAR_INPUT)
    if code != 0:
        # Kept for this thread until somebody reads it.
        device.acl.get_recent_err_msg()
        raise EngineFailed(
            f"the inputs {free} of this offline model take ranges of shapes; convert it again with fixed shapes, or "
            "with --dynamic_batch_size, --dynamic_image_size or --dynamic_dims"
        )
    batches = device.value(mdl.get_dynamic_batch(description), "acl.mdl.get_dynamic_batch")["batch"]
    resolutions = device.value(mdl.get_dynamic_hw(description, ALL), "acl.mdl.get_dynamic_hw")["hw"]
    count = device.value(mdl.get_input_dynamic_gear_count(description, ALL), "acl.mdl.get_input_dynamic_gear_count")
    kind: Kind
    if batches:
        kind, allowed = "batch", [(batch,) for batch in batches]
    elif resolutions:
        kind, allowed = "resolution", [tuple(pair) for pair in resolutions]
    else:
        listed = device.value(mdl.get_input_dynamic_dims(description, ALL, count), "acl.mdl.get_input_dynamic_dims")
        kind, allowed = "dimensions", [tuple(one["dims"]) for one in listed]
    return Gears(device, kind, tuple(allowed), dict(inputs), position)


def _written(gear: tuple[int, ...]) -> str:
    return "x".join(map(str, gear))
