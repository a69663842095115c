"""Whole manifests of every kind, as they lie in tests/data/manifests/<kind>/<case>.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from hpi_core.api.definition import Kind
from hpi_core.api.v1alpha1.kinds import KINDS
from hpi_core.schema.custom_resource import custom_resource_definition
from support.project import ROOT
from support.schemas import Schema

FOLDER: Final = ROOT / "tests" / "data" / "manifests"
CONFIGS: Final = ROOT / "configs"

PATHS: Final = sorted(FOLDER.glob("*/*.yaml"))
"""Every manifest of the folder."""

SAMPLES: Final = sorted((CONFIGS / "pipelines").glob("*.yaml"))
"""Every manifest that is shown to users."""

IDS: Final = [f"{path.parent.name}-{path.stem}" for path in PATHS]

BY_NAME: Final = {kind.name: kind for kind in KINDS}


def manifest(kind: str, case: str = "minimal") -> dict[str, Any]:
    """Return a manifest of a kind as a document: `minimal` has the required fields alone, `full` every one."""
    return read(FOLDER / kind.lower() / f"{case}.yaml")


def read(path: Path) -> dict[str, Any]:
    """Return the document of a file."""
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def around(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a small manifest that has one part of another: the field of spec or status in which a path lies."""
    whole, part = path.split(".")[:2]
    field = part.partition("[")[0]
    small = manifest(document["kind"])
    return {**small, whole: {**small.get(whole, {}), field: document[whole][field]}}


def schema_of(kind: Kind) -> Schema:
    """Return the schema of a kind's objects, as its CustomResourceDefinition states it."""
    [version] = custom_resource_definition(kind)["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema
