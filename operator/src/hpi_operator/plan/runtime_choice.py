"""Which HPIRuntime a class of hardware gets: by constraint, hardware and self-test; else the nearest, and why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hpi_core.api.v1alpha1.pipeline import RuntimeChoice
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_operator.plan.accelerators import ClassData
from hpi_operator.plan.delivery import STORE, forbidden, forbids_host_paths
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.placement import ARCHITECTURE, Offered
from hpi_operator.plan.runtime_fit import device_lack, image_lack
from hpi_operator.plan.versions import satisfies, sortable

MAX_NEAREST: Final = 3

# How near a runtime comes that is refused: the larger, the nearer.
_OTHER_NAME, _OTHER_VARIANT, _OTHER_CLASS, _OTHER_VERSION, _NOT_OFFERED, _OTHER_HARDWARE = range(6)


@dataclass(frozen=True)
class Place:
    """The namespace of the pods, as far as it decides which runtimes they can have."""

    namespace: str
    pod_security: str
    """Level of Pod Security that it enforces; empty: none is named."""


ANYWHERE: Final = Place("", "")


@dataclass(frozen=True)
class RuntimeRecord:
    """A runtime as a revision has it: enough to make its pods again when the HPIRuntime has changed or gone."""

    name: str
    """Name of the HPIRuntime."""
    image: str
    """The image by digest."""
    architecture: str | None = None
    """The one architecture that pods are kept to, in Kubernetes' words; None: the image is there for each."""
    variant: str | None = None
    """Variant of a runtime whose environment lies in a folder of the node; None: the image has it."""
    lock_digest: str | None = None
    """Digest of the list of its wheels, where a folder of the node has it."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; what is absent is left out."""
        written = {"name": self.name, "image": self.image, "architecture": self.architecture}
        written |= {"variant": self.variant, "lockDigest": self.lock_digest}
        return {key: value for key, value in written.items() if value is not None}

    @staticmethod
    def from_json(written: Mapping[str, Any]) -> RuntimeRecord:
        """Return the record of a JSON form.

        Raises:
            KeyError: A field is missing.
        """
        delivered = (written.get("variant"), written.get("lockDigest"))
        return RuntimeRecord(written["name"], written["image"], written.get("architecture"), *delivered)


@dataclass(frozen=True)
class ChosenRuntime:
    """A runtime, and the nodes on which pods of it may land."""

    record: RuntimeRecord
    runtime: HPIRuntime | None
    """None: the HPIRuntime has gone since, and pods of it go on."""
    groups: tuple[NodeGroup, ...]
    """Nodes that fit, whether its self-test has passed there yet or not."""

    @property
    def name(self) -> str:
        """Name of the HPIRuntime."""
        return self.record.name

    @property
    def nodes(self) -> int:
        """Nodes that fit."""
        return sum(group.count for group in self.groups)

    @property
    def usable_groups(self) -> tuple[NodeGroup, ...]:
        """Nodes where its self-test has passed."""
        return tuple(group for group in self.groups if self.name in group.usable_runtimes)

    @property
    def usable_nodes(self) -> int:
        """Nodes where its self-test has passed."""
        return sum(group.count for group in self.usable_groups)


@dataclass(frozen=True)
class NoRuntime:
    """Why no runtime fits."""

    message: str
    """The nearest candidates, with the reason for each."""


def choose_runtime(
    runtimes: Sequence[HPIRuntime],
    wish: RuntimeChoice | None,
    offered: Offered,
    data: ClassData,
    kept: RuntimeRecord | None = None,
    place: Place = ANYWHERE,
) -> ChosenRuntime | NoRuntime:
    """Return the runtime for what the cluster offers.

    Of those that fit, the one that is kept comes first: a newer one moves nobody by itself. Then one that is usable on
    some node before one that is not; then the newest version; then the one with most nodes; then by name. A GPU or NPU
    variant does all that the CPU variant does, and serves the CPU class only when it is asked for by name or variant.

    Args:
        runtimes: All there are.
        wish: What the pipeline asks; None: the newest that fits.
        offered: Nodes that fit the placement.
        data: The class of hardware.
        kept: What the class has already; None: nothing.
        place: The namespace of the pods.
    """
    fitting: list[ChosenRuntime] = []
    refused: list[tuple[int, str, str]] = []
    for runtime in runtimes:
        is_kept = kept is not None and kept.name == runtime.metadata.name
        step, reason = _wish_lack(runtime, wish, data, place, is_kept=is_kept)
        if reason is not None:
            refused.append((step, runtime.metadata.name, reason))
            continue
        found, lack = on_hardware(runtime, offered, data)
        fitting += found
        if not found:
            refused.append((_OTHER_HARDWARE, runtime.metadata.name, lack))
    if fitting:
        return min(fitting, key=lambda one: _preference(one, kept))
    return NoRuntime(_message(runtimes, refused, wish, data))


def holds(record: RuntimeRecord, runtimes: Sequence[HPIRuntime], offered: Offered, data: ClassData) -> bool:
    """Return whether pods of a recorded runtime can still be made as they were: same image, and it fits some nodes."""
    return any(
        one.record == record
        for runtime in runtimes
        if runtime.metadata.name == record.name
        for one in on_hardware(runtime, offered, data)[0]
    )


