"""Where the programs of the tests' control plane are looked for, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hpi_core.errors import Refused, Stop
from support.control_plane.binaries import ALL, PREPARE, RECIPES, find_binaries
from support.control_plane.build import folder_of
from support.control_plane.recipe import KUBERNETES

ENVTEST = ("etcd", "kube-apiserver", "kubectl")


def an_executable(path: Path, says: str = "") -> None:
    path.write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
    path.chmod(0o755)


def an_environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path / "home"), **more}


def assets(tmp_path: Path, programs: Sequence[str] = ENVTEST, version: str = "v1.34.1") -> Path:
    """Make a folder in the layout of envtest."""
    folder = tmp_path / "assets"
    folder.mkdir()
    for program in programs:
        an_executable(folder / program, says=f"Kubernetes {version}")
    return folder


def fill_cache(environment: dict[str, str]) -> dict[str, Path]:
    """Publish tiny programs in place of all that is built; return the folder of each."""
    folders = {}
    for recipe in RECIPES:
        folder = folder_of(recipe, environment)

        def write(aside: Path, programs: Iterable[str] = recipe.packages) -> dict[str, Any]:
            for program in programs:
                an_executable(aside / program)
            return {}

        with folder.locked(lambda _: None):
            folder.publish(write)
        folders.update(dict.fromkeys(recipe.packages, folder.path))
    return folders


def test_the_cache_is_used_where_no_assets_are_named(tmp_path: Path) -> None:
    environment = an_environment(tmp_path)
    folders = fill_cache(environment)

    found = find_binaries(environment)

    assert found.paths == {program: folders[program] / program for program in ALL}
    assert found.version == KUBERNETES.version
    told = [f"{folders[next(iter(recipe.packages))]} has {', '.join(recipe.packages)}." for recipe in RECIPES]
    assert found.told == " ".join(told)


def test_assets_win_over_the_cache_and_what_they_lack_comes_from_it(tmp_path: Path) -> None:
    named = assets(tmp_path)
    environment = an_environment(tmp_path, KUBEBUILDER_ASSETS=str(named))
    folders = fill_cache(environment)

    found = find_binaries(environment)

    places = {program: path.parent for program, path in found.paths.items()}
    lacking = ("kube-controller-manager", "kube-scheduler", "kwok", "helm")
    assert places == {**dict.fromkeys(ENVTEST, named), **{program: folders[program] for program in lacking}}
    assert found.version == "v1.34.1"
    assert "it lacks kube-controller-manager, kube-scheduler, kwok, helm. " in found.told


def test_assets_alone_are_enough_for_what_they_have(tmp_path: Path) -> None:
    named = assets(tmp_path)

    found = find_binaries(an_environment(tmp_path, KUBEBUILDER_ASSETS=str(named)), ENVTEST)

    assert {path.parent for path in found.paths.values()} == {named}


def test_programs_that_are_nowhere_are_named_with_the_command_that_builds_them(tmp_path: Path) -> None:
    environment = an_environment(tmp_path, KUBEBUILDER_ASSETS=str(assets(tmp_path)))

    with pytest.raises(Stop) as raised:
        find_binaries(environment)

    assert "it lacks kube-controller-manager, kube-scheduler" in str(raised.value)
    assert str(tmp_path / "cache" / "hpi") in str(raised.value)
    assert PREPARE in str(raised.value)


def test_a_file_that_may_not_be_run_counts_as_lacking(tmp_path: Path) -> None:
    named = assets(tmp_path)
    (named / "kubectl").chmod(0o644)

    with pytest.raises(Stop, match="it lacks kubectl"):
        find_binaries(an_environment(tmp_path, KUBEBUILDER_ASSETS=str(named)), ENVTEST)


@pytest.mark.parametrize("version", ["v1.33.9", "v1.35.0", "v1.3.4", "nonsense"])
def test_assets_of_another_line_of_kubernetes_are_refused(tmp_path: Path, version: str) -> None:
    named = assets(tmp_path, version=version)

    with pytest.raises(Refused, match=r"1\.34"):
        find_binaries(an_environment(tmp_path, KUBEBUILDER_ASSETS=str(named)), ENVTEST)


def test_assets_that_are_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no folder"):
        find_binaries(an_environment(tmp_path, KUBEBUILDER_ASSETS=str(tmp_path / "nowhere")))


def test_a_program_that_nothing_builds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nothing builds kube-toaster"):
        find_binaries(an_environment(tmp_path), ["kube-toaster"])


def test_a_program_that_changed_after_the_build_is_not_used(tmp_path: Path) -> None:
    environment = an_environment(tmp_path)
    folders = fill_cache(environment)
    an_executable(folders["etcd"] / "etcd", says="something else")

    with pytest.raises(Stop, match="damaged: etcd changed"):
        find_binaries(environment)


def test_a_relative_cache_home_is_ignored(tmp_path: Path) -> None:
    environment = an_environment(tmp_path, XDG_CACHE_HOME="somewhere")

    folder = folder_of(KUBERNETES, environment)

    assert folder.root == tmp_path / "home" / ".cache" / "hpi" / "test-programs"
