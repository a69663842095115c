"""Which class of hardware the replicas go to: what the cluster offers for each wish, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hpi_core.api.v1alpha1.placement import Accelerator, Requirements
from hpi_core.api.v1alpha1.pod_template import Toleration
from hpi_operator.plan.accelerators import ClassData, ClassName, Fact
from hpi_operator.plan.devices import Device, devices, driver, outside, same_product, way_labels
from hpi_operator.plan.observed import NodeGroup, Taint

MAX_LACKS: Final = 4
"""Sorts of nodes that a message tells about."""

ARCHITECTURE: Final = "kubernetes.io/arch"
HARD_EFFECTS: Final = frozenset({"NoSchedule", "NoExecute"})
AWAY: Final = "not ready, or cordoned"


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
    unfit: tuple[NodeGroup, ...] = ()
    """Nodes that the scheduler would take for the resource alone, and whose devices are not what was asked for."""

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


@dataclass(frozen=True)
class Kept:
    """What a class is used for already: that is not changed as long as it can stay."""

    resources: frozenset[str]
    """Extended resources of the pods that are there."""
    serves_whole: bool
    """Whether every wanted replica serves on it: such a class is offered even where its nodes are cordoned."""


def offers(
    accelerators: Sequence[Accelerator],
    supply: Sequence[NodeGroup],
    classes: Mapping[ClassName, ClassData],
    demands: PodDemands,
    kept: Mapping[ClassName, Kept] | None = None,
) -> tuple[Offered | Lacking, ...]:
    """Return for every entry of a placement what the cluster offers, or what it lacks.

    Args:
        accelerators: Entries in order of wish.
        supply: All nodes, in groups of equals.
        classes: The classes of hardware as data.
        demands: What the pod template asks.
        kept: What classes are used for already.
    """
    return tuple(
        _offer(index, one, supply, classes[one.class_], demands, (kept or {}).get(one.class_))
        for index, one in enumerate(accelerators)
    )


def _offer(
    index: int,
    accelerator: Accelerator,
    supply: Sequence[NodeGroup],
    data: ClassData,
    demands: PodDemands,
    kept: Kept | None,
) -> Offered | Lacking:
    looked = _Look(accelerator, data, demands, supply)
    if not looked.fitting and kept is not None and kept.serves_whole:
        # Cordoned nodes on which all replicas serve are left when somebody drains them, not before.
        looked = _Look(accelerator, data, demands, [replace(group, schedulable=True) for group in supply])
    if not looked.fitting:
        return Lacking(accelerator, index, _message(accelerator, looked.lacks))
    fitting = looked.fitting
    # A Deployment asks for one resource: the one it has, else the one looked for first, then that of most nodes.
    resource = min(
        fitting,
        key=lambda name: (
            kept is None or name not in kept.resources,
            data.rank(name) if name else 0,
            -sum(one.count for one in fitting[name]),
            name or "",
        ),
    )
    return Offered(
        accelerator, index, resource, tuple(fitting[resource]), tuple(group for group, _ in looked.unfit(resource))
    )


class _Look:
    """One look at all nodes for one entry of a placement."""

    def __init__(
        self, accelerator: Accelerator, data: ClassData, demands: PodDemands, supply: Sequence[NodeGroup]
    ) -> None:
        self.fitting: dict[str | None, list[NodeGroup]] = {}
        self.lacks: list[tuple[NodeGroup, str]] = []
        self._unfit: list[tuple[NodeGroup, str]] = []
        self._accelerator, self._data = accelerator, data
        for group in supply:
            self._sort(group, demands)
        self._drop_unselectable()

    def unfit(self, resource: str | None) -> list[tuple[NodeGroup, str]]:
        """Return nodes that offer a resource and whose devices are not what was asked for."""
        return [(group, lack) for group, lack in self._unfit if resource in group.allocatable]

    def _sort(self, group: NodeGroup, demands: PodDemands) -> None:
        accelerator, data = self._accelerator, self._data
        lack = _general_lack(group, accelerator, data, demands)
        resource: str | None = None
        if lack is None and data.name != "CPU":
            resource, lack = _device(group, accelerator, data)
            if resource is not None:
                lack = _device_lack(group, accelerator.requirements, data, resource)
                if lack is not None:
                    self._unfit.append((group, lack))
        if lack is None:
            self.fitting.setdefault(resource, []).append(group)
        else:
            self.lacks.append((group, lack))

    def _drop_unselectable(self) -> None:
        """Drop nodes that fit by their agent's word alone, where the scheduler could not tell them from others."""
        facts = needed_facts(self._accelerator.requirements)
        for resource in list(self.fitting):
            if not facts or not self.unfit(resource):
                continue
            kept = []
            for group in self.fitting[resource]:
                missing = next((fact for fact in facts if way_labels(group, self._data, fact) is None), None)
                if missing is None:
                    kept.append(group)
                else:
                    self.lacks.append((group, f"it fits, but no label tells the scheduler its {_WORDS[missing]}"))
            self.fitting[resource] = kept
            if not kept:
                del self.fitting[resource]


