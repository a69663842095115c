"""Where the programs of a control plane are found: `KUBEBUILDER_ASSETS` first, then the cache of built ones."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpi_core.errors import Refused, Stop
from support.control_plane.build import build, folder_of
from support.control_plane.cache import Say
from support.control_plane.recipe import HELM, KUBERNETES, KWOK, Recipe

VARIABLE: Final = "KUBEBUILDER_ASSETS"
"""Names a folder of programs in the layout of envtest: etcd, kube-apiserver, kubectl."""
PREPARE: Final = "make set-up`, or `PYTHONPATH=tests python -m support.control_plane build"
RECIPES: Final = (KUBERNETES, KWOK, HELM)
"""All that can be built. A later component brings its own recipe, with a go.mod of its own."""
ALL: Final = tuple(program for recipe in RECIPES for program in recipe.packages)


@dataclass(frozen=True)
class Binaries:
    """Programs, each with the place it was found in."""

    paths: Mapping[str, Path]
    version: str
    """Version of Kubernetes, as the API server tells it: `v1.34.4`."""
    told: str
    """Where they come from, in words."""

    def __getitem__(self, program: str) -> Path:
        if program not in self.paths:
            raise Refused(f"{program} is not among the programs that were asked for: {', '.join(sorted(self.paths))}")
        return self.paths[program]


def find_binaries(environment: Mapping[str, str], programs: Iterable[str] = ALL) -> Binaries:
    """Return where programs are, without building any.

    Raises:
        Refused: `KUBEBUILDER_ASSETS` names no folder, or programs of another line of Kubernetes.
        Stop: A program is in neither place; the text says how to build it.
    """
    assets = Assets.read(environment)
    missing = [program for program in programs if program not in assets.programs]
    for recipe in needed(missing):
        problem = folder_of(recipe, environment).problem()
        if problem is not None:
            raise Stop(f"{assets.told(missing)}{problem}; `{PREPARE}` builds it, once, in some minutes")
    return _join(assets, missing, environment, programs)


def prepare_binaries(environment: Mapping[str, str], say: Say, programs: Iterable[str] = ALL) -> Binaries:
    """Return where programs are, built if need be.

    Raises:
        Refused: As `find_binaries`.
        Stop: They cannot be built.
    """
    assets = Assets.read(environment)
    missing = [program for program in programs if program not in assets.programs]
    for recipe in needed(missing):
        build(recipe, environment, say)
    return _join(assets, missing, environment, programs)


@dataclass(frozen=True)
class Assets:
    """What `KUBEBUILDER_ASSETS` offers."""

    folder: Path | None
    """None: the variable is not set."""
    programs: frozenset[str] = frozenset()
    version: str = KUBERNETES.version

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Assets:
        """Look into the folder; its API server must be of the line of Kubernetes that the tests are written for.

        Raises:
            Refused: The variable names no folder, or that of another line.
        """
        named = environment.get(VARIABLE)
        if not named:
            return cls(None)
        folder = Path(named)
        if not folder.is_dir():
            raise Refused(f"{VARIABLE} is {named!r}, which is no folder; correct it or unset it")
        programs = frozenset(program for program in ALL if os.access(folder / program, os.X_OK))
        return cls(folder, programs, _read_version(folder) if "kube-apiserver" in programs else KUBERNETES.version)

    def told(self, missing: Collection[str]) -> str:
        """Return a sentence on what the folder has and lacks; empty where there is none."""
        if self.folder is None:
            return ""
        has = ", ".join(program for program in ALL if program in self.programs) or "none of the programs"
        lacks = f"; it lacks {', '.join(missing)}" if missing else ""
        return f"{VARIABLE}={self.folder} has {has}{lacks}. "


def needed(programs: Collection[str]) -> list[Recipe]:
    """Return the recipes that make some of these programs.

    Raises:
        Refused: No recipe makes one of them.
    """
    unknown = sorted(set(programs) - set(ALL))
    if unknown:
        raise Refused(f"nothing builds {', '.join(unknown)}; there are {', '.join(ALL)}")
    return [recipe for recipe in RECIPES if set(programs) & set(recipe.packages)]


def _join(
    assets: Assets, missing: Collection[str], environment: Mapping[str, str], programs: Iterable[str]
) -> Binaries:
    paths = {} if assets.folder is None else {program: assets.folder / program for program in assets.programs}
    told = [assets.told(missing)]
    for recipe in needed(missing):
        folder = folder_of(recipe, environment).path
        taken = [program for program in recipe.packages if program in missing]
        paths.update({program: folder / program for program in taken})
        told.append(f"{folder} has {', '.join(taken)}. ")
    return Binaries({program: paths[program] for program in programs}, assets.version, "".join(told).strip())


def _read_version(folder: Path) -> str:
    program = folder / "kube-apiserver"
    done = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False, timeout=60)
    found = re.fullmatch(r"Kubernetes (v(\d+\.\d+)\.\S+)", done.stdout.strip())
    line = ".".join(KUBERNETES.version.removeprefix("v").split(".")[:2])
    if found is None or found[2] != line:
        said = done.stdout.strip() or done.stderr.strip()[-200:]
        raise Refused(
            f"{program} says {said!r}; the tests are for Kubernetes {line} (envtest: `setup-envtest use {line}.x`). "
            f"Let {VARIABLE} name such a folder, or unset it"
        )
    return found[1]
