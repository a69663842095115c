"""A rule of a kind with a manifest on each side of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hpi_core.api.v1alpha1.kinds import KINDS
from support.kinds import manifest, schema_of
from support.manifests import with_value
from support.schemas import walk

Changes = dict[str, Any]
"""Values by path, such as `spec.modules[0].path`."""


@dataclass(frozen=True)
class Pair:
    """A rule, and one manifest on each side of it."""

    kind: str
    path: str
    """Where the rule stands, as `support.schemas.walk` names it; empty for the whole object."""
    message: str
    keeps: Changes
    """What is changed in the base to keep the rule."""
    breaks: Changes
    """What is changed in the base to break it."""
    case: str = "minimal"
    """The base: a manifest of the folder."""
    before: Changes | None = None
    """For a rule of transition, what the object is before it is changed."""

    @property
    def id(self) -> str:
        """The name of the pair in a list of tests."""
        return f"{self.kind}-{self.path or 'object'}-{self.message[:40]}"


def changed(kind: str, case: str, changes: Changes) -> dict[str, Any]:
    """Return a manifest with values changed."""
    document = manifest(kind, case)
    for path, value in changes.items():
        document = with_value(document, path, value)
    return document


def stated_rules() -> set[tuple[str, str, str]]:
    """Return kind, path and message of every rule of every kind."""
    return {
        (kind.name, path, rule["message"])
        for kind in KINDS
        for path, node in walk(schema_of(kind))
        for rule in node.get("x-kubernetes-validations", [])
    }


LABELS: Final = "each key must be like 'pool' or 'example.com/pool', and have at most 317 characters"
"""What the keys of labels must be."""


def pair_of(kind: str, path: str, message: str, keeps: Changes, breaks: Changes, **more: Any) -> Pair:
    """Return a pair whose manifests give the whole part at a path."""
    return Pair(kind, path, message, keeps={path: keeps}, breaks={path: breaks}, **more)


def pair_of_keys(kind: str, path: str, message: str, good: Changes, bad: Changes) -> Pair:
    """Return a pair of a rule on the keys of a mapping."""
    return Pair(kind, path, message, keeps={path: good}, breaks={path: bad})
