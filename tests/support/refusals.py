"""Manifests that must be refused, with what a person is told; they lie in tests/data/refusals/<kind>.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from support.kinds import BY_NAME, manifest
from support.manifests import Document, with_value, without_value
from support.project import ROOT

FOLDER: Final = ROOT / "tests" / "data" / "refusals"


@dataclass(frozen=True)
class Refusal:
    """A manifest with a mistake, and what is said of it."""

    kind: str
    case: str
    """What is wrong."""
    document: Document
    kubectl: list[str]
    """What `kubectl apply` prints, one line for each problem."""
    reader: list[str]
    """What our own reader says, one line for each problem."""

    @property
    def id(self) -> str:
        """The name of the case in a list of tests."""
        return f"{self.kind}-{self.case}"


def read_refusals() -> list[Refusal]:
    """Return every case of every kind."""
    return [
        Refusal(kind, entry["case"], _document(kind, entry), entry["kubectl"], entry["reader"])
        for kind in BY_NAME
        for entry in yaml.safe_load((FOLDER / f"{kind.lower()}.yaml").read_text(encoding="utf-8"))
    ]


def _document(kind: str, entry: dict[str, Any]) -> Document:
    document = manifest(kind, entry.get("base", "minimal"))
    document.pop("status", None)
    for path, value in entry.get("set", {}).items():
        document = with_value(document, path, value)
    for path in entry.get("remove", []):
        document = without_value(document, path)
    return document


REFUSALS: Final = read_refusals()
