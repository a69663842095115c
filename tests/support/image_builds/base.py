"""A small Debian with Python as the base of images, made by debootstrap once into the cache."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hpi_core.digest import PREFIX, digest_of_json
from hpi_core.errors import Stop
from support.control_plane.cache import Folder, Say, cache_root
from support.control_plane.recipe import DIGEST_LETTERS
from support.node.debian import DebianPrograms

SUITE: Final = "bookworm"
PYTHON: Final = "3.11"
INCLUDED: Final = ("ca-certificates", "libgomp1", "python3", "python3-venv")
"""Paddle needs libgomp1; the other images would do without."""
REMOVED: Final = (
    "var/cache/apt/archives/*.deb",
    "var/cache/apt/*.bin",
    "var/lib/apt/lists/*",
    "var/log/*",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
)
"""What a base that people publish does not carry either."""
TAG: Final = "localhost/debian-python"
ARCHIVE: Final = "base.tar"
LINES_SHOWN: Final = 15


def debian_base(programs: DebianPrograms, environment: Mapping[str, str], say: Say) -> Path:
    """Return the tar of the base, made unless it is there.

    Raises:
        Stop: debootstrap failed.
    """
    document = {"suite": SUITE, "included": INCLUDED, "removed": REMOVED, "machine": platform.machine()}
    digest = digest_of_json(document).removeprefix(PREFIX)[:DIGEST_LETTERS]
    # Canonical JSON has no tuples: what is read back is compared with this.
    written = {name: list(value) if isinstance(value, tuple) else value for name, value in document.items()}
    folder = Folder(cache_root(environment), f"base-{SUITE}-{platform.machine()}-{digest}", written, ())
    with folder.locked(say):
        problem = folder.problem()
        if problem is not None:
            say(f"{problem}; making it with debootstrap, a minute or two")
            folder.publish(lambda aside: _make(aside, programs, environment))
    return folder.path / ARCHIVE


def import_base(archive: Path, environment: Mapping[str, str]) -> None:
    """Make the base an image of buildah's, called `TAG`."""

    def buildah(*words: str) -> str:
        done = subprocess.run(["buildah", *words], env=dict(environment), check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(archive), "/")
    buildah("commit", "--quiet", "--timestamp", "0", "--rm", container, TAG)


def _make(aside: Path, programs: DebianPrograms, environment: Mapping[str, str]) -> dict[str, Any]:
    root = aside / "root"
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(INCLUDED)}", SUITE, str(root)]
    done = subprocess.run(
        command,
        env={**environment, **programs.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        said = "\n".join(done.stdout.decode(errors="replace").splitlines()[-LINES_SHOWN:])
        raise Stop(f"debootstrap failed; is the network there?\n{said}")
    for path in (path for pattern in REMOVED for path in root.glob(pattern)):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    options = ["--sort=name", "--mtime=@0", "--numeric-owner", "--one-file-system"]
    subprocess.run(
        ["tar", "--create", *options, "--file", str(aside / ARCHIVE), "--directory", str(root), "."], check=True
    )
    shutil.rmtree(root)
    return {}
