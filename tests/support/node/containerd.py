"""The container runtime of a node: containerd with runc and the CNI plugins of Debian, and `ctr` for its images."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any, Final

from hpi_core.errors import Refused, Stop
from support.control_plane.process import describe_exit
from support.node.debian import DebianPrograms
from support.node.machine import Machine
from support.node.network import ADDRESS, BRIDGE, PODS
from support.node.oci_archive import read_archive

SOCKET: Final = "/run/containerd/containerd.sock"
"""Where it answers on its machine, by itself."""
NAMESPACE: Final = "k8s.io"
"""containerd's own namespace of all that the kubelet asks for."""
MANAGED: Final = 'labels."io.cri-containerd.image"==managed'
"""Filter of the images that the part of containerd which serves the kubelet has taken notice of."""
START_SECONDS: Final = 30.0
CTR_SECONDS: Final = 600.0
"""How long `ctr` may take: an image of some gigabytes is unpacked in minutes."""
POLL_SECONDS: Final = 0.05


class Containerd:
    """A containerd that runs on a machine."""

    def __init__(self, folder: Path, machine: Machine, programs: DebianPrograms, sandbox: str) -> None:
        """Start it and return when it answers.

        Args:
            folder: Takes its configuration and its log; made here.
            machine: Where it runs.
            programs: With containerd, runc and the CNI plugins.
            sandbox: Name of the image that holds the namespaces of a pod.

        Raises:
            Stop: It ended, or did not answer in time.
        """
        folder.mkdir(mode=0o700)
        self.log = folder / "containerd.log"
        self._machine = machine
        self._programs = programs
        (folder / "cni").mkdir()
        (folder / "cni" / "10-bridge.conflist").write_text(json.dumps(network()), encoding="utf-8")
        self._config = folder / "config.toml"
        text = configuration(sandbox, programs.folder("usr/lib/cni"), folder / "cni")
        self._config.write_text(text, encoding="utf-8")
        self.start()

    def start(self) -> None:
        """Start it, the first time or again; containers that run meanwhile go on."""
        command = [str(self._programs.program("containerd")), "--config", str(self._config)]
        self.process = self._machine.start("containerd", command, self.log, self._programs.environment())
        deadline = time.monotonic() + START_SECONDS
        while (said := self._ask("version")).returncode != 0:
            code = self.process.exit_code
            if code is not None or time.monotonic() > deadline:
                self.process.stop()
                what = f"did not answer within {START_SECONDS:g} s" if code is None else f"ended: {describe_exit(code)}"
                raise Stop(f"containerd {what}; ctr says {said.stderr.strip()!r}\n{self.process.last_lines()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Kill it alone; containers go on until the machine stops. A second call does nothing."""
        self.process.stop(0.0)

    def check(self) -> None:
        """Do nothing while it runs.

        Raises:
            Stop: It has ended; the text has its last lines.
        """
        if (code := self.process.exit_code) is not None:
            raise Stop(f"containerd ended with {describe_exit(code)}; its last lines:\n{self.process.last_lines()}")

    def ctr(self, *words: str) -> str:
        """Run `ctr` and return what it writes.

        Raises:
            Stop: It failed.
        """
        done = self._ask(*words)
        if done.returncode != 0:
            raise Stop(f"`ctr {' '.join(words)}` failed with {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def import_image(self, archive: Path, name: str | None) -> tuple[str, ...]:
        """Import the image of an OCI archive; pods find it by each of the names and pull nothing.

        Args:
            archive: With one image.
            name: `HOST/PATH:TAG` or `HOST/PATH`; None: what the archive says.

        Returns:
            The names: `HOST/PATH@sha256:…`, and `HOST/PATH:TAG` where there is a tag.

        Raises:
            Refused: It is no such archive, or there is no name with a host.
        """
        found = read_archive(archive)
        path, tag = split_name(name or found.name or "", archive)
        names = (f"{path}@{found.digest}", *([f"{path}:{tag}"] if tag else []))
        self.ctr("images", "import", "--digests", "--base-name", path, str(archive.resolve()))
        if names[0] not in self.images():
            raise Stop(f"ctr imported {archive}, but calls nothing {names[0]}; there are {', '.join(self.images())}")
        for one in names[1:]:
            self.ctr("images", "tag", "--force", names[0], one)
        self._wait_until_noticed(names)
        return names

    def images(self) -> tuple[str, ...]:
        """Return the names of all images."""
        return tuple(self.ctr("images", "list", "--quiet").split())

    def kill(self, container: str) -> None:
        """Kill the main process of a container, as the kernel does when memory runs out.

        Args:
            container: Its number, as a pod's `containerID` has it after `containerd://`.
        """
        self.ctr("tasks", "kill", "--signal", "SIGKILL", container)

    def _wait_until_noticed(self, names: tuple[str, ...]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            noticed = self.ctr("images", "list", "--quiet", MANAGED).split()
            missing = sorted(set(names) - set(noticed))
            if not missing:
                return
            if time.monotonic() > deadline:
                raise Stop(f"containerd has {', '.join(missing)} but the kubelet would not see it")
            time.sleep(POLL_SECONDS)

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        ctr = str(self._programs.program("ctr"))
        return subprocess.run(
            self._machine.command(ctr, "--namespace", NAMESPACE, *words),
            env=self._programs.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=CTR_SECONDS,
        )


def split_name(name: str, archive: Path) -> tuple[str, str | None]:
    """Return path and tag of an image's name.

    Raises:
        Refused: It has no host; containerd and the kubelet would each complete it in a way of their own.
    """
    name = name.partition("@")[0]
    host, _, rest = name.partition("/")
    if not rest or not ({".", ":"} & set(host) or host == "localhost"):
        raise Refused(f"the image of {archive} is called {name!r}; name it HOST/PATH:TAG, registry.example/agent:1 say")
    path, _, tag = rest.partition(":")
    return f"{host}/{path}", tag or None


def configuration(sandbox: str, plugins: Path, networks: Path) -> str:
    """Return containerd's configuration, TOML. What it keeps lies where it always does: a machine has folders for it.

    Args:
        sandbox: Name of the image that holds the namespaces of a pod.
        plugins: Folder of CNI plugins.
        networks: Folder of the description of the pods' network.
    """
    values = {"sandbox": sandbox, "plugins": str(plugins), "networks": str(networks)}
    return """\
version = 2
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {sandbox}
  # Root without CAP_SYS_RESOURCE may not make a process less likely to be killed; runc ends in the middle of a start.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {plugins}
    conf_dir = {networks}
""".format(**{name: json.dumps(value) for name, value in values.items()})


def network() -> dict[str, Any]:
    """Return the network of pods (CNI): a port of the bridge each, and the node as the way to everything else."""
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                # A pod that asks its own Service is answered by itself.
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS, "gateway": ADDRESS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }
