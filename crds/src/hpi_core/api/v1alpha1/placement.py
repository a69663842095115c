"""On which hardware the replicas run: classes of accelerators in order of wish."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import Atomic, ListSet, Rule
from hpi_core.api.v1alpha1.scalars import (
    LABEL_KEY,
    LABEL_VALUE,
    MAX_BYTES,
    RESOURCE_NAME,
    Chip,
    ComputeCapability,
    LabelName,
    Version,
)

MAX_ACCELERATORS: Final = 8

AcceleratorName = Literal["CPU", "NVIDIA", "Ascend"]
LabelMap = Annotated[
    dict[
        Annotated[str, Field(pattern=LABEL_KEY, max_length=317)],
        Annotated[str, Field(pattern=LABEL_VALUE, max_length=63)],
    ],
    Field(max_length=16),
]


class Requirements(ApiModel):
    """What a node of the class must have. What is absent is not asked."""

    architectures: Annotated[tuple[Literal["amd64", "arm64"], ...], Field(strict=False, max_length=2), ListSet()] = ()
    """Architectures of the node, in Kubernetes' words. Empty: every one that the runtime has."""

    products: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], Field(strict=False, max_length=8), ListSet()
    ] = ()
    """Product names, compared without what sharing adds to them. Empty: every one."""

    min_compute_capability: ComputeCapability | None = None
    """Lowest compute capability of an NVIDIA GPU."""

    max_compute_capability: ComputeCapability | None = None
    """Highest compute capability of an NVIDIA GPU."""

    chips: Annotated[tuple[Chip, ...], Field(strict=False, max_length=8), ListSet()] = ()
    """SoC versions of an Ascend NPU. Empty: every one."""

    min_memory_bytes: Annotated[int, Field(ge=0, le=MAX_BYTES)] | None = None
    """Least memory of one device, or of the slice of it. Unit: bytes."""

    min_driver: Version | None = None
    """Oldest driver."""

    max_driver: Version | None = None
    """Newest driver."""

    node_selector: LabelMap = Field(default_factory=dict)
    """Labels that the node must have."""


class Accelerator(ApiModel):
    """One class of hardware."""

    # A class in Python is another thing.
    class_: AcceleratorName = Field(alias="class")
    """CPU: the processors alone. NVIDIA: a GPU or a slice of one. Ascend: an NPU or a slice of one."""

    resource_name: Annotated[str, Field(pattern=RESOURCE_NAME, max_length=317)] | None = None
    """Name of the device plugin's resource, such as `nvidia.com/mig-1g.10gb` or `huawei.com/Ascend310P`. Absent: that
    of the class, or for Ascend the one that the nodes offer."""

    count: Annotated[int, Field(ge=1, le=64)] | None = None
    """Devices of one replica. Absent: 1."""

    requirements: Requirements = Field(default_factory=Requirements)
    """What a node of the class must have."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.class != 'CPU' || (!has(self.resourceName) && !has(self.count))",
            "class CPU has no device: resourceName and count must not be set",
            lambda self: self.class_ != "CPU" or (self.resource_name is None and self.count is None),
        ),
        Rule(
            "self.class == 'NVIDIA' || !has(self.requirements) || (!has(self.requirements.minComputeCapability)"
            " && !has(self.requirements.maxComputeCapability))",
            "minComputeCapability and maxComputeCapability are for class NVIDIA alone",
            lambda self: (
                self.class_ == "NVIDIA"
                or (
                    self.requirements.min_compute_capability is None
                    and self.requirements.max_compute_capability is None
                )
            ),
        ),
        Rule(
            "self.class == 'Ascend' || !has(self.requirements) || !has(self.requirements.chips)"
            " || self.requirements.chips.size() == 0",
            "chips are for class Ascend alone",
            lambda self: self.class_ == "Ascend" or not self.requirements.chips,
        ),
    )


class TopologySpread(ApiModel):
    """How replicas keep away from one another."""

    nodes: Literal["Preferred", "Required", "Disabled"] = "Preferred"
    """Whether replicas spread over nodes. Required: a replica that would unbalance them waits."""

    zones: Literal["Preferred", "Required", "Disabled"] = "Preferred"
    """Whether replicas spread over zones."""


class Placement(ApiModel):
    """On which hardware the replicas run."""

    accelerators: Annotated[
        tuple[Accelerator, ...], Field(strict=False, min_length=1, max_length=MAX_ACCELERATORS), Atomic()
    ] = (Accelerator.model_validate({"class": "CPU"}),)
    """Classes of hardware in order of wish."""

    policy: Literal["First", "Spill"] = "First"
    """First: all replicas on the first class that the cluster can offer. Spill: replicas that wait for 60 seconds move
    to the next class."""

    scheduler_name: LabelName | None = None
    """Scheduler of the pods, such as `volcano`. Absent: the cluster's default."""

    topology_spread: TopologySpread = Field(default_factory=TopologySpread)
    """How replicas keep away from one another."""
