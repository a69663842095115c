"""What is known of the devices of a sort of nodes: by the word of their agent, else by their labels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hpi_core.api.v1alpha1.node import Devices, Driver
from hpi_operator.plan.accelerators import ClassData, Fact
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.versions import sortable

MEBIBYTE: Final = 2**20

_MIG: Final = re.compile(r"^nvidia\.com/mig-(?P<slice>.+)$")
_VNPU: Final = re.compile(r"^huawei\.com/Ascend\w+-(?P<cores>[0-9]+)c(?:\.(?P<cpus>[0-9]+)cpu.*)?$")


@dataclass(frozen=True)
class Device:
    """One sort of devices that a pod may be given. None: nobody tells."""

    product: str | None = None
    chip: str | None = None
    compute_capability: str | None = None
    memory_bytes: int | None = None
    slice: str | None = None
    """The part of a device that is had; None: all of it."""


def devices(group: NodeGroup, data: ClassData, resource: str | None) -> tuple[Device, ...]:
    """Return the sorts of devices that one unit of an extended resource may be, at least one.

    Args:
        group: Nodes.
        data: The class of hardware.
        resource: The extended resource; None: whichever the nodes offer.
    """
    told = [one for one in _told(group, data) if _is_of(one, resource)]
    slice_ = slice_of(resource)
    if not told:
        # A label tells the memory of whole devices, not of their slices.
        memory = None if slice_ is not None else _labelled_memory(group, data)
        return (
            Device(
                label_value(group, data, "product"),
                _chip(label_value(group, data, "chip"), data),
                label_value(group, data, "computeCapability"),
                memory,
                slice_,
            ),
        )
    return tuple(
        Device(
            one.product or label_value(group, data, "product"),
            one.chip or _chip(label_value(group, data, "chip"), data),
            one.compute_capability or label_value(group, data, "computeCapability"),
            one.memory_bytes or (None if one.slice is not None else _labelled_memory(group, data)),
            one.slice,
        )
        for one in sorted(told, key=lambda one: one.name)
    )


def driver(group: NodeGroup, data: ClassData) -> str | None:
    """Return the version of a group's driver."""
    one = driver_facts(group, data)
    told = None if one is None else one.version or one.library_version
    return told or label_value(group, data, "driver")


def driver_facts(group: NodeGroup, data: ClassData) -> Driver | None:
    """Return what the agent says of a group's driver; None: it has not reported, or found none."""
    if group.hardware is None or group.hardware.status is None:
        return None
    return next((one for one in group.hardware.status.hardware.drivers if one.vendor == data.name), None)


def label_value(group: NodeGroup, data: ClassData, fact: Fact) -> str | None:
    """Return what labels say of one fact; None: they say nothing."""
    labels = way_labels(group, data, fact)
    return None if labels is None else ".".join(value for _, value in labels if value) or None


def way_labels(group: NodeGroup, data: ClassData, fact: Fact) -> tuple[tuple[str, str], ...] | None:
    """Return the labels by which a fact is read on a group, the first way that it has whole; None: it has none."""
    for way in data.labels.get(fact, ()):
        if way and all(key in group.labels for key in way):
            return tuple((key, group.labels[key]) for key in way)
    return None


def slice_of(resource: str | None) -> str | None:
    """Return the part of a device that an extended resource stands for, in the agent's words; None: all of it.

    Source:
        NVIDIA k8s-device-plugin, "MIG support", strategy mixed: `nvidia.com/mig-<profile>`; mind-cluster, "vNPU":
        `huawei.com/Ascend310P-4c.3cpu` is template `vir04_3c`.
    """
    if resource is None:
        return None
    mig, vnpu = _MIG.match(resource), _VNPU.match(resource)
    if mig is not None:
        return mig["slice"]
    if vnpu is not None:
        return f"vir{int(vnpu['cores']):02d}" + (f"_{vnpu['cpus']}c" if vnpu["cpus"] else "")
    return None


def same_product(seen: str, wanted: str) -> bool:
    """Return whether two product names mean one product, whatever sharing and labels make of them."""
    # GPU feature discovery writes dashes for spaces, and adds what sharing and MIG do to a device.
    return _plain(seen) == _plain(wanted)


def outside(what: str, seen: str | None, lowest: str | None, highest: str | None) -> str | None:
    """Return what is wrong with a version in words; None: it lies within the bounds."""
    if lowest is None and highest is None:
        return None
    wanted = " and ".join(
        words for words in (lowest and f"{lowest} at least", highest and f"{highest} at most") if words
    )
    if seen is None:
        return f"{what} is unknown, wanted {wanted}"
    if (lowest and sortable(seen) < sortable(lowest)) or (highest and sortable(seen) > sortable(highest)):
        return f"{what} is {seen}, wanted {wanted}"
    return None


def _plain(product: str) -> str:
    return product.replace(" ", "-").removesuffix("-SHARED").partition("-MIG-")[0].lower()


def _told(group: NodeGroup, data: ClassData) -> Iterable[Devices]:
    if group.hardware is None or group.hardware.status is None:
        return ()
    return (one for one in group.hardware.status.hardware.devices if one.vendor == data.name)


def _is_of(one: Devices, resource: str | None) -> bool:
    if resource is None:
        return True
    slice_ = slice_of(resource)
    # A template of processors (`vir04_3c`) is a slice of the same memory and chip as the one without.
    return one.slice == slice_ or (slice_ is not None and one.slice == slice_.partition("_")[0])


def _chip(label: str | None, data: ClassData) -> str | None:
    # The label says 310P3, ATC and the agent say Ascend310P3.
    return label if label is None or label.startswith(data.name) else data.name + label


def _labelled_memory(group: NodeGroup, data: ClassData) -> int | None:
    label = label_value(group, data, "memoryMebibytes")
    return int(label) * MEBIBYTE if label is not None and label.isdigit() else None
