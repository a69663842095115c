"""The programs that build images: which of them is here, and how each is asked for the same thing.

All build without a network, from a folder of wheels, and date every file 1970: the same sources give the same image.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpi_core.errors import Refused, Stop
from image_build.images import Image

NAMES: Final = ("buildah", "podman", "docker")
"""In the order in which they are looked for."""


@dataclass(frozen=True)
class Builder:
    """One of the programs, found on this machine."""

    name: str
    program: str
    """Its path."""


def find_builder(name: str | None, path: str | None) -> Builder:
    """Return the builder of a name, or the first that is there.

    Args:
        name: One of `NAMES`; None: any of them.
        path: Folders to look in, as `PATH` says them; None: this process's own.

    Raises:
        Refused: It is not there.
    """
    for candidate in NAMES if name is None else (name,):
        program = shutil.which(candidate, path=path)
        if program is not None:
            return Builder(candidate, program)
    wanted = name or "none of " + ", ".join(NAMES)
    raise Refused(f"{wanted} is on PATH; install one of {', '.join(NAMES)} (Debian, Ubuntu: apt install buildah)")


def build_commands(builder: Builder, image: Image, wheelhouse: str, tag: str, archive: Path) -> list[list[str]]:
    """Return the commands that build an image and write it as an OCI archive, run one after the other.

    Args:
        builder: Who builds.
        image: What.
        wheelhouse: Folder of all wheels, below the root of the project.
        tag: `REGISTRY/NAME:VERSION`, written into the archive.
        archive: File to write.
    """
    given = {**image.arguments, "WHEELHOUSE": wheelhouse}
    words = ["--network", "none", "--file", image.dockerfile, "--tag", tag, *_arguments(given)]
    if builder.name == "docker":
        # Without --provenance=false the archive holds an index whose digest differs with every build.
        output = f"type=oci,dest={archive},rewrite-timestamp=true"
        options = ["--provenance=false", "--build-arg", "SOURCE_DATE_EPOCH=0", "--output", output]
        return [[builder.program, "buildx", "build", *options, *words, "."]]
    # One layer beside the base: neither of them notices by itself that a folder bound into a step has changed.
    build = [builder.program, "build", "--layers=false", "--timestamp", "0", *words, "."]
    if builder.name == "podman":
        return [build, [builder.program, "save", "--format", "oci-archive", "--output", str(archive), tag]]
    return [build, [builder.program, "push", "--quiet", tag, f"oci-archive:{archive}:{tag}"]]


def push_command(builder: Builder, image: Image, wheelhouse: str, tag: str, digest_file: Path) -> list[str]:
    """Return the command that sends an image that was built to its registry, and writes its digest there to a file."""
    if builder.name == "docker":
        given = {**image.arguments, "WHEELHOUSE": wheelhouse}
        output = f"type=image,name={tag},push=true,oci-mediatypes=true,rewrite-timestamp=true"
        options = ["--provenance=false", "--build-arg", "SOURCE_DATE_EPOCH=0", "--network", "none"]
        options += ["--metadata-file", str(digest_file), "--output", output, "--file", image.dockerfile]
        return [builder.program, "buildx", "build", *options, *_arguments(given), "."]
    return [builder.program, "push", "--digestfile", str(digest_file), tag, f"docker://{tag}"]


def run(command: Sequence[str], root: Path, environment: Mapping[str, str]) -> None:
    """Run one command of a builder at the root of the project; whatever it says goes to standard error.

    Raises:
        Stop: It failed.
    """
    done = subprocess.run(  # noqa: S603 - no shell
        list(command), cwd=root, env=dict(environment), stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
    )
    if done.returncode != 0:
        raise Stop(
            f"`{' '.join(command[:2])} …` ended with {done.returncode}; its last words are above. A base that it "
            "cannot find is pulled beforehand, or named with --base; docker writes archives with a builder of its own "
            "(`docker buildx create --use`)"
        )


def _arguments(given: Mapping[str, str]) -> list[str]:
    return [word for name, value in given.items() for word in ("--build-arg", f"{name}={value}")]
