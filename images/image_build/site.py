"""`site.yaml`: what the chart has to be told of the images (charts/hpi/README.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from hpi_core.errors import Bug
from image_build.images import AGENT, NAMES, OPERATOR, RUNTIME


def site_values(references: Mapping[str, str], architecture: str, lock_digest: str) -> dict[str, Any]:
    """Return the values of the chart.

    Args:
        references: `REGISTRY/NAME@sha256:…` of every image, by its name.
        architecture: `amd64` or `arm64`.
        lock_digest: Of the runtime.

    Raises:
        Bug: An image is missing.
    """
    if missing := set(NAMES) - references.keys():
        raise Bug(f"values need all images; {', '.join(sorted(missing))} is missing")
    runtime = {"images": {architecture: references[RUNTIME]}, "lockDigest": lock_digest}
    return {
        "operator": {"image": references[OPERATOR]},
        "agent": {"image": references[AGENT]},
        "runtimes": {RUNTIME: runtime},
    }


def site_text(values: Mapping[str, Any]) -> str:
    """Return the file."""
    return yaml.safe_dump(dict(values), sort_keys=False, width=200)
