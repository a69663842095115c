"""Programs of Debian packages, unpacked into the cache and run from there: nothing is installed on the system.

No library does this: apt finds and verifies the packages, dpkg-deb unpacks them; here is only where to and for whom.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_core.digest import PREFIX, digest_of_json
from hpi_core.errors import Refused, Stop
from support.control_plane.cache import Folder, Say, cache_root, digest_file
from support.control_plane.recipe import DIGEST_LETTERS

DISTRIBUTIONS: Final = ("debian", "ubuntu")
TOOLS: Final = ("apt-get", "dpkg-deb")
NEVER: Final = ("libc6_", "libc-bin_", "libgcc-s1_")
"""Packages that only the system may have: a libc beside the system's loader crashes every program."""
PROGRAM_FOLDERS: Final = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
LINES_OF_APT: Final = 15


@dataclass(frozen=True)
class DebianPrograms:
    """Unpacked packages; what the system has installed already is taken from there."""

    root: Path
    """The packages lie below it as they would below `/`."""

    def environment(self) -> dict[str, str]:
        """Return the variables that the programs need: `PATH`, `LD_LIBRARY_PATH`, `DEBOOTSTRAP_DIR`."""
        path = [str(self.root / folder) for folder in PROGRAM_FOLDERS if (self.root / folder).is_dir()]
        triplet = f"{platform.machine()}-linux-gnu"
        libraries = [self.root / place / triplet for place in ("usr/lib", "lib")]
        variables = {"PATH": os.pathsep.join([*path, *(f"/{folder}" for folder in PROGRAM_FOLDERS)])}
        if any(folder.is_dir() for folder in libraries):
            variables["LD_LIBRARY_PATH"] = os.pathsep.join(str(folder) for folder in libraries if folder.is_dir())
        scripts = self.root / "usr/share/debootstrap"
        return {**variables, "DEBOOTSTRAP_DIR": str(scripts)} if scripts.is_dir() else variables

    def program(self, name: str) -> Path:
        """Return the path of a program.

        Raises:
            Stop: Neither the packages nor the system have it.
        """
        found = shutil.which(name, path=self.environment()["PATH"])
        if found is None:
            raise Stop(f"{name} is neither below {self.root} nor installed; the packages asked for do not bring it")
        return Path(found)

    def folder(self, path: str) -> Path:
        """Return a folder by its place below the root, `usr/lib/cni` for example.

        Raises:
            Stop: Neither the packages nor the system have it.
        """
        for place in (self.root / path, Path("/", path)):
            if place.is_dir():
                return place
        raise Stop(f"{path} is neither below {self.root} nor on the system; the packages asked for do not bring it")


def debian_programs(packages: Iterable[str], environment: Mapping[str, str], say: Say) -> DebianPrograms:
    """Return the programs of some packages, downloaded and unpacked into the cache unless they are there.

    Args:
        packages: Names of packages; those they depend on come along, unless the system has them.
        environment: Names the cache, and the proxies that apt-get asks through.
        say: Takes a line of progress.

    Raises:
        Refused: This system is neither Debian nor Ubuntu, or this user is not root.
        Stop: apt-get cannot download them.
    """
    system = _require_debian()
    document = {"packages": sorted(set(packages)), "system": system, "machine": platform.machine()}
    digest = digest_of_json(document).removeprefix(PREFIX)[:DIGEST_LETTERS]
    folder = Folder(cache_root(environment), f"{system}-{platform.machine()}-{digest}", document, ())
    with folder.locked(say):
        problem = folder.problem()
        if problem is not None:
            say(f"{problem}; downloading {', '.join(document['packages'])}")
            folder.publish(lambda aside: _unpack_all(document["packages"], aside, environment))
    return DebianPrograms(folder.path / "root")


def _require_debian() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    needed = "needed are Debian (12 was tried) or Ubuntu, and root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if release.get("ID") not in DISTRIBUTIONS or missing:
        lacks = f" without {', '.join(missing)}" if missing else ""
        raise Refused(f"this is {release.get('PRETTY_NAME', 'an unknown system')}{lacks}; {needed}")
    if os.geteuid() != 0:
        raise Refused(f"this is user {os.geteuid()}; {needed}")
    return f"{release['ID']}-{release.get('VERSION_ID', 'testing')}"


def _unpack_all(packages: Sequence[str], aside: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    root = aside / "root"
    root.mkdir(mode=0o755)
    with tempfile.TemporaryDirectory(prefix="archives.", dir=aside) as archives:
        found = _download(packages, Path(archives), environment)
        alien = [path.name for path in found if path.name.startswith(NEVER)]
        if alien:
            raise Stop(
                f"{', '.join(packages)} want {', '.join(alien)}, which only the system itself may have: "
                f"bring it up to date with `apt-get upgrade`, then try again"
            )
        for path in found:
            _run(["dpkg-deb", "--extract", str(path), str(root)], environment, f"could not unpack {path.name}")
        return {"archives": {path.name: digest_file(path) for path in found}}


def _download(packages: Sequence[str], archives: Path, environment: Mapping[str, str]) -> list[Path]:
    (archives / "partial").mkdir()
    options = {
        "Dir::Cache::archives": f"{archives}/",
        # Nothing is installed, so whoever installs something at the same time need not be waited for.
        "Debug::NoLocking": "1",
        # The cache is this user's alone; apt's own user could not write to it.
        "APT::Sandbox::User": "root",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    command = ["apt-get", *words, "-qq", "--yes", "--download-only", "--no-install-recommends", "--no-upgrade"]
    what = f"could not download {', '.join(packages)}"
    hint = "`apt-get update` renews the lists of packages; /etc/apt says where they come from"
    _run([*command, "install", *packages], environment, what, hint)
    return sorted(archives.glob("*.deb"))


def _run(command: Sequence[str], environment: Mapping[str, str], what: str, hint: str = "") -> None:
    variables = {**environment, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace").splitlines()[-LINES_OF_APT:]
        raise Stop("\n".join([f"{command[0]} {what}:", *said, *([hint] if hint else [])]))
