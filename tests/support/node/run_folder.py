"""The folder of one run of a node, and what runs that were killed have left."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from hpi_agent.store.locks import is_held
from support.node.cgroups import hierarchies, processes_below, remove_group

PREFIX: Final = "hpi-node-"
"""What folders and control groups of all runs begin with; the number of the process follows, then letters by chance."""
LOCK: Final = "lock"
"""Held by the process that the folder belongs to. A number alone may be that of another container's process."""


class RunFolder:
    """A folder of a run; its name is that of the control groups too."""

    def __init__(self, above: Path) -> None:
        """Make it, after what killed runs left below the same folder has been removed.

        Args:
            above: Where; made unless it is there.
        """
        above.mkdir(parents=True, exist_ok=True)
        remove_leftovers(above)
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=above))
        self._lock = os.open(self.path / LOCK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path)
        os.close(self._lock)


def remove_leftovers(above: Path) -> None:
    """Remove the folders below a folder and all control groups of runs that were killed.

    Their processes, mounts and networks went with them. A group that the kernel still holds is left to the next run.
    """
    for folder in above.glob(f"{PREFIX}*"):
        if is_of_the_dead(folder.name) and not is_held(folder / LOCK):
            shutil.rmtree(folder)
    for hierarchy in hierarchies():
        for group in hierarchy.glob(f"{PREFIX}*"):
            if is_of_the_dead(group.name) and not processes_below(group):
                remove_group(group)


def is_of_the_dead(name: str) -> bool:
    """Return whether a name `hpi-node-<pid>-…` is of a process that is gone."""
    pid = name.removeprefix(PREFIX).partition("-")[0]
    return pid.isdecimal() and not Path("/proc", pid).exists()