_WORDS: Final[Mapping[Fact, str]] = {
    "product": "product",
    "computeCapability": "compute capability",
    "driver": "driver",
    "memoryMebibytes": "device memory",
    "chip": "chip",
}


def needed_facts(needs: Requirements) -> tuple[Fact, ...]:
    """Return the facts of devices that requirements are about."""
    asked: tuple[tuple[Fact, bool], ...] = (
        ("product", bool(needs.products)),
        ("computeCapability", needs.min_compute_capability is not None or needs.max_compute_capability is not None),
        ("driver", needs.min_driver is not None or needs.max_driver is not None),
        ("memoryMebibytes", needs.min_memory_bytes is not None),
        ("chip", bool(needs.chips)),
    )
    return tuple(fact for fact, is_asked in asked if is_asked)


def _general_lack(group: NodeGroup, accelerator: Accelerator, data: ClassData, demands: PodDemands) -> str | None:
    if not group.schedulable:
        return AWAY
    wanted = accelerator.requirements.architectures
    architecture = group.labels.get(ARCHITECTURE)
    if wanted and architecture not in wanted:
        return f"architecture is {architecture or 'unknown'}, wanted {' or '.join(wanted)}"
    for key, value in sorted({**accelerator.requirements.node_selector, **demands.node_selector}.items()):
        if group.labels.get(key) != value:
            seen = f"is {group.labels[key] or 'empty'}" if key in group.labels else "is not there"
            return f"label {key} {seen}, wanted {value or 'empty'}"
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
    """Return the extended resource that fits and None, or None and what the nodes lack."""
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
        most = max(there, key=lambda name: (group.allocatable[name], name))
        return None, f"{most} is {group.allocatable[most]} a node, wanted {count}"
    others = sorted(name for name in group.allocatable if "/" in name)
    wanted = named or f"{data.resources[0]} or the like"
    return None, f"no {wanted}" + (f", it has {', '.join(others)}" if others else "")


def _device_lack(group: NodeGroup, needs: Requirements, data: ClassData, resource: str) -> str | None:
    """Return what some device lacks that a pod may be given for the resource; None: each fits."""
    lack = outside("driver", driver(group, data), needs.min_driver, needs.max_driver)
    if lack is not None:
        return lack
    return next((lack for one in devices(group, data, resource) if (lack := _lack_of(one, needs)) is not None), None)


def _lack_of(one: Device, needs: Requirements) -> str | None:
    if needs.products and not any(same_product(one.product or "", wanted) for wanted in needs.products):
        return f"product is {one.product or 'unknown'}, wanted {' or '.join(needs.products)}"
    if needs.chips and one.chip not in needs.chips:
        return f"chip is {one.chip or 'unknown'}, wanted {' or '.join(needs.chips)}"
    lack = outside(
        "compute capability", one.compute_capability, needs.min_compute_capability, needs.max_compute_capability
    )
    if lack is not None:
        return lack
    if needs.min_memory_bytes is not None and (one.memory_bytes is None or one.memory_bytes < needs.min_memory_bytes):
        return f"device memory is {_gibibytes(one.memory_bytes)}, wanted {_gibibytes(needs.min_memory_bytes)} at least"
    return None


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
        example = min((name for group in groups for name in group.examples), default="?")
        words.append(f"{count} node{'s' if count != 1 else ''} (such as {example}): {lack}")
    rest = sum(group.count for _, groups in told[MAX_LACKS:] for group in groups)
    return f"class {accelerator.class_}: " + "; ".join(words) + (f"; {rest} more with other lacks" if rest else "")
