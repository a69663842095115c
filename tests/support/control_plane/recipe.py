"""What is built from which go.mod, and the digest that names the result."""

from __future__ import annotations

import hashlib
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_core.digest import PREFIX, digest_of_json
from hpi_core.errors import Bug

HERE: Final = Path(__file__).resolve().parent
DIGEST_LETTERS: Final = 16
"""How much of a digest stands in the name of a folder; the manifest inside holds what it was made of."""


@dataclass(frozen=True)
class Recipe:
    """Programs that are built together, from one go.mod."""

    name: str
    module: Path
    """The folder of go.mod and go.sum."""
    packages: Mapping[str, str]
    """Go package of each program, by the name that the program gets, in the order of building."""
    version_of: str
    """Path of the Go module whose version is that of the programs."""
    version_packages: tuple[str, ...] = ()
    """Go packages with variables that a program reads its own version from: `gitVersion`, `gitMajor`, `gitMinor`."""

    @property
    def version(self) -> str:
        """The version that go.mod asks for, with its `v`."""
        return self._find(
            rf"(?:require)?\s+{re.escape(self.version_of)} (v\S+)(?: // indirect)?", f"{self.version_of} in require"
        )

    @property
    def oldest_go(self) -> tuple[int, ...]:
        """The Go that go.mod asks for, or any later one."""
        return tuple(int(part) for part in self._find(r"go (\d+\.\d+(?:\.\d+)?)", "a line `go`").split("."))

    @property
    def flags(self) -> tuple[str, ...]:
        """Flags of `go build` that shape the programs."""
        major, minor, _ = self.version.removeprefix("v").split(".", 2)
        values = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor}
        # Without these a server calls itself v0.0.0-master, and whoever checks the version refuses it.
        named = [f"-X {package}.{name}={value}" for package in self.version_packages for name, value in values.items()]
        return "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", " ".join(["-s -w", *named])

    def document(self) -> dict[str, Any]:
        """Return all that shapes the programs, the version of Go apart."""
        return {
            "goMod": _digest(self.module / "go.mod"),
            "goSum": _digest(self.module / "go.sum"),
            "packages": dict(self.packages),
            "flags": list(self.flags),
            "machine": platform.machine(),
        }

    def folder_name(self) -> str:
        """Return the name of the folder of the finished programs: it changes with everything that shapes them."""
        digest = digest_of_json(self.document()).removeprefix(PREFIX)[:DIGEST_LETTERS]
        return f"{self.name}-{self.version}-{platform.machine()}-{digest}"

    def _find(self, pattern: str, what: str) -> str:
        text = (self.module / "go.mod").read_text(encoding="utf-8")
        found = re.search(rf"^{pattern}$", text, re.MULTILINE)
        if found is None:
            raise Bug(f"{self.module / 'go.mod'} has no {what}; README.md says how it is made")
        return found[1]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


KUBERNETES: Final = Recipe(
    name="kubernetes",
    module=HERE / "kubernetes",
    packages={
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    },
    version_of="k8s.io/kubernetes",
    version_packages=("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"),
)
"""The control plane and kubectl, of one version."""

KWOK: Final = Recipe(
    name="kwok",
    module=HERE / "kwok",
    packages={"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    version_of="sigs.k8s.io/kwok",
)
"""The player of nodes and of pods that run."""

HELM: Final = Recipe(
    name="helm",
    module=HERE / "helm",
    packages={"helm": "helm.sh/helm/v3/cmd/helm"},
    version_of="helm.sh/helm/v3",
)
"""The installer of the chart."""
