"""The base of every API model: camelCase on the wire, frozen in memory, unknown fields refused, rules on both sides."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from hpi_core.api.rules import Rule

GROUP: Final = "hpi.paddlex.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""A DNS-1123 label: what Kubernetes allows as the name of most objects."""

SERVICE_NAME: Final = r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"
"""A DNS-1035 label: what Kubernetes allows as the name of a Service."""

DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""A DNS-1123 subdomain: what Kubernetes allows as the name of a Node, a Secret and most other objects."""

JsonObject = dict[str, Any]
"""A mapping whose inner structure is not ours: PaddleX's settings, with PaddleX's keys."""


class ApiModel(BaseModel):
    """A part of a manifest. Field names are camelCase on the wire; a field that is not declared is an error.

    Attributes:
        rules: What the fields of the part must satisfy together. The API server evaluates the rules as CEL, this side
            as Python; one text for people serves both.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        # A manifest says what it says: "2" is not 2, and 1 is not true.
        strict=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _keep_rules(self) -> ApiModel:
        broken = [rule.message for rule in type(self).rules if rule.holds is not None and not rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self


class Metadata(ApiModel):
    """The part of Kubernetes' object metadata that a user writes."""

    name: str = Field(pattern=DNS_SUBDOMAIN, max_length=253)
    """Name of the object."""

    namespace: str | None = Field(default=None, pattern=DNS_LABEL)
    """Namespace of the object. Absent: the namespace of whoever applies the manifest."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Labels, as Kubernetes defines them."""

    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations, as Kubernetes defines them."""
