"""buildah from Debian's packages, with storage and settings of its own: nothing of the system is read or written."""

from __future__ import annotations

import json
import platform
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hpi_core.errors import Stop
from support.control_plane.cache import Say
from support.node.debian import DebianPrograms, debian_programs

PACKAGES: Final = ("buildah", "debootstrap", "golang-github-containers-common")
LIBRARIES: Final = "usr/lib"


def debian_tools(environment: Mapping[str, str], say: Say) -> DebianPrograms:
    """Return the programs that make a base and build images.

    Raises:
        Refused: This system is neither Debian nor Ubuntu, or this user is not root.
        Stop: They cannot be downloaded.
    """
    return debian_programs(PACKAGES, environment, say)


def buildah_environment(programs: DebianPrograms, folder: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which `buildah` is found and keeps everything below a folder.

    Args:
        programs: Where it is.
        folder: Storage, settings and a program `buildah` are written into it.
        environment: This process's.

    Raises:
        Stop: There is no buildah.
    """
    for name in ("bin", "home/.config/containers", "storage", "run"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    policy = folder / "home/.config/containers/policy.json"
    policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
    (folder / "registries.conf").write_text("unqualified-search-registries = []\n")
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder / "storage"}"\nrunroot = "{folder / "run"}"\n'
    )
    (folder / "containers.conf").write_text("")
    variables = {
        # It looks for policy.json there; pip, which runs beside it, keeps the home of whoever runs the tests.
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        "BUILDAH_ISOLATION": "chroot",
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }
    program = folder / "bin" / "buildah"
    program.write_text(_program(programs, variables))
    program.chmod(0o755)
    return {**environment, "PATH": f"{folder / 'bin'}:{programs.environment()['PATH']}"}


def _program(programs: DebianPrograms, variables: Mapping[str, str]) -> str:
    """Return a script that runs buildah with its settings and libraries.

    For each step it starts itself again without variables, LD_LIBRARY_PATH among them. So its libraries are laid over
    the system's, in a mount namespace that ends with it.
    """
    buildah = programs.program("buildah")
    own = programs.root / LIBRARIES / f"{platform.machine()}-linux-gnu"
    system = Path("/", LIBRARIES, f"{platform.machine()}-linux-gnu")
    head = "#!/bin/sh\n" + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    if not buildah.is_relative_to(programs.root) or not own.is_dir():
        return f'{head}exec {shlex.quote(str(buildah))} "$@"\n'
    if ":" in str(own):
        raise Stop(f"{own} has a colon in its name, which overlay mounts do not take; set XDG_CACHE_HOME")
    lay_over = shlex.quote(f'mount -t overlay overlay -o lowerdir={own}:{system} {system} && exec "$0" "$@"')
    return f'{head}exec unshare --mount --propagation private sh -c {lay_over} {shlex.quote(str(buildah))} "$@"\n'
