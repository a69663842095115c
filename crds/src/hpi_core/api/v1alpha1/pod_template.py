"""Additions to the serving pods: a narrow choice, because everything else is the operator's to keep safe."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import Atomic, ListMap, Rule
from hpi_core.api.v1alpha1.placement import LabelMap
from hpi_core.api.v1alpha1.references import SecretReference
from hpi_core.api.v1alpha1.scalars import LABEL_KEY, LABEL_VALUE, QUANTITY, RESOURCE_NAME, LabelName, ObjectName

CONTAINER_RESOURCE: Final = rf"^(cpu|memory|ephemeral-storage)$|{RESOURCE_NAME}"

AnnotationMap = Annotated[
    dict[
        Annotated[str, Field(pattern=LABEL_KEY, max_length=317)],
        Annotated[str, Field(max_length=1_024)],
    ],
    Field(max_length=16),
]
ResourceMap = Annotated[
    dict[
        Annotated[str, Field(pattern=CONTAINER_RESOURCE, max_length=317)],
        Annotated[str, Field(pattern=QUANTITY, max_length=32)],
    ],
    Field(max_length=8),
]


class Toleration(ApiModel):
    """One taint that the pods tolerate."""

    key: Annotated[str, Field(pattern=LABEL_KEY, max_length=317)] | None = None
    """Key of the taint. Absent: every key, with operator Exists."""

    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the value counts."""

    value: Annotated[str, Field(pattern=LABEL_VALUE, max_length=63)] | None = None
    """Value of the taint."""

    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Absent: every effect."""

    toleration_seconds: Annotated[int, Field(ge=0, le=604_800)] | None = None
    """How long NoExecute is tolerated. Absent: for ever. Unit: seconds."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.key) || self.operator == 'Exists'",
            "a toleration without key needs operator Exists",
            lambda self: self.key is not None or self.operator == "Exists",
        ),
        Rule(
            "self.operator == 'Equal' || !has(self.value)",
            "a toleration with operator Exists has no value",
            lambda self: self.operator == "Equal" or self.value is None,
        ),
    )


class Resources(ApiModel):
    """What the serving container may use, devices left out: those come from the placement."""

    requests: ResourceMap = Field(default_factory=dict)
    """What is set aside, by resource: `cpu`, `memory`, `ephemeral-storage`. A number of whole cores decides the threads
    of the engines, together with the limit."""

    limits: ResourceMap = Field(default_factory=dict)
    """Most that is used, by resource."""


class ResourceClaim(ApiModel):
    """A claim of dynamic resource allocation, passed through to the pods."""

    name: LabelName
    """Name of the claim inside the pod."""

    resource_claim_template_name: ObjectName
    """ResourceClaimTemplate in the pipeline's namespace."""


class PodTemplate(ApiModel):
    """Additions to the serving pods."""

    labels: LabelMap = Field(default_factory=dict)
    """Labels beside the operator's own, which cannot be replaced."""

    annotations: AnnotationMap = Field(default_factory=dict)
    """Annotations beside the operator's own, which cannot be replaced."""

    node_selector: LabelMap = Field(default_factory=dict)
    """Labels that the node must have, whatever the class of hardware."""

    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False, max_length=8), Atomic()] = ()
    """Taints that the pods tolerate, beside those of the class of hardware."""

    resources: Resources = Field(default_factory=Resources)
    """What the serving container may use."""

    resource_claims: Annotated[tuple[ResourceClaim, ...], Field(strict=False, max_length=4), ListMap(("name",))] = ()
    """Claims of dynamic resource allocation that the serving container gets."""

    image_pull_secrets: Annotated[
        tuple[SecretReference, ...], Field(strict=False, max_length=8), ListMap(("name",))
    ] = ()
    """Secrets for pulling the image."""

    priority_class_name: ObjectName | None = None
    """PriorityClass of the pods. Absent: the cluster's default."""

    runtime_class_name: ObjectName | None = None
    """RuntimeClass of the pods. Absent: that of the class of hardware."""
