"""The control groups of one node: a folder of its name in every hierarchy, gone when the node is."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hpi_core.errors import Refused, Stop

MOUNTS: Final = Path("/proc/self/mountinfo")
INHERITED: Final = ("cpuset.cpus", "cpuset.mems")
"""Files that a new group of version 1 has empty; nothing may run in it until they are filled."""
DAEMONS: Final = "daemons"
"""The group of the node's own programs, beside those of its pods."""
PATIENCE_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.05


class ControlGroups:
    """The groups below one name."""

    def __init__(self, name: str) -> None:
        """Make them.

        Args:
            name: What they are called in every hierarchy.

        Raises:
            Refused: No hierarchy is mounted, or none counts memory.
        """
        self.name = name
        self._roots = [hierarchy / name for hierarchy in hierarchies()]
        try:
            for root in self._roots:
                _make(root)
                _make(root / DAEMONS)
        except BaseException:
            self.remove()
            raise

    def joining(self, command: Iterable[str]) -> list[str]:
        """Return a command that runs another one in the group of the node's own programs."""
        files = [str(root / DAEMONS / "cgroup.procs") for root in self._roots]
        script = 'while [ "$1" != -- ]; do echo $$ > "$1" || exit; shift; done; shift; exec "$@"'
        return ["/bin/sh", "-c", script, "sh", *files, "--", *command]

    def memory_bytes(self) -> int:
        """Return what the node's own programs and its pods take, page cache included; 0 where nothing counts it."""
        for root in self._roots:
            for file in ("memory.usage_in_bytes", "memory.current"):
                if (root / file).exists():
                    return int((root / file).read_text(encoding="ascii"))
        return 0

    def remove(self) -> None:
        """Remove them all; their processes must have been killed before.

        Raises:
            Stop: Processes are left after a while; the text says which.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        for root in self._roots:
            while not remove_group(root):
                if time.monotonic() > deadline:
                    raise Stop(f"{root} still holds the processes {processes_below(root)} and cannot be removed")
                time.sleep(POLL_SECONDS)


def hierarchies() -> list[Path]:
    """Return where all hierarchies are mounted; of version 2 there is one, with memory or beside those of version 1.

    Raises:
        Refused: None counts memory.
    """
    found, counted = [], False
    for line in MOUNTS.read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        place, kind = Path(before.split()[4]), after.split()[0]
        if kind in ("cgroup", "cgroup2"):
            # runc makes its groups in every one, in that of version 2 without a controller too.
            found.append(place)
            controllers = place / "cgroup.controllers"
            counted |= (place / "memory.usage_in_bytes").exists()
            counted |= controllers.exists() and "memory" in controllers.read_text(encoding="ascii").split()
    if not counted:
        raise Refused("no control group hierarchy with memory is mounted below /sys/fs/cgroup; a kubelet needs one")
    return found


def processes_below(root: Path) -> list[int]:
    """Return the processes in a group and in those below it."""
    found: list[int] = []
    for folder, _, _ in os.walk(root):
        with contextlib.suppress(OSError):  # It went meanwhile.
            found += [int(pid) for pid in Path(folder, "cgroup.procs").read_text(encoding="ascii").split()]
    return found


def remove_group(root: Path) -> bool:
    """Remove a group and those below it; return whether that was possible: no process is in them any more."""
    # The files of a group cannot be removed, and go with it; shutil.rmtree would try.
    for folder, _, _ in os.walk(root, topdown=False):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _make(group: Path) -> None:
    group.mkdir(mode=0o755)
    for name in INHERITED:
        above, own = group.parent / name, group / name
        if above.exists() and own.exists():
            own.write_text(above.read_text(encoding="ascii"), encoding="ascii")
