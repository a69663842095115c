"""What a node needs of the machine it runs on, asked for before anything is started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from hpi_core.errors import Refused
from support.node.cgroups import hierarchies

TOOLS: Final = {"unshare": "util-linux", "nsenter": "util-linux", "mount": "mount", "ip": "iproute2"}
"""Programs that the system must have, with the Debian package of each."""
NAMESPACES: Final = ("mnt", "net", "pid")


def require_node() -> None:
    """Do nothing where a node may run.

    Raises:
        Refused: Something is missing; the text names all of it.
    """
    problems = [] if os.geteuid() == 0 else [f"root is needed, this is user {os.geteuid()}"]
    problems += [
        f"{tool} is needed, of the package {package}" for tool, package in TOOLS.items() if shutil.which(tool) is None
    ]
    problems += [
        f"the kernel must have {name} namespaces" for name in NAMESPACES if not Path("/proc/self/ns", name).exists()
    ]
    filesystems = Path("/proc/filesystems").read_text(encoding="ascii").split()
    if "overlay" not in filesystems:
        problems.append("the kernel must have overlayfs (`modprobe overlay`)")
    try:
        hierarchies()
    except Refused as error:
        problems.append(str(error))
    if problems:
        raise Refused(f"a Kubernetes node cannot run here: {'; '.join(problems)}")
