"""The class of hardware that an engine would be made for on a sort of nodes, by the word of their agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hpi_core.api.v1alpha1.build import Build
from hpi_core.api.v1alpha1.hardware import HardwareClass
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.devices import devices, driver, driver_facts
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.quantities import whole_units

FORMAT: Final = 1
"""`formatVersion` of a hardware class that this release writes."""

DEVICES: Final[Mapping[ClassName, str]] = {"CPU": "cpu", "NVIDIA": "gpu", "Ascend": "npu"}


def hardware_class(
    group: NodeGroup, data: ClassData, resource: str | None, limits: Mapping[str, str], build: Build
) -> HardwareClass | None:
    """Return the class of hardware of a pod on a sort of nodes; None: too little is known of them.

    What only a process on the node can see (who made the processors) is left out.

    Args:
        group: The nodes.
        data: The class of hardware of the placement.
        resource: The extended resource of the pods; None for the processors alone.
        limits: Limits of the pods' container by resource.
        build: How engines are prepared.
    """
    if group.hardware is None or group.hardware.status is None:
        return None
    told = group.hardware.status.hardware
    processors = told.processors
    accelerator = None if data.name == "CPU" else _accelerator(group, data, resource, build)
    if data.name != "CPU" and accelerator is None:
        return None
    cores = whole_units(limits["cpu"]) if "cpu" in limits else processors.cores
    memory = whole_units(limits["memory"]) if "memory" in limits else told.memory_bytes
    written = {
        "formatVersion": FORMAT,
        "device": DEVICES[data.name],
        "architecture": processors.architecture,
        "isaLevel": processors.isa_level or None,
        "isaFlags": sorted(processors.isa_flags),
        "threads": max(1, cores),
        "numaNodes": max(1, processors.numa_nodes),
        "memoryGibibytes": None if memory is None else memory >> 30,
        "accelerator": accelerator,
    }
    return HardwareClass.model_validate({key: value for key, value in written.items() if value is not None})


def hardware_in_words(hardware: HardwareClass) -> str:
    """Return a class of hardware for people: `NVIDIA L4 24 GiB, driver 550.54.15`, `x86_64 x86-64-v4, 4 threads`."""
    one = hardware.accelerator
    if one is None:
        return (
            f"{hardware.architecture or 'unknown'} {hardware.isa_level or ''}".strip() + f", {hardware.threads} threads"
        )
    words = [one.product or one.chip or one.vendor, one.slice, one.memory_gibibytes and f"{one.memory_gibibytes} GiB"]
    return " ".join(str(word) for word in words if word) + (f", driver {one.driver}" if one.driver else "")


def _accelerator(group: NodeGroup, data: ClassData, resource: str | None, build: Build) -> dict[str, Any] | None:
    sorts = devices(group, data, resource)
    # On a node with devices of several sorts nobody knows which one a pod will be given.
    if len(sorts) != 1 or data.name == "CPU":
        return None
    [one] = sorts
    facts = driver_facts(group, data)
    version = driver(group, data)
    if version is not None and build.driver_match != "Exact":
        version = version.partition(".")[0]
    product = one.chip if data.name == "Ascend" else one.product
    if product is None:
        return None
    written = {
        "vendor": data.name,
        "product": product,
        "computeCapability": one.compute_capability,
        "chip": one.chip,
        "memoryGibibytes": None if one.memory_bytes is None else one.memory_bytes >> 30,
        "slice": one.slice,
        "driver": version,
        "toolkit": None if facts is None else facts.toolkit,
    }
    return {key: value for key, value in written.items() if value is not None}
