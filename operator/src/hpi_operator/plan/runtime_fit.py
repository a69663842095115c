"""What a sort of nodes lacks for an HPIRuntime: architecture, driver, compute capability, chip."""

from __future__ import annotations

from collections.abc import Mapping

from hpi_core.api.v1alpha1.runtime import RuntimeSpec
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.devices import devices, driver, outside
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.placement import ARCHITECTURE


def image_lack(spec: RuntimeSpec, group: NodeGroup) -> str | None:
    """Return what is wrong with the nodes' architecture; None: there is an image for it."""
    architecture = group.labels.get(ARCHITECTURE)
    if architecture in {image.architecture for image in spec.images}:
        return None
    return f"it has no image for {architecture or 'an unknown architecture'}"


def device_lack(
    spec: RuntimeSpec, group: NodeGroup, data: ClassData, resource: str | None, *, unknown_fits: bool
) -> str | None:
    """Return what some device of the nodes, or their driver, lacks; None: nothing.

    Args:
        spec: The runtime, for the class of hardware.
        group: The nodes.
        data: The class of hardware.
        resource: The extended resource that pods ask for; None: any of the class.
        unknown_fits: Whether what nobody tells counts as fitting: a self-test, which owns the device, will find out.
    """
    seen = driver(group, data)
    if spec.driver is not None and not (seen is None and unknown_fits):
        lack = outside("the driver", seen, spec.driver.min, spec.driver.max)
        if lack is not None:
            return lack
    for one in devices(group, data, resource):
        capability, chip = one.compute_capability, one.chip
        if spec.compute_capabilities and not _is_one(capability, spec.compute_capabilities, unknown_fits):
            return f"compute capability {capability or 'unknown'} is none of {', '.join(spec.compute_capabilities)}"
        if spec.chips and not _is_one(chip, spec.chips, unknown_fits):
            return f"chip {chip or 'unknown'} is none of {', '.join(spec.chips)}"
    return None


def node_lack(spec: RuntimeSpec, group: NodeGroup, classes: Mapping[ClassName, ClassData]) -> str | None:
    """Return why a node cannot have a runtime; None: it can, as far as anybody tells."""
    lack = image_lack(spec, group)
    if lack is not None or spec.accelerator == "CPU":
        return lack
    data = classes[spec.accelerator]
    offered = [name for name, count in sorted(group.allocatable.items()) if data.matches(name) and count > 0]
    if not offered:
        return f"the node offers no {data.resources[0]} or the like"
    lacks = [device_lack(spec, group, data, resource, unknown_fits=True) for resource in offered]
    # One resource that it can run on is enough.
    return None if None in lacks else lacks[0]


def _is_one(seen: str | None, known: tuple[str, ...], unknown_fits: bool) -> bool:
    return unknown_fits if seen is None else seen in known
