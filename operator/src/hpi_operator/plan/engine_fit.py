"""Whether an engine could serve on a node, by the word of the node's agent: what nobody has told rules nothing out."""

from __future__ import annotations

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.hardware import AcceleratorClass
from hpi_core.api.v1alpha1.node import Devices, HPINode


def could_serve(engine: HPIEngine, hpi_node: HPINode | None) -> bool:
    """Return whether the hardware of a node is of the class that an engine is for.

    How many threads and how much memory a pod may use is the pod's, and not looked at.
    """
    if hpi_node is None or hpi_node.status is None:
        return True
    wanted, told = engine.spec.hardware_class, hpi_node.status.hardware
    processors = told.processors
    pairs = [
        (wanted.architecture, processors.architecture),
        (wanted.isa_level, processors.isa_level or None),
        (frozenset(wanted.isa_flags) or None, frozenset(processors.isa_flags) or None),
    ]
    if not all(_agree(one, other) for one, other in pairs):
        return False
    if wanted.accelerator is None:
        return True
    return any(_is_of(wanted.accelerator, device) for device in told.devices)


def _is_of(wanted: AcceleratorClass, device: Devices) -> bool:
    memory = None if device.memory_bytes is None else device.memory_bytes >> 30
    return (
        wanted.vendor == device.vendor
        and _agree(wanted.product, device.chip if wanted.vendor == "Ascend" else device.product)
        and _agree(wanted.compute_capability, device.compute_capability)
        and _agree(wanted.memory_gibibytes, memory)
        and wanted.slice == device.slice
    )


def _agree(one: object, other: object) -> bool:
    return one is None or other is None or one == other
