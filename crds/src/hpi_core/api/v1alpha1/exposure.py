"""How a pipeline is reached, how many replicas serve it and what keeps them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import Atomic, IntOrPercent, ListMap, ListSet, Rule
from hpi_core.api.v1alpha1.references import SecretReference
from hpi_core.api.v1alpha1.scalars import ABSOLUTE_PATH, HOST_NAME, MAX_BYTES, URL_PATH, LabelName, ObjectName

MAX_REPLICAS = 10_000


class Target(ApiModel):
    """One measure that the autoscaler holds."""

    metric: Literal["CPUUtilizationPercent", "QueueLength", "RequestsInService", "RequestsPerSecond"]
    """What is measured, as an average over the replicas."""

    average: Annotated[int, Field(ge=1, le=1_000_000)]
    """The average to hold, in the unit that the metric's name says."""


class Autoscaling(ApiModel):
    """Bounds and targets of the autoscaler."""

    min_replicas: int = Field(default=1, ge=1, le=MAX_REPLICAS)
    """Fewest replicas."""

    max_replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)]
    """Most replicas."""

    targets: Annotated[tuple[Target, ...], Field(strict=False, min_length=1, max_length=4), ListMap(("metric",))] = (
        Target(metric="CPUUtilizationPercent", average=80),
    )
    """Measures to hold; the one that asks for most replicas decides."""

    scale_down_stabilization_seconds: int = Field(default=300, ge=0, le=3_600)
    """How long fewer replicas must have been enough before any goes. Unit: seconds."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not be larger than maxReplicas",
            lambda self: self.min_replicas <= self.max_replicas,
        ),
    )


class ParentReference(ApiModel):
    """A Gateway."""

    name: ObjectName
    """Name of the Gateway."""

    namespace: LabelName | None = None
    """Namespace of the Gateway. Absent: the pipeline's."""

    section_name: ObjectName | None = None
    """Listener of the Gateway. Absent: every one that allows it."""


class Route(ApiModel):
    """How the pipeline is reached from outside: an HTTPRoute of the Gateway API."""

    parent_refs: Annotated[tuple[ParentReference, ...], Field(strict=False, min_length=1, max_length=8), Atomic()]
    """Gateways that lead to the pipeline."""

    hostnames: Annotated[
        tuple[Annotated[str, Field(pattern=HOST_NAME, max_length=253)], ...],
        Field(strict=False, max_length=16),
        ListSet(),
    ] = ()
    """Hosts of the requests. Empty: those of the listener."""

    path_prefix: str = Field(default="/", pattern=URL_PATH, max_length=256)
    """Beginning of the path; it is cut off before the request reaches the pipeline."""


class Availability(ApiModel):
    """The disruption budget."""

    max_unavailable: IntOrPercent = 1
    """Replicas that may be away at once through evictions."""


class Cache(ApiModel):
    """Where engines and models are kept."""

    medium: Literal["Node", "PersistentVolumeClaim", "Ephemeral"] = "Node"
    """Node: on the node's cache volume, which its agent owns. PersistentVolumeClaim: on a claim that the pods mount.
    Ephemeral: in the pod, gone with it."""

    size_bytes: Annotated[int, Field(ge=2**20, le=MAX_BYTES)] | None = None
    """Most that the cache may hold: of the pod's own volume, or of the claim. Absent: 20 GiB, and for a claim that is
    there its own size. Unit: bytes."""

    claim_name: ObjectName | None = None
    """PersistentVolumeClaim that is there already. Absent: the operator makes one."""

    storage_class_name: ObjectName | None = None
    """StorageClass of the claim that the operator makes. Absent: the cluster's default."""

    access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] | None = None
    """Access mode of the claim that the operator makes. ReadWriteOnce allows one replica. Absent: ReadWriteMany."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.medium == 'PersistentVolumeClaim' || (!has(self.claimName) && !has(self.storageClassName)"
            " && !has(self.accessMode))",
            "claimName, storageClassName and accessMode are for medium PersistentVolumeClaim alone",
            lambda self: (
                self.medium == "PersistentVolumeClaim"
                or (self.claim_name is None and self.storage_class_name is None and self.access_mode is None)
            ),
        ),
        Rule(
            "!has(self.claimName) || (!has(self.storageClassName) && !has(self.accessMode))",
            "storageClassName and accessMode must not be set when claimName is set: the claim is there already",
            lambda self: self.claim_name is None or (self.storage_class_name is None and self.access_mode is None),
        ),
        Rule(
            "self.medium != 'PersistentVolumeClaim' || has(self.claimName) || has(self.sizeBytes)",
            "medium PersistentVolumeClaim needs claimName or sizeBytes",
            lambda self: (
                self.medium != "PersistentVolumeClaim" or self.claim_name is not None or self.size_bytes is not None
            ),
        ),
    )


class License(ApiModel):
    """Licences of the plugin that PaddleX 3.0-beta had: one serial number a device, bound for good."""

    serial_numbers_secret_ref: SecretReference
    """Secret with the serial numbers, one per line under the key `serialNumbers`."""

    activation: Literal["Online", "Offline"] = "Offline"
    """Online: a device is bound through the maker's service. Offline: certificates are there already."""

    licenses_host_path: str = Field(default="/var/lib/hpi/licenses", pattern=ABSOLUTE_PATH, max_length=512)
    """Folder of the node with the certificates; the namespace must allow host paths."""
