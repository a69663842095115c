"""The base of every API model: camelCase on the wire, frozen in memory, unknown fields refused."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP: Final = "hpi.paddlex.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""A DNS-1123 label: what Kubernetes allows as the name of most objects."""


class ApiModel(BaseModel):
    """A part of a manifest. Field names are camelCase on the wire; a field that is not declared is an error."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        # A manifest says what it says: "2" is not 2, and 1 is not true.
        strict=True,
    )


class Metadata(ApiModel):
    """The part of Kubernetes' object metadata that a user writes."""

    name: str = Field(pattern=DNS_LABEL)
    """Name of the object: a DNS-1123 label, at most 63 characters."""

    namespace: str | None = Field(default=None, pattern=DNS_LABEL)
    """Namespace of the object. Absent: the namespace of whoever applies the manifest."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Labels, as Kubernetes defines them."""

    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations, as Kubernetes defines them."""
