"""The programs of a node are those of its control plane's version."""

from __future__ import annotations

from pathlib import Path

from support.control_plane.binaries import ALL
from support.control_plane.recipe import KUBERNETES
from support.node.recipe import NODE


def replaced(module: Path) -> list[str]:
    return [line.strip() for line in (module / "go.mod").read_text(encoding="utf-8").splitlines() if "=>" in line]


def test_the_kubelet_has_the_version_of_the_control_plane() -> None:
    assert NODE.version == KUBERNETES.version
    assert replaced(NODE.module) == replaced(KUBERNETES.module)
    assert len(replaced(NODE.module)) > 20


def test_the_programs_of_a_node_are_not_built_for_tests_that_need_none() -> None:
    assert not set(NODE.packages) & set(ALL)
