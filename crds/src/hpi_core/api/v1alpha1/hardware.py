"""The class of hardware that an engine is made for: the contract's form of `hpi_agent.profile.HardwareClass`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import ListSet, Rule
from hpi_core.api.v1alpha1.scalars import Chip, ComputeCapability, Version

Architecture = Literal["x86_64", "aarch64"]
ProductName = Annotated[str, Field(min_length=1, max_length=128)]


class AcceleratorClass(ApiModel):
    """What two accelerators share that run the same engine. An absent field could not be found out."""

    vendor: Literal["NVIDIA", "Ascend"]
    """Who made it."""

    product: ProductName | None = None
    """The vendor's name without what sharing adds to it, such as `NVIDIA A100-SXM4-40GB`."""

    compute_capability: ComputeCapability | None = None
    """NVIDIA's compute capability."""

    chip: Chip | None = None
    """Ascend's SoC version."""

    memory_gibibytes: Annotated[int, Field(ge=0, le=65_536)] | None = None
    """Memory of the device or of the slice of it, rounded down. Unit: GiB."""

    slice: Annotated[str, Field(min_length=1, max_length=40)] | None = None
    """The part of the device that is had: a MIG profile such as `1g.10gb`, a vNPU template such as `vir04`. Absent: all
    of it."""

    driver: Version | None = None
    """Version of the driver, as far as `driverMatch` says that it counts."""

    toolkit: Version | None = None
    """Newest CUDA that the driver serves, or the installed CANN."""


class HardwareClass(ApiModel):
    """What two machines share that choose the same engine."""

    format_version: Annotated[int, Field(ge=1, le=1_000)]
    """Version of this form."""

    device: Literal["cpu", "gpu", "npu"]
    """What computes."""

    architecture: Architecture | None = None
    """Instruction set architecture of the processors."""

    vendor: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Maker of the processors, as they say themselves."""

    isa_level: Annotated[str, Field(min_length=1, max_length=16)] | None = None
    """`x86-64-v1` to `x86-64-v4`; on aarch64 the widest vector extension."""

    isa_flags: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=24)], ...], Field(strict=False, max_length=32), ListSet()
    ] = ()
    """Features of the processors that engines make use of."""

    threads: Annotated[int, Field(ge=1, le=4_096)]
    """Whole cores that one serving process may keep busy."""

    numa_nodes: Annotated[int, Field(ge=1, le=1_024)] = 1
    """Memory nodes whose processors it may use."""

    memory_gibibytes: Annotated[int, Field(ge=0, le=1_048_576)] | None = None
    """Main memory that it may use, rounded down. Unit: GiB."""

    accelerator: AcceleratorClass | None = None
    """What computes beside the processors."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.device == 'cpu') == !has(self.accelerator)",
            "accelerator must be set when device is gpu or npu, and only then",
            lambda self: (self.device == "cpu") == (self.accelerator is None),
        ),
    )
