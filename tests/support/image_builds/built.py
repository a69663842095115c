"""The project's images, built by images/build.py upon a base of our own: once for one state of the sources."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hpi_core.errors import Stop
from support.control_plane.cache import Say
from support.image_builds.base import PYTHON, TAG, debian_base, import_base
from support.image_builds.buildah import buildah_environment, debian_tools
from support.project import ROOT

OUT: Final = ROOT / "build" / "test-images"
FEATURES: Final = "ocr,pipelines,convert"
STAMP: Final = "sources.json"
SOURCES: Final = (
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "agent/src",
    "configs",
    "crds/src",
    "images",
    "operator/src",
)
"""What .dockerignore lets through, and the program that builds."""


@dataclass(frozen=True)
class BuiltImages:
    """What images/build.py wrote."""

    folder: Path

    @property
    def site(self) -> Path:
        """The chart's values."""
        return self.folder / "site.yaml"

    def values(self) -> dict[str, Any]:
        """Return what `site.yaml` says."""
        values: dict[str, Any] = yaml.safe_load(self.site.read_text())
        return values

    def archive(self, name: str) -> Path:
        """Return the OCI archive of an image: `hpi-operator`, `hpi-agent`, `hpi-cpu`."""
        return self.folder / f"{name}.tar"

    def document(self, name: str, kind: str) -> dict[str, Any]:
        """Return what is said of an image; the kind is `sbom.cdx` or `sizes`."""
        document: dict[str, Any] = json.loads((self.folder / f"{name}.{kind}.json").read_text())
        return document


def built_images(
    say: Say, *, features: str = FEATURES, out: Path = OUT, anew: bool = False, only: Sequence[str] = ()
) -> BuiltImages:
    """Return the images of the sources as they are, built unless they are there; minutes.

    Args:
        say: Takes a line of progress.
        features: Of the runtime.
        out: Where the archives go.
        anew: Build although they are there.
        only: Names of images; none: all of them.

    Raises:
        Refused: This system is neither Debian nor Ubuntu, or this user is not root.
        Stop: Something could not be downloaded or built; what the programs said is on standard error.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, wanted = out / STAMP, {"sources": _digest_of_sources(), "features": features, "only": list(only)}
        if anew or not stamp.is_file() or json.loads(stamp.read_text()) != wanted:
            stamp.unlink(missing_ok=True)
            _build(say, features, out, only)
            stamp.write_text(json.dumps(wanted))
    return BuiltImages(out)


def _build(say: Say, features: str, out: Path, only: Sequence[str]) -> None:
    programs = debian_tools(os.environ, say)
    base = debian_base(programs, os.environ, say)
    # Everything that buildah keeps goes with this folder; the archives are what stays.
    with tempfile.TemporaryDirectory(prefix="hpi-images-") as scratch:
        environment = buildah_environment(programs, Path(scratch), os.environ)
        import_base(base, environment)
        command = [sys.executable, str(ROOT / "images/build.py"), "--builder", "buildah", "--base", TAG]
        command += ["--python", PYTHON, "--features", features, "--out", str(out)]
        command += [word for name in only for word in ("--image", name)]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=sys.stderr, check=False)
        if done.returncode != 0:
            raise Stop(f"images/build.py ended with {done.returncode}; its last words are above")


def _digest_of_sources() -> str:
    digest = hashlib.sha256()
    for path in _source_files():
        digest.update(f"{path.relative_to(ROOT)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _source_files() -> Iterator[Path]:
    for name in SOURCES:
        place = ROOT / name
        files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
        # What people read of the images is in none of them.
        yield from (path for path in files if "__pycache__" not in path.parts and path != ROOT / "images/README.md")
