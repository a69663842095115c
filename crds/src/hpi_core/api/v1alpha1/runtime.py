"""The kind HPIRuntime: one plugin variant in one version, and the support matrix as data."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel, Metadata
from hpi_core.api.rules import ListMap, ListSet, Rule
from hpi_core.api.v1alpha1.condition import Conditions, Generation
from hpi_core.api.v1alpha1.scalars import (
    IMAGE_BY_DIGEST,
    PACKAGE_NAME,
    PYTHON_VERSION,
    VARIANT,
    Backend,
    Chip,
    ComputeCapability,
    Count,
    Digest,
    Sentence,
    Version,
)

MAX_LIBRARIES: Final = 32


class Image(ApiModel):
    """The image of one architecture."""

    architecture: Literal["amd64", "arm64"]
    """Architecture, in Kubernetes' words."""

    image: Annotated[str, Field(pattern=IMAGE_BY_DIGEST, max_length=512)]
    """The image by digest, such as `registry.example/hpi-cpu@sha256:…`."""


class Library(ApiModel):
    """One library that decides what the variant can do."""

    name: Annotated[str, Field(pattern=PACKAGE_NAME, max_length=64)]
    """Name of the package, such as `onnxruntime-gpu`."""

    version: Version
    """Its exact version."""

    supplied_by: Literal["Lock", "Site"] = "Lock"
    """Lock: it is in the locked list. Site: no index carries it, the site puts it into its wheelhouse."""


class Cuda(ApiModel):
    """NVIDIA's libraries inside the variant."""

    version: Version
    """Version of CUDA."""

    cudnn: Version | None = None
    """Version of cuDNN. Absent: the variant has none."""

    tensorrt: Version | None = None
    """Version of TensorRT. Absent: the variant has none."""


class Cann(ApiModel):
    """Ascend's libraries that the variant was made for."""

    version: Version
    """Version of CANN."""


class DriverRange(ApiModel):
    """Drivers that the variant runs on."""

    min: Version | None = None
    """Oldest one. Absent: every older one too."""

    max: Version | None = None
    """Newest one. Absent: every newer one too."""


class SelfTest(ApiModel):
    """What proves that the variant works on a node: a tiny model on every backend that it claims."""

    timeout_seconds: int = Field(default=600, ge=1, le=7_200)
    """How long it may take. Unit: seconds."""