def recorded(record: RuntimeRecord, runtimes: Sequence[HPIRuntime], offered: Offered, data: ClassData) -> ChosenRuntime:
    """Return a recorded runtime as it is, with the nodes that fit it; where none does, with all that are offered."""
    runtime = next((one for one in runtimes if one.metadata.name == record.name), None)
    found = () if runtime is None else on_hardware(runtime, offered, data)[0]
    groups = next((one.groups for one in found if one.record.architecture == record.architecture), offered.groups)
    return ChosenRuntime(record, runtime, groups)


def on_hardware(runtime: HPIRuntime, offered: Offered, data: ClassData) -> tuple[list[ChosenRuntime], str]:
    """Return one choice for each image of a runtime with the nodes that fit it, and why others do not."""
    spec = runtime.spec
    lacks: dict[str, int] = {}
    by_image: dict[str, list[NodeGroup]] = {}
    images: dict[str, str] = {one.architecture: one.image for one in spec.images}
    for group in offered.groups:
        lack = image_lack(spec, group)
        # On the processors alone, a GPU variant needs neither driver nor device.
        if lack is None and spec.accelerator == data.name != "CPU":
            lack = device_lack(spec, group, data, offered.resource, unknown_fits=False)
        if lack is None:
            by_image.setdefault(images[group.labels[ARCHITECTURE]], []).append(group)
        else:
            lacks[lack] = lacks.get(lack, 0) + group.count
    delivered = (spec.variant, spec.lock_digest) if spec.delivery == STORE else (None, None)
    found = [
        ChosenRuntime(
            RuntimeRecord(runtime.metadata.name, image, _pin(image, images, offered), *delivered),
            runtime,
            tuple(groups),
        )
        for image, groups in sorted(by_image.items())
    ]
    told = sorted(lacks.items(), key=lambda item: (-item[1], item[0]))
    return found, "; ".join(f"on {count} node{'s' if count != 1 else ''}: {lack}" for lack, count in told[:2])


def _pin(image: str, images: Mapping[str, str], offered: Offered) -> str | None:
    """Return the one architecture that pods of an image must be kept to, None where each will do."""
    asked = offered.accelerator.requirements.architectures
    of_image = sorted(architecture for architecture, one in images.items() if one == image)
    # An index of images for several architectures runs on each of them.
    if len(of_image) > 1 and len({*of_image} & {*asked}) != 1:
        return None
    return next(architecture for architecture in of_image if not asked or architecture in asked)


def _preference(one: ChosenRuntime, kept: RuntimeRecord | None) -> tuple[bool, bool, bool, _Reversed, int, str, str]:
    if one.runtime is None:
        raise ValueError(f"{one.name} is no candidate: it has gone")
    return (
        kept is None or one.name != kept.name,
        kept is None or one.record.architecture != kept.architecture,
        one.usable_nodes == 0,
        _Reversed(one.runtime.spec.version),
        -one.nodes,
        one.name,
        one.record.image,
    )


@dataclass(frozen=True)
class _Reversed:
    """A version that sorts the newest first."""

    version: str

    def __lt__(self, other: _Reversed) -> bool:
        return sortable(self.version) > sortable(other.version)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reversed) and sortable(self.version) == sortable(other.version)

    def __hash__(self) -> int:
        return hash(sortable(self.version))


def _wish_lack(
    runtime: HPIRuntime, wish: RuntimeChoice | None, data: ClassData, place: Place, *, is_kept: bool
) -> tuple[int, str | None]:
    """Return how near the runtime comes, and what the wish has against it; None: nothing."""
    spec = runtime.spec
    named = wish is not None and wish.name is not None
    if wish is not None and wish.name is not None and runtime.metadata.name != wish.name:
        return _OTHER_NAME, f"spec.runtime.name is {wish.name}"
    if wish is not None and wish.variant is not None and spec.variant != wish.variant:
        return _OTHER_VARIANT, f"its variant is {spec.variant}, wanted {wish.variant}"
    asked = wish is not None and (named or wish.variant is not None)
    if spec.accelerator != data.name and not (data.name == "CPU" and asked):
        return _OTHER_CLASS, f"it is for {spec.accelerator}, the class is {data.name}"
    constraint = None if wish is None else wish.version_constraint
    if constraint is not None and not satisfies(spec.version, constraint):
        return _OTHER_VERSION, f"its version is {spec.version}, wanted {constraint}"
    if is_kept:
        # What runs goes on, whatever became of the offer.
        return _OTHER_HARDWARE, None
    if spec.delivery == STORE and forbids_host_paths(place.pod_security):
        return _OTHER_HARDWARE, forbidden(f"namespace {place.namespace}", place.pod_security)
    if spec.state == "Withdrawn":
        return _NOT_OFFERED, "it is withdrawn"
    if spec.state == "Deprecated" and not named:
        return _NOT_OFFERED, "it is deprecated: only spec.runtime.name chooses it"
    return _OTHER_HARDWARE, None


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
