"""Classes of hardware as data: resources, labels, taints (`configs/accelerators.yml`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hpi_core.errors import Bug
from hpi_operator.plan.intent import Manifest

FORMAT: Final = 1

ClassName = Literal["CPU", "NVIDIA", "Ascend"]
CLASSES: Final[tuple[ClassName, ...]] = ("CPU", "NVIDIA", "Ascend")


@dataclass(frozen=True)
class ClassData:
    """One class of hardware as the scheduler sees it."""

    name: ClassName
    device: str
    """PaddleX's word for the first device of a container."""
    resources: tuple[str, ...]
    """Extended resources in the order in which they are looked for; `*` stands for the rest of a name."""
    tolerations: tuple[Manifest, ...]
    product_label: str | None
    compute_capability_labels: tuple[str, ...]
    driver_labels: tuple[str, ...]
    memory_label: str | None
    """Its value is in MiB."""
    chip_label: str | None
    runtime_class: str | None
    environment: Mapping[str, str]

    @property
    def label_keys(self) -> frozenset[str]:
        """Every label that a decision about the class may read."""
        named = (self.product_label, self.memory_label, self.chip_label)
        return frozenset({key for key in named if key} | {*self.compute_capability_labels, *self.driver_labels})

    def matches(self, resource: str) -> bool:
        """Return whether an extended resource is one of the class."""
        return any(
            resource.startswith(pattern[:-1]) if pattern.endswith("*") else resource == pattern
            for pattern in self.resources
        )

    def rank(self, resource: str) -> int:
        """Return the place of a resource in the order in which resources are looked for."""
        for place, pattern in enumerate(self.resources):
            if resource == pattern or (pattern.endswith("*") and resource.startswith(pattern[:-1])):
                return place
        return len(self.resources)


def read_classes(document: Mapping[str, Any]) -> dict[ClassName, ClassData]:
    """Return the classes of the parsed file.

    Raises:
        Bug: The file, which ships with the project, is malformed.
    """
    try:
        if document["format"] != FORMAT or set(document["classes"]) != set(CLASSES):
            raise Bug(f"configs/accelerators.yml must have format {FORMAT} and the classes {list(CLASSES)}")
        return {name: _class(name, document["classes"][name]) for name in CLASSES}
    except (KeyError, TypeError, AttributeError) as error:
        raise Bug(f"configs/accelerators.yml is malformed: {error!r}") from error


def _class(name: ClassName, written: Mapping[str, Any]) -> ClassData:
    labels = written["labels"]
    return ClassData(
        name=name,
        device=written["device"],
        resources=tuple(written["resources"]),
        tolerations=tuple(written["tolerations"]),
        product_label=labels.get("product"),
        compute_capability_labels=tuple(labels.get("computeCapability", ())),
        driver_labels=tuple(labels.get("driver", ())),
        memory_label=labels.get("memoryMebibytes"),
        chip_label=labels.get("chip"),
        runtime_class=written["runtimeClass"],
        environment=dict(written["environment"]),
    )