class RuntimeSpec(ApiModel):
    """What the variant is, and what it fits. A GPU or NPU variant does all that the CPU variant does."""

    variant: Annotated[str, Field(pattern=VARIANT, max_length=40)]
    """Name of the variant, such as `hpi-cpu`, `hpi-gpu-cu126`, `hpi-npu-cann8`, or a user's own."""

    version: Version
    """Version of the variant."""

    delivery: Literal["Image", "Store"] = "Image"
    """Image: pods run an image that has the variant. Store: node agents install the locked wheels into their volume,
    and pods mount that folder; for sites without a registry."""

    images: Annotated[tuple[Image, ...], Field(strict=False, min_length=1, max_length=2), ListMap(("architecture",))]
    """Images by architecture; for delivery Store, the image that the folder is mounted into."""

    lock_digest: Digest
    """Digest of the list of its wheels."""

    accelerator: Literal["CPU", "NVIDIA", "Ascend"]
    """Hardware that the variant is for, beside the processors."""

    backends: Annotated[tuple[Backend, ...], Field(strict=False, min_length=1, max_length=16), ListSet()]
    """Backends that it has."""

    architectures: Annotated[
        tuple[Literal["amd64", "arm64"], ...], Field(strict=False, min_length=1, max_length=2), ListSet()
    ]
    """Architectures that it exists for, in Kubernetes' words."""

    python: Annotated[str, Field(pattern=PYTHON_VERSION, max_length=5)]
    """Version of Python inside, such as `3.11`."""

    libraries: Annotated[tuple[Library, ...], Field(strict=False, max_length=MAX_LIBRARIES), ListMap(("name",))] = ()
    """Libraries that decide what it can do."""

    cuda: Cuda | None = None
    """NVIDIA's libraries inside."""

    cann: Cann | None = None
    """Ascend's libraries that it was made for."""

    driver: DriverRange | None = None
    """Drivers that it runs on. Absent: every one."""

    compute_capabilities: Annotated[tuple[ComputeCapability, ...], Field(strict=False, max_length=32), ListSet()] = ()
    """Compute capabilities that it has code for. Empty: every one."""

    chips: Annotated[tuple[Chip, ...], Field(strict=False, max_length=32), ListSet()] = ()
    """SoC versions that it has code for. Empty: every one."""

    self_test: SelfTest = Field(default_factory=SelfTest)
    """What proves that it works on a node."""

    state: Literal["Offered", "Deprecated", "Withdrawn"] = "Offered"
    """Offered: may be chosen. Deprecated: chosen only by name. Withdrawn: never chosen, and pipelines that run it say
    so."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.images.all(one, one.architecture in self.architectures)",
            "images must not name an architecture that architectures lacks",
            lambda self: all(one.architecture in self.architectures for one in self.images),
        ),
        Rule(
            "(self.accelerator == 'NVIDIA') == has(self.cuda)",
            "cuda must be set for accelerator NVIDIA, and only then",
            lambda self: (self.accelerator == "NVIDIA") == (self.cuda is not None),
        ),
        Rule(
            "(self.accelerator == 'Ascend') == has(self.cann)",
            "cann must be set for accelerator Ascend, and only then",
            lambda self: (self.accelerator == "Ascend") == (self.cann is not None),
        ),
        Rule(
            "self.accelerator == 'NVIDIA' || !has(self.computeCapabilities) || self.computeCapabilities.size() == 0",
            "computeCapabilities are for accelerator NVIDIA alone",
            lambda self: self.accelerator == "NVIDIA" or not self.compute_capabilities,
        ),
        Rule(
            "self.accelerator == 'Ascend' || !has(self.chips) || self.chips.size() == 0",
            "chips are for accelerator Ascend alone",
            lambda self: self.accelerator == "Ascend" or not self.chips,
        ),
        Rule(
            "!has(self.driver) || self.accelerator != 'CPU'",
            "driver must not be set for accelerator CPU",
            lambda self: self.driver is None or self.accelerator != "CPU",
        ),
        Rule(
            "self.variant == oldSelf.variant && self.version == oldSelf.version"
            " && self.lockDigest == oldSelf.lockDigest && self.accelerator == oldSelf.accelerator",
            "variant, version, lockDigest and accelerator must not change: another version is another HPIRuntime",
        ),
    )


class NodeCount(ApiModel):
    """Nodes by how far the variant is there."""

    wanted: Count = 0
    """Nodes that want it."""

    installed: Count = 0
    """Nodes where its image or folder is there."""

    usable: Count = 0
    """Nodes where its self-test passed."""

    failed: Count = 0
    """Nodes where its self-test failed."""


class RuntimeStatus(ApiModel):
    """Where the variant is usable."""

    observed_generation: Generation | None = None
    """Generation of the spec that this is about."""

    conditions: Conditions = ()
    """Observations."""

    nodes: NodeCount = Field(default_factory=NodeCount)
    """Nodes by how far the variant is there."""

    pipelines: Count = 0
    """Pipelines that run it."""

    last_failure: Sentence = ""
    """The last self-test that failed: node, backend, message."""


class HPIRuntime(ApiModel):
    """One plugin variant in one version."""

    api_version: Literal["hpi.paddlex.io/v1alpha1"]
    """Always `hpi.paddlex.io/v1alpha1`."""

    kind: Literal["HPIRuntime"]
    """Always `HPIRuntime`."""

    metadata: Metadata
    """Name of the object."""

    spec: RuntimeSpec
    """What the variant is, and what it fits."""

    status: RuntimeStatus | None = None
    """Where the variant is usable."""
