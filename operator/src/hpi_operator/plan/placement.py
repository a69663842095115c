"""Which class of hardware the replicas go to: what the cluster offers for each wish, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hpi_core.api.v1alpha1.node import Devices, Driver
from hpi_core.api.v1alpha1.placement import Accelerator
from hpi_core.api.v1alpha1.pod_template import Toleration
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.observed import NodeGroup, Taint
from hpi_operator.plan.versions import sortable

MEBIBYTE: Final = 2**20
MAX_LACKS: Final = 4
"""Sorts of nodes that a message tells about."""

ARCHITECTURE: Final = "kubernetes.io/arch"
HARD_EFFECTS: Final = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True)
class Offered:
    """What the cluster offers for one entry of the placement."""

    accelerator: Accelerator
    index: int
    """Place in the order of wish, the first is 0."""
    resource: str | None
    """Extended resource; None for the processors alone."""
    groups: tuple[NodeGroup, ...]
    """Nodes that fit, whatever runtime they have."""

    @property
    def nodes(self) -> int:
        """How many nodes fit."""
        return sum(group.count for group in self.groups)

    @property
    def class_name(self) -> ClassName:
        """The class of hardware."""
        return self.accelerator.class_


@dataclass(frozen=True)
class Lacking:
    """Why the cluster cannot offer one entry of the placement."""

    accelerator: Accelerator
    index: int
    message: str
    """Which nodes were seen, and what they lack."""


@dataclass(frozen=True)
class PodDemands:
    """What the pod template asks of a node, whatever the class."""

    node_selector: Mapping[str, str]
    tolerations: tuple[Toleration, ...]


def offers(
    accelerators: Sequence[Accelerator],
    supply: Sequence[NodeGroup],
    classes: Mapping[ClassName, ClassData],
    demands: PodDemands,
) -> tuple[Offered | Lacking, ...]:
    """Return for every entry of a placement what the cluster offers, or what it lacks.

    Args:
        accelerators: Entries in order of wish.
        supply: All nodes, in groups of equals.
        classes: The classes of hardware as data.
        demands: What the pod template asks.
    """
    return tuple(
        _offer(index, accelerator, supply, classes[accelerator.class_], demands)
        for index, accelerator in enumerate(accelerators)
    )


def _offer(
    index: int, accelerator: Accelerator, supply: Sequence[NodeGroup], data: ClassData, demands: PodDemands
) -> Offered | Lacking:
    lacks: list[tuple[NodeGroup, str]] = []
    fitting: dict[str | None, list[NodeGroup]] = {}
    for group in supply:
        resource, lack = _fit(group, accelerator, data, demands)
        if lack is None:
            fitting.setdefault(resource, []).append(group)
        else:
            lacks.append((group, lack))
    if not fitting:
        return Lacking(accelerator, index, _message(accelerator, lacks))
    # A Deployment asks for one resource: the one looked for first, then the one that most nodes have.
    resource = min(
        fitting,
        key=lambda name: (data.rank(name) if name else 0, -sum(one.count for one in fitting[name]), name or ""),
    )
    return Offered(accelerator, index, resource, tuple(fitting[resource]))


def _fit(
    group: NodeGroup, accelerator: Accelerator, data: ClassData, demands: PodDemands
) -> tuple[str | None, str | None]:
    """Return the resource and None, or None and the first thing that the nodes lack."""
    lack = _general_lack(group, accelerator, data, demands)
    if lack is not None or data.name == "CPU":
        return None, lack
    resource, lack = _device(group, accelerator, data)
    return resource, lack or _device_lack(group, accelerator, data, resource)


def _general_lack(group: NodeGroup, accelerator: Accelerator, data: ClassData, demands: PodDemands) -> str | None:
    if not group.schedulable:
        return "not ready, or cordoned"
    wanted = accelerator.requirements.architectures
    architecture = group.labels.get(ARCHITECTURE)
    if wanted and architecture not in wanted:
        return f"architecture is {architecture or 'unknown'}, wanted {' or '.join(wanted)}"
    for key, value in sorted({**accelerator.requirements.node_selector, **demands.node_selector}.items()):
        if group.labels.get(key) != value:
            return f"label {key} is {group.labels.get(key) or 'not there'}, wanted {value or 'empty'}"
    for taint in group.taints:
        if taint.effect in HARD_EFFECTS and not _tolerated(taint, data, demands.tolerations):
            return f"taint {taint.key}{'=' + taint.value if taint.value else ''}:{taint.effect} is not tolerated"
    return None


def _tolerated(taint: Taint, data: ClassData, tolerations: Iterable[Toleration]) -> bool:
    of_class = (Toleration.model_validate(written) for written in data.tolerations)
    return any(_tolerates(one, taint) for one in (*of_class, *tolerations))


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    # Kubernetes, "Taints and Tolerations": an empty key with Exists matches every taint, an empty effect every effect.
    if toleration.effect is not None and toleration.effect != taint.effect:
        return False
    if toleration.key is None:
        return toleration.operator == "Exists"
    return toleration.key == taint.key and (toleration.operator == "Exists" or (toleration.value or "") == taint.value)


def _device(group: NodeGroup, accelerator: Accelerator, data: ClassData) -> tuple[str | None, str | None]:
    count = accelerator.count or 1
    named = accelerator.resource_name
    there = sorted(
        (name for name in group.allocatable if (name == named if named else data.matches(name))),
        key=lambda name: (data.rank(name), name),
    )
    enough = [name for name in there if group.allocatable[name] >= count]
    if enough:
        return enough[0], None
    if there:
        return None, f"{there[0]} is {group.allocatable[there[0]]} a node, wanted {count}"
    others = sorted(name for name in group.allocatable if "/" in name)
    return None, f"no {named or ' or '.join(data.resources)}" + (f", it has {', '.join(others)}" if others else "")


def _device_lack(group: NodeGroup, accelerator: Accelerator, data: ClassData, resource: str | None) -> str | None:
    if resource is None:
        return None
    needs, devices = accelerator.requirements, _devices(group, data)
    product = _product(group, data, devices)
    if needs.products and not any(_same_product(product or "", wanted) for wanted in needs.products):
        return f"product is {product or 'unknown'}, wanted {' or '.join(needs.products)}"
    chip = next((one.chip for one in devices if one.chip), None) or _label(group, data.chip_label)
    if needs.chips and chip not in needs.chips:
        return f"chip is {chip or 'unknown'}, wanted {' or '.join(needs.chips)}"
    capability = compute_capability(group, data)
    bounds = (needs.min_compute_capability, needs.max_compute_capability)
    lack = _outside("compute capability", capability, *bounds) or _outside(
        "driver", driver(group, data), needs.min_driver, needs.max_driver
    )
    if lack is not None:
        return lack
    memory = device_memory_bytes(group, data)
    if needs.min_memory_bytes is not None and (memory is None or memory < needs.min_memory_bytes):
        return f"device memory is {_gibibytes(memory)}, wanted {_gibibytes(needs.min_memory_bytes)} at least"
    return None


def _outside(what: str, seen: str | None, lowest: str | None, highest: str | None) -> str | None:
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


def compute_capability(group: NodeGroup, data: ClassData) -> str | None:
    """Return the compute capability of a group's devices, by its agent's word or by labels."""
    told = next((one.compute_capability for one in _devices(group, data) if one.compute_capability), None)
    return told or _joined(group, data.compute_capability_labels)


def driver(group: NodeGroup, data: ClassData) -> str | None:
    """Return the version of a group's driver, by its agent's word or by labels."""
    drivers: tuple[Driver, ...] = ()
    if group.hardware is not None and group.hardware.status is not None:
        drivers = group.hardware.status.hardware.drivers
    told = next((one.version for one in drivers if one.vendor == data.name and one.version), None)
    return told or _joined(group, data.driver_labels)


def chip(group: NodeGroup, data: ClassData) -> str | None:
    """Return the SoC version of a group's devices, by its agent's word or by labels."""
    return next((one.chip for one in _devices(group, data) if one.chip), None) or _label(group, data.chip_label)


def device_memory_bytes(group: NodeGroup, data: ClassData) -> int | None:
    """Return the memory of one device of a group, by its agent's word or by labels."""
    told = next((one.memory_bytes for one in _devices(group, data) if one.memory_bytes), None)
    if told is not None:
        return told
    label = _label(group, data.memory_label)
    return int(label) * MEBIBYTE if label is not None and label.isdigit() else None


