"""References to other objects: by name, in the namespace of the object that refers."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.v1alpha1.scalars import ObjectName

CONFIG_MAP_KEY: Final = r"^[-._a-zA-Z0-9]+$"


class SecretReference(ApiModel):
    """A Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""


class ConfigMapKey(ApiModel):
    """One key of a ConfigMap in the same namespace."""

    name: ObjectName
    """Name of the ConfigMap."""

    key: Annotated[str, Field(pattern=CONFIG_MAP_KEY, min_length=1, max_length=253)]
    """The key that holds the text."""
