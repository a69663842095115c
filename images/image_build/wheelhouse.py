"""The folder of wheels that images are built from, filled by this machine's pip as it is set up here.

So a build needs no network, and neither an index's address nor a password can get into an image.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from hpi_core.digest import digest_of_bytes
from hpi_core.errors import Refused, SourceFailed

WHEELHOUSE: Final = "build/images/wheelhouse"
"""Where it is, below the root of the project: builders see nothing else (.dockerignore)."""
OLDEST_GLIBC: Final = {"x86_64": 28, "aarch64": 35}
"""Minor version of the C library that every list has wheels for (configs/locks/lock.py)."""
LEGACY: Final = ("manylinux1", "manylinux2010", "manylinux2014")


def fill(
    folder: Path, lists: Iterable[Path], python: str, machine: str, source: Path | None, say: Callable[[str], None]
) -> None:
    """Put every wheel of some lists into a folder; a list whose wheels are there already is passed over.

    Args:
        folder: Made where it is missing; wheels that no list names may lie in it.
        lists: Lists of configs/locks.
        python: Python of the images, such as `3.11`; that of this program may be another.
        machine: `x86_64` or `aarch64`.
        source: Folder to take the wheels from; None: the index that pip is set up for.
        say: Takes a line of progress.

    Raises:
        Refused: The machine is another one, or the source is no directory.
        SourceFailed: pip could not get a wheel; its own words are on the terminal.
    """
    if machine not in OLDEST_GLIBC:
        raise Refused(f"the lists are for {' and '.join(OLDEST_GLIBC)}; this is {machine}")
    if source is not None and not source.is_dir():
        raise Refused(f"{source} is no directory; --wheelhouse names a directory of wheels")
    folder.mkdir(parents=True, exist_ok=True)
    for path in lists:
        stamp = folder / f".{path.stem}-{machine}"
        digest = digest_of_bytes([path.read_bytes()])
        if stamp.is_file() and stamp.read_text() == digest:
            continue
        say(f"wheels of {path.name} …")
        command = [sys.executable, *pip_arguments(folder, path, python, machine, source)]
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode != 0:  # noqa: S603 - no shell
            place = "the index that pip is set up for" if source is None else str(source)
            raise SourceFailed(
                f"not every wheel of {path.name} could be had from {place}; pip's words are above. Repair pip's "
                f"settings (`pip config list`), or name a directory of wheels with --wheelhouse DIR"
            )
        stamp.write_text(digest)


def pip_arguments(folder: Path, path: Path, python: str, machine: str, source: Path | None) -> Sequence[str]:
    """Return how pip is asked for the wheels of one list, for an interpreter that may not be here."""
    tags = [f"manylinux_2_{minor}" for minor in range(OLDEST_GLIBC[machine], 4, -1)] + list(LEGACY)
    digits = python.replace(".", "")
    arguments = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    arguments += ["--only-binary", ":all:", "--python-version", python, "--implementation", "cp"]
    arguments += [word for abi in (f"cp{digits}", "abi3", "none") for word in ("--abi", abi)]
    arguments += [word for tag in tags for word in ("--platform", f"{tag}_{machine}")]
    arguments += [] if source is None else ["--no-index", "--find-links", str(source)]
    return [*arguments, "--dest", str(folder), "--requirement", str(path)]
