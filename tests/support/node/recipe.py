"""What a node is built from: kubelet, kube-proxy, and the program inside the containers of tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_core.errors import Stop
from support.control_plane import recipe
from support.control_plane.build import build, folder_of
from support.control_plane.cache import Say
from support.control_plane.recipe import Recipe

PREPARE: Final = "PYTHONPATH=tests python -m support.node build"
MAIN: Final = "pod/main.go"


@dataclass(frozen=True)
class NodeRecipe(Recipe):
    """A recipe with a main program of its own beside go.mod."""

    def document(self) -> dict[str, Any]:
        """Return all that shapes the programs."""
        return {**super().document(), "main": hashlib.sha256((self.module / MAIN).read_bytes()).hexdigest()}


NODE: Final = NodeRecipe(
    name="node",
    module=recipe.HERE / "node",
    packages={
        "kubelet": "k8s.io/kubernetes/cmd/kubelet",
        "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
        "pod": "./pod",
    },
    version_of="k8s.io/kubernetes",
    version_packages=("k8s.io/component-base/version",),
)
"""Of the same version as the control plane. Few tests need it, so it is no part of `make programs`."""


def find_node(environment: Mapping[str, str]) -> dict[str, Path]:
    """Return the programs by name, without building them.

    Raises:
        Stop: They are not there; the text says how to build them.
    """
    folder = folder_of(NODE, environment)
    problem = folder.problem()
    if problem is not None:
        raise Stop(f"{problem}; `{PREPARE}` builds it, once, in some minutes")
    return {program: folder.path / program for program in NODE.packages}


def prepare_node(environment: Mapping[str, str], say: Say) -> dict[str, Path]:
    """Return the programs by name, built if need be.

    Raises:
        Stop: They cannot be built.
    """
    folder = build(NODE, environment, say)
    return {program: folder.path / program for program in NODE.packages}
