"""Helm and the chart: rendered without a cluster, installed in one, and an older release of it to come from."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hpi_operator.install.installation import Installation
from support.control_plane.clients import Answer
from support.control_plane.cluster import ControlPlane
from support.manifests import Document
from support.project import ROOT

CHART: Final = ROOT / "charts" / "hpi"
VALUES: Final = ROOT / "tests" / "data" / "chart" / "values.yaml"
KUBERNETES: Final = "1.34.4"
SECONDS: Final = 120

SITE: Final[Document] = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
INSTALLATION: Final = Installation(SITE["operator"]["image"], agent_image=SITE["agent"]["image"])
"""What the values of the tests describe."""

NEW_FIELD: Final = ("cache", "sharing")
"""A field of HPINodePools that the older release does not have yet."""


@dataclass(frozen=True)
class Helm:
    """The program, beside a cluster or without one."""

    program: Path
    home: Path
    """For its caches."""
    cluster: ControlPlane | None = None

    def run(self, *arguments: str) -> Answer:
        """Run it."""
        kubeconfig = self.cluster.admin.kubeconfig if self.cluster else self.home / "none"
        environment = {"PATH": os.defpath, "HOME": str(self.home), "KUBECONFIG": str(kubeconfig)}
        done = subprocess.run(
            [str(self.program), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    def done(self, *arguments: str) -> str:
        """Run it and return what it printed; the test fails where it does."""
        answer = self.run(*arguments)
        assert answer.exit_code == 0, answer.error
        return answer.output

    def render(self, *sets: str, kubernetes: str = KUBERNETES, apis: Iterable[str] = ()) -> Answer:
        """Render the chart as for a first install.

        Args:
            sets: Values of the command line, `path=value`.
            kubernetes: Version of the cluster.
            apis: APIs that the cluster has beside Kubernetes' own.
        """
        told = [word for one in sets for word in ("--set", one)]
        had = [word for one in apis for word in ("--api-versions", one)]
        return self.run("template", "hpi", str(CHART), "--kube-version", kubernetes, "-f", str(VALUES), *told, *had)

    def objects(self, *sets: str, **how: Any) -> list[Document]:
        """Render the chart and return its objects; arguments as for `render`."""
        answer = self.render(*sets, **how)
        assert answer.exit_code == 0, answer.error
        return [one for one in yaml.safe_load_all(answer.output) if one is not None]


def key(document: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return kind, namespace and name of an object."""
    metadata = document["metadata"]
    return document["kind"], metadata.get("namespace", ""), metadata["name"]


def is_hook(document: Mapping[str, Any]) -> bool:
    """Return whether Helm makes an object beside the release."""
    return "helm.sh/hook" in document["metadata"].get("annotations", {})


def older_chart(folder: Path) -> Path:
    """Write the release before: without a field of a kind, without the metrics' Service."""
    chart = folder / "hpi"
    shutil.copytree(CHART, chart)
    _rewrite(chart / "Chart.yaml", (("version: 0.1.0", "version: 0.0.9"),))
    _rewrite(chart / "templates" / "operator.yaml", ((r"---\napiVersion: v1\nkind: Service\n(?:(?!---).*\n)*", ""),))
    path = chart / "crds" / "hpi.paddlex.io_hpinodepools.yaml"
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    [version] = definition["spec"]["versions"]
    part, name = NEW_FIELD
    cache = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][part]
    del cache["properties"][name]
    cache.get("default", {}).pop(name, None)
    path.write_text(yaml.safe_dump(definition), encoding="utf-8")
    return chart


def _rewrite(path: Path, changes: Sequence[tuple[str, str]]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        text, count = re.subn(old, new, text)
        assert count, f"{path.name} has no {old!r}"
    path.write_text(text, encoding="utf-8")


def found(cluster: ControlPlane, *arguments: str) -> list[Document]:
    """Return what `kubectl get` finds."""
    answer = cluster.kubectl("get", *arguments, "--ignore-not-found", "-o", "json")
    assert answer.exit_code == 0, answer.error
    if not answer.output.strip():
        return []
    document: Document = json.loads(answer.output)
    items: list[Document] = document["items"] if document["kind"].endswith("List") else [document]
    return items
