"""What a CustomResourceDefinition says of a kind beyond the structure of its objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpi_core.api.base import GROUP, ApiModel
from hpi_core.api.rules import Rule


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`."""

    name: str
    type: Literal["string", "integer", "date"]
    json_path: str
    description: str
    priority: int = 0
    """0: always shown; 1: shown by `-o wide`."""


@dataclass(frozen=True)
class Scale:
    """Where `kubectl scale` and autoscalers find and write the number of replicas."""

    spec_replicas_path: str
    status_replicas_path: str
    label_selector_path: str


@dataclass(frozen=True)
class Kind:
    """One kind of the group."""

    model: type[ApiModel]
    """Whole object: apiVersion, kind, metadata, spec, status."""
    plural: str
    short_names: tuple[str, ...]
    scope: Literal["Namespaced", "Cluster"]
    columns: tuple[Column, ...]
    size_limit_bytes: int
    """Largest object of the kind as canonical JSON without managed fields; a test builds one at every limit."""
    scale: Scale | None = None
    rules: tuple[Rule, ...] = ()
    """Rules on the whole object: of its metadata a rule may read the name alone."""
    categories: tuple[str, ...] = ("paddlex",)
    """Words with which `kubectl get` lists this kind beside others; none may be a word of one kind, or asking for one
    object by it is refused."""

    @property
    def name(self) -> str:
        """The kind itself, such as `HPIPipeline`."""
        return self.model.__name__

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition, such as `hpipipelines.hpi.paddlex.io`."""
        return f"{self.plural}.{GROUP}"
