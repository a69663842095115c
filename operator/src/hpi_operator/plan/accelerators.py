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

Fact = Literal["product", "computeCapability", "driver", "memoryMebibytes", "chip"]
"""What labels tell of the devices of a node."""
FACTS: Final[tuple[Fact, ...]] = ("product", "computeCapability", "driver", "memoryMebibytes", "chip")


@dataclass(frozen=True)
class ClassData:
    """One class of hardware as the scheduler sees it."""

    name: ClassName
    device: str
    """PaddleX's word for the first device of a container."""
    resources: tuple[str, ...]
    """Extended resources in the order in which they are looked for; `*` stands for the rest of a name."""
    tolerations: tuple[Manifest, ...]
    labels: Mapping[Fact, tuple[tuple[str, ...], ...]]
    """Ways to read each fact from a node's labels, the first that the node has counts; the values of one way are joined
    by dots."""
    runtime_class: str | None
    environment: Mapping[str, str]

    @property
    def label_keys(self) -> frozenset[str]:
        """Every label that a decision about the class may read."""
        return frozenset(key for ways in self.labels.values() for way in ways for key in way)

    @property
    def label(self) -> str:
        """Value of the label `class`: the class in lower case."""
        return self.name.lower()

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
    unknown = set(written["labels"]) - set(FACTS)
    if unknown:
        raise Bug(f"configs/accelerators.yml: class {name} has labels for {sorted(unknown)}, known are {list(FACTS)}")
    return ClassData(
        name=name,
        device=written["device"],
        resources=tuple(written["resources"]),
        tolerations=tuple(written["tolerations"]),
        labels={
            fact: tuple(tuple(way) for way in written["labels"][fact]) for fact in FACTS if fact in written["labels"]
        },
        runtime_class=written["runtimeClass"],
        environment=dict(written["environment"]),
    )
