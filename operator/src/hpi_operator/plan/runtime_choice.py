"""Which HPIRuntime a class of hardware gets: by constraint, hardware and self-test; else the nearest, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hpi_core.api.v1alpha1.pipeline import RuntimeChoice
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_operator.plan.accelerators import ClassData
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.placement import ARCHITECTURE, Offered, chip, compute_capability, driver
from hpi_operator.plan.versions import satisfies, sortable

MAX_NEAREST: Final = 3


@dataclass(frozen=True)
class ChosenRuntime:
    """A runtime, and the nodes on which pods of it may land."""

    runtime: HPIRuntime
    architecture: str
    """Architecture of the nodes, in Kubernetes' words."""
    image: str
    """The image by digest."""
    groups: tuple[NodeGroup, ...]
    """Nodes that fit, whether its self-test has passed there yet or not."""
    usable_nodes: int
    """Nodes of those where its self-test has passed."""


@dataclass(frozen=True)
class NoRuntime:
    """Why no runtime fits."""

    message: str
    """The nearest candidates, with the reason for each."""


def choose_runtime(
    runtimes: Sequence[HPIRuntime], wish: RuntimeChoice | None, offered: Offered, data: ClassData
) -> ChosenRuntime | NoRuntime:
    """Return the runtime for what the cluster offers.

    Of those that fit, one that is usable on some node comes before one that is not; then the newest version; then the
    one with most nodes; then by name. A GPU or NPU variant does all that the CPU variant does, and serves the CPU class
    only when it is asked for by name or variant.

    Args:
        runtimes: All there are.
        wish: What the pipeline asks; None: the newest that fits.
        offered: Nodes that fit the placement.
        data: The class of hardware.
    """
    fitting: list[ChosenRuntime] = []
    refused: list[tuple[int, str, str]] = []
    for runtime in runtimes:
        step, reason = _wish_lack(runtime, wish, data)
        if reason is not None:
            refused.append((step, runtime.metadata.name, reason))
            continue
        found, lack = _on_hardware(runtime, offered, data)
        fitting += found
        if not found:
            refused.append((9, runtime.metadata.name, lack))
    if fitting:
        return min(fitting, key=_preference)
    return NoRuntime(_message(runtimes, refused, wish, data))


def _preference(one: ChosenRuntime) -> tuple[bool, _Reversed, int, str, str]:
    nodes = sum(group.count for group in one.groups)
    return (
        one.usable_nodes == 0,
        _Reversed(one.runtime.spec.version),
        -nodes,
        one.runtime.metadata.name,
        one.architecture,
    )


@dataclass(frozen=True)
class _Reversed:
    """A version that sorts the newest first."""

    version: str

    def __lt__(self, other: _Reversed) -> bool:
        return sortable(self.version) > sortable(other.version)


def _wish_lack(runtime: HPIRuntime, wish: RuntimeChoice | None, data: ClassData) -> tuple[int, str | None]:
    """Return how near the runtime comes, and what the wish has against it; None: nothing."""
    spec = runtime.spec
    named = wish is not None and wish.name is not None
    if wish is not None and wish.name is not None and runtime.metadata.name != wish.name:
        return 0, f"spec.runtime.name is {wish.name}"
    if wish is not None and wish.variant is not None and spec.variant != wish.variant:
        return 1, f"its variant is {spec.variant}, wanted {wish.variant}"
    asked = wish is not None and (named or wish.variant is not None)
    if spec.accelerator != data.name and not (data.name == "CPU" and asked):
        return 2, f"it is for {spec.accelerator}, the class is {data.name}"
    if spec.state == "Withdrawn":
        return 7, "it is withdrawn"
    if spec.state == "Deprecated" and not named:
        return 7, "it is deprecated: only spec.runtime.name chooses it"
    if (
        wish is not None
        and wish.version_constraint is not None
        and not satisfies(spec.version, wish.version_constraint)
    ):
        return 6, f"its version is {spec.version}, wanted {wish.version_constraint}"
    return 9, None


def _on_hardware(runtime: HPIRuntime, offered: Offered, data: ClassData) -> tuple[list[ChosenRuntime], str]:
    lacks: dict[str, int] = {}
    by_architecture: dict[str, list[NodeGroup]] = {}
    images: dict[str, str] = {one.architecture: one.image for one in runtime.spec.images}
    for group in offered.groups:
        lack = _hardware_lack(runtime, group, data, images)
        if lack is None:
            by_architecture.setdefault(group.labels.get(ARCHITECTURE, ""), []).append(group)
        else:
            lacks[lack] = lacks.get(lack, 0) + group.count
    found = [
        ChosenRuntime(
            runtime,
            architecture,
            images[architecture],
            tuple(groups),
            sum(group.count for group in groups if runtime.metadata.name in group.usable_runtimes),
        )
        for architecture, groups in sorted(by_architecture.items())
    ]
    told = sorted(lacks.items(), key=lambda item: (-item[1], item[0]))
    return found, "; ".join(f"on {count} node{'s' if count != 1 else ''}: {lack}" for lack, count in told[:2])


def _hardware_lack(runtime: HPIRuntime, group: NodeGroup, data: ClassData, images: dict[str, str]) -> str | None:
    spec = runtime.spec
    architecture = group.labels.get(ARCHITECTURE)
    if architecture not in images:
        return f"it has no image for {architecture or 'an unknown architecture'}"
    if spec.accelerator != data.name:
        # On the processors alone, a GPU variant needs neither driver nor device.
        return None
    seen = driver(group, data)
    if spec.driver is not None and (spec.driver.min or spec.driver.max):
        if seen is None:
            return "the driver is unknown"
        if spec.driver.min and sortable(seen) < sortable(spec.driver.min):
            return f"the driver is {seen}, it needs {spec.driver.min} at least"
        if spec.driver.max and sortable(seen) > sortable(spec.driver.max):
            return f"the driver is {seen}, it takes {spec.driver.max} at most"
    capability = compute_capability(group, data)
    if spec.compute_capabilities and capability not in spec.compute_capabilities:
        return f"compute capability {capability or 'unknown'} is none of {', '.join(spec.compute_capabilities)}"
    soc = chip(group, data)
    if spec.chips and soc not in spec.chips:
        return f"chip {soc or 'unknown'} is none of {', '.join(spec.chips)}"
    return None


def _message(
    runtimes: Sequence[HPIRuntime], refused: list[tuple[int, str, str]], wish: RuntimeChoice | None, data: ClassData
) -> str:
    wanted = f"class {data.name}"
    if wish is not None:
        named = wish.name or f"{wish.variant} {wish.version_constraint or ''}".strip()
        wanted += f", spec.runtime {named}"
    if not runtimes:
        return f"{wanted}: the cluster has no HPIRuntime"
    nearest = sorted(refused, key=lambda one: (-one[0], one[1]))[:MAX_NEAREST]
    return f"{wanted}: no HPIRuntime fits; nearest: " + "; ".join(f"{name}: {reason}" for _, name, reason in nearest)