def _devices(group: NodeGroup, data: ClassData) -> tuple[Devices, ...]:
    if group.hardware is None or group.hardware.status is None:
        return ()
    return tuple(one for one in group.hardware.status.hardware.devices if one.vendor == data.name)


def _product(group: NodeGroup, data: ClassData, devices: tuple[Devices, ...]) -> str | None:
    return next((one.product for one in devices if one.product), None) or _label(group, data.product_label)


def _same_product(seen: str, wanted: str) -> bool:
    # GPU feature discovery writes dashes for spaces, and adds what sharing and MIG do to a device.
    plain = seen.replace(" ", "-").removesuffix("-SHARED").partition("-MIG-")[0].lower()
    return plain == wanted.replace(" ", "-").lower()


def _label(group: NodeGroup, key: str | None) -> str | None:
    return group.labels.get(key) if key else None


def _joined(group: NodeGroup, keys: tuple[str, ...]) -> str | None:
    values = [group.labels.get(key, "") for key in keys]
    return ".".join(value for value in values if value) if values and values[0] else None


def _gibibytes(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"


def _message(accelerator: Accelerator, lacks: list[tuple[NodeGroup, str]]) -> str:
    if not lacks:
        return f"class {accelerator.class_}: the cluster has no node"
    by_lack: dict[str, list[NodeGroup]] = {}
    for group, lack in lacks:
        by_lack.setdefault(lack, []).append(group)
    told = sorted(by_lack.items(), key=lambda item: (-sum(group.count for group in item[1]), item[0]))
    words = []
    for lack, groups in told[:MAX_LACKS]:
        count = sum(group.count for group in groups)
        example = min(name for group in groups for name in group.examples) if groups[0].examples else "?"
        words.append(f"{count} node{'s' if count != 1 else ''} (such as {example}): {lack}")
    rest = sum(group.count for _, groups in told[MAX_LACKS:] for group in groups)
    return f"class {accelerator.class_}: " + "; ".join(words) + (f"; {rest} more with other lacks" if rest else "")
