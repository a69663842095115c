"""The machine that a node believes to be: namespaces of network, processes and mounts, held by a first process.

When the first process ends, the kernel kills every other one in there, and mounts, bridge and addresses are gone. It
dies with the tests (`control_plane/tied.py`), so a run that is killed leaves no containers, shims or mounts either.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from hpi_core.errors import Bug, Refused, Stop
from support.control_plane.process import Process
from support.node.cgroups import ControlGroups
from support.node.network import connect

COVERED: Final = ("/run", "/var/lib", "/var/log")
"""Where the programs of a node write whatever they are told: it goes to the node's folder instead."""
WHOLE: Final = ("/run/containerd", "/var/lib/containerd", "/var/lib/kubelet")
"""Folders that are bound, not covered: containerd's file systems of containers are overlays, which need another ground.
Being where they are on every node, their sockets have short paths; a socket's may have 104 bytes."""
SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TUNABLES: Final = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""Settings of the kernel, below `/proc/sys`, that a kubelet writes where it finds others (`setupKernelTunables`, 1.34).
They belong to no namespace: it is shown these files instead, writes nothing, and the real ones stay as they are."""
START_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.01


class Machine:
    """Namespaces with a bridge and no way out; nothing but what is started in them runs there."""

    def __init__(
        self, folder: Path, groups: ControlGroups, first: Path, services: str, host_folders: Sequence[str]
    ) -> None:
        """Make it.

        Args:
            folder: Takes what is written below `COVERED` and below the host folders; removed by whoever made it.
            groups: Control groups that its processes are in.
            first: The program of the first process; told `pause`, it waits and buries orphans.
            services: Range of addresses that leads to the bridge.
            host_folders: Folders of the machine, absolute, that lie in `folder` as they are: see `host_path`.

        Raises:
            Refused: `folder` would be covered, or a host folder would not.
            Stop: The kernel or the system lacks something; the text says what was tried.
        """
        self.folder = folder
        self._groups = groups
        self._bound = (*WHOLE, *host_folders)
        for path in COVERED:
            if folder.resolve().is_relative_to(path):
                raise Refused(f"a node covers {path}, so its folder may not be {folder}; choose another by TMPDIR")
        for path in host_folders:
            if not any(Path(path).is_relative_to(covered) for covered in COVERED):
                raise Refused(f"{path} would be made on this machine; a host folder lies below {', '.join(COVERED)}")
        folder.mkdir(mode=0o755)
        self._kept: dict[str, int] = {}
        # A mount that the system removes goes here as well (slave); what is mounted here is seen nowhere else.
        apart = ["--net", "--mount", "--propagation=slave", "--mount-proc", "--pid", "--fork", "--kill-child"]
        self._process = Process(
            "first process of the node",
            groups.joining(["/usr/bin/env", "unshare", *apart, str(first), "pause"]),
            directory=folder,
            log=folder / "machine.log",
            environment={"PATH": SYSTEM_PATH},
        )
        try:
            self.pid = self._find_first(first)
            self._kept = {kind: os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY) for kind in ("net", "pid")}
            self._mount()
            with self.entered():
                connect(services)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Let the kernel kill all that runs there; a second call does nothing."""
        self._process.stop(0.0)
        for descriptor in self._kept.values():
            os.close(descriptor)
        self._kept = {}

    @property
    def exit_code(self) -> int | None:
        """How the first process ended; None while it runs."""
        return self._process.exit_code

    @property
    def entering(self) -> list[str]:
        """The words before a command that is to run in the network of the machine, and only that."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]

    def host_path(self, path: str) -> Path:
        """Return where a folder of the machine lies for who is outside: `WHOLE`, the host folders, or below."""
        if not any(Path(path).is_relative_to(folder) for folder in self._bound):
            raise Bug(f"{path} is in none of the folders of this node's own: {', '.join(self._bound)}")
        return self.folder / "host" / path.lstrip("/")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread in the network of the machine: sockets, programs and threads begun meanwhile are there."""
        with self._entered(net="net"):
            yield

    def start(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
        """Start a program of the machine itself: its network, processes, mounts and control groups.

        Args:
            name: What it is called in errors.
            command: Path of the program, and its arguments.
            log: Takes what it writes.
            environment: All its variables.
        """
        # Python has the system call from 3.12 on, and nsenter would stand between us and the program for --pid alone.
        with self._entered(net="net", pid="pid_for_children"):
            mounts = ["/usr/bin/env", "nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--wd=/", "--", *command]
            return Process(name, self._groups.joining(mounts), directory=self.folder, log=log, environment=environment)

    def command(self, *command: str) -> list[str]:
        """Return a command that runs a short one on the machine: in its network, processes and mounts."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--wd=/", "--", *command]

    def run(self, *command: str) -> str:
        """Run a short command on the machine; return what it writes.

        Raises:
            Stop: It failed; the text has what it said.
        """
        done = subprocess.run(self.command(*command), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Stop(f"`{' '.join(command)}` failed on the node with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def _find_first(self, program: Path) -> int:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.exit_code is None:
            with contextlib.suppress(OSError):  # It has not come so far, or has gone.
                children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
                for pid in children.read_text(encoding="ascii").split():
                    if os.path.samefile(f"/proc/{pid}/exe", program):
                        return int(pid)
            time.sleep(POLL_SECONDS)
        raise Stop(f"the namespaces of a node could not be made; unshare said:\n{self._process.last_lines()}")

    def _mount(self) -> None:
        # Mount propagation into pods needs shared mounts; being slaves first, they are shared in here alone.
        self.run("mount", "--make-rshared", "/")
        for path in COVERED:
            aside = self.folder / "covered" / path.replace("/", "-").strip("-")
            for part in ("upper", "work"):
                (aside / part).mkdir(parents=True)
            options = f"lowerdir={path},upperdir={aside / 'upper'},workdir={aside / 'work'}"
            self.run("mount", "-t", "overlay", "-o", options, "overlay", path)
        for name, value in TUNABLES.items():
            shown = self.folder / "tunables" / name
            shown.parent.mkdir(parents=True, exist_ok=True)
            shown.write_text(f"{value}\n", encoding="ascii")
            self.run("mount", "--bind", str(shown), f"/proc/sys/{name}")
        for path in self._bound:
            inside = self.host_path(path)
            inside.mkdir(parents=True)
            self.run("mkdir", "-p", path)
            self.run("mount", "--bind", str(inside), path)

    @contextlib.contextmanager
    def _entered(self, **kinds: str) -> Iterator[None]:
        if not self._kept:
            raise Bug("this machine does not run")
        # The namespaces belong to threads, so other threads of the tests stay where they are.
        homes = {kind: os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY) for kind, name in kinds.items()}
        try:
            for kind in kinds:
                set_namespace(self._kept[kind])
            yield
        finally:
            for home in homes.values():
                set_namespace(home)
                os.close(home)


def set_namespace(descriptor: int) -> None:
    """Move this thread into a namespace (setns(2)); that of processes counts for its children alone.

    Raises:
        OSError: The kernel refuses.
    """
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
