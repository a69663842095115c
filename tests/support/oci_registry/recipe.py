"""What the registry of the tests is built from, and where it lies when it is built."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_core.errors import Stop
from support.control_plane.build import build, folder_of
from support.control_plane.cache import Say
from support.control_plane.recipe import Recipe

NAME: Final = "registry"
PREPARE: Final = "PYTHONPATH=tests python -m support.oci_registry"


@dataclass(frozen=True)
class RegistryRecipe(Recipe):
    """A recipe with a main program of its own beside go.mod."""

    def document(self) -> dict[str, Any]:
        """Return all that shapes the program."""
        return {**super().document(), "main": hashlib.sha256((self.module / "main.go").read_bytes()).hexdigest()}


REGISTRY: Final = RegistryRecipe(
    name="oci-registry",
    module=Path(__file__).resolve().parent / "program",
    packages={NAME: "."},
    version_of="github.com/distribution/distribution/v3",
)
"""CNCF Distribution, the registry that most others are made of."""


def find_registry(environment: Mapping[str, str]) -> Path:
    """Return the program, without building it.

    Raises:
        Stop: It is not there; the text says how to build it.
    """
    folder = folder_of(REGISTRY, environment)
    problem = folder.problem()
    if problem is not None:
        raise Stop(f"{problem}; `make set-up`, or `{PREPARE}`, builds it, once, in about two minutes")
    return folder.path / NAME


def prepare_registry(environment: Mapping[str, str], say: Say) -> Path:
    """Return the program, built if need be.

    Raises:
        Stop: It cannot be built.
    """
    return build(REGISTRY, environment, say).path / NAME
