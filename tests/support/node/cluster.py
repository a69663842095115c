"""A control plane and one real node, in namespaces of their own, for as long as a `with` block."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

from hpi_core.errors import Bug, Stop
from support.control_plane.clients import Answer, Client
from support.control_plane.cluster import START_SECONDS, ControlPlane
from support.control_plane.components import SERVICES, WHOLE, Component, Setting
from support.control_plane.process import describe_exit
from support.node.cgroups import ControlGroups
from support.node.containerd import Containerd
from support.node.daemons import KUBELET, Daemons
from support.node.flags import NodeSetting, control_plane_flags
from support.node.machine import Machine
from support.node.network import ADDRESS
from support.node.oci_archive import write_archive
from support.node.programs import NodePrograms
from support.node.requirements import require_node
from support.node.run_folder import RunFolder

NODE_NAME: Final = "node-1"
POD_IMAGE: Final = "node.test/pod:1"
HOST_FOLDERS: Final = ("/var/lib/hpi",)

Part = TypeVar("Part")


class NodeCluster(ControlPlane):
    """A cluster of one node: `with NodeCluster(programs) as cluster: cluster.kubectl("get", "nodes")`.

    It is a control plane whose servers listen on the address of the node, inside the node's network. Whoever speaks to
    it from Python does so inside `with cluster.entered():`; other programs are started by `run_inside`.
    """

    def __init__(
        self,
        programs: NodePrograms,
        *,
        components: Sequence[Component] = WHOLE,
        flags: Mapping[str, Sequence[str]] | None = None,
        kubelet: Mapping[str, Any] | None = None,
        audit_policy: str | None = None,
        host_folders: Sequence[str] = HOST_FOLDERS,
        parent: Path | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        """Describe it; `start` or `with` starts it.

        Args:
            programs: What runs.
            components: Of the control plane.
            flags: More flags, by program of the control plane; they win.
            kubelet: Fields of `KubeletConfiguration` that win over ours.
            audit_policy: As of `ControlPlane`.
            host_folders: Folders of the node that are the run's own; `host_path` tells where they are.
            parent: Where the folder of the run is made; None: the folder of temporary files.
            start_seconds: When the start of the control plane has failed, then that of the node.
        """
        super().__init__(
            programs.control_plane,
            components,
            flags=flags,
            audit_policy=audit_policy,
            host=ADDRESS,
            start_seconds=start_seconds,
        )
        self._programs = programs
        self._more_flags = dict(flags or {})
        self._kubelet = dict(kubelet or {})
        self._host_folders = tuple(host_folders)
        self._above = Path(parent or tempfile.gettempdir())
        self._ending = ExitStack()
        self._run: RunFolder | None = None
        self._groups: ControlGroups | None = None
        self._machine: Machine | None = None
        self._containerd: Containerd | None = None
        self._daemons: Daemons | None = None
        self.node_name = NODE_NAME
        self.pod_image = ""
        """Name, with the digest, of an image of the program `pod` alone; see control_plane/node/pod/main.go."""

    @property
    def state(self) -> Path:
        """Everything of this run: the folder of the control plane, containerd's, the kubelet's. Removed by `stop`."""
        return _running(self._run).path

    @property
    def pod_program(self) -> Path:
        """The program of `pod_image`, for use outside of pods."""
        return self._programs.node["pod"]

    @property
    def machine(self) -> Machine:
        """The namespaces that the node runs in."""
        return _running(self._machine)

    @property
    def containerd(self) -> Containerd:
        """The container runtime."""
        return _running(self._containerd)

    def __enter__(self) -> NodeCluster:
        self.start()
        return self

    def start(self) -> None:
        """Start everything and return when the node is ready for pods.

        Raises:
            Refused: The machine cannot run a node.
            Stop: A program ended, or was not ready in time; nothing of it is left.
        """
        if self._run is not None:
            raise Bug("this node runs already")
        require_node()
        begun = time.monotonic()
        try:
            self._start_machine()
            with self.entered():
                super().start()
            self.start_kubelet()
            with self.entered(), self._asking() as http:
                _running(self._daemons).start_proxy(http, self._start_seconds)
        except BaseException:
            self.stop()
            raise
        self.seconds_to_ready = time.monotonic() - begun

    def stop(self) -> None:
        """End the node with all its pods, and the control plane; nothing is left. A second call does nothing."""
        try:
            self._ending.close()
        finally:
            self._run = self._groups = self._machine = self._containerd = self._daemons = None

    def stop_kubelet(self) -> None:
        """Kill the kubelet alone; containers go on, and after 50 s the node is not ready."""
        _running(self._daemons).kill(KUBELET)

    def start_kubelet(self) -> None:
        """Start the kubelet, the first time or again, and return when the node is ready for pods."""
        with self.entered(), self._asking() as http:
            _running(self._daemons).start_kubelet(http, self.url, self._start_seconds)

    def start_api_server(self) -> None:
        """Start the API server again, as `ControlPlane` does."""
        with self.entered():
            super().start_api_server()

    def entered(self) -> AbstractContextManager[None]:
        """Have this thread inside the network: its sockets, and the threads and programs that it begins meanwhile."""
        return self.machine.entered()

    def command_inside(self, command: Sequence[str] = ()) -> list[str]:
        """Return a command that runs another one inside the network; without an argument the words before it."""
        return [*self.machine.entering, *command]

    def run_inside(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, **more: Any
    ) -> subprocess.Popen[Any]:
        """Start a program inside the network; whoever starts it ends it.

        Args:
            command: The program and its arguments.
            env: All its variables; None: those of this process.
            more: Arguments of `subprocess.Popen`.
        """
        return subprocess.Popen(self.command_inside(command), env=None if env is None else dict(env), **more)

    def kubectl(self, *arguments: str, stdin: str = "", user: Client | None = None) -> Answer:
        """Run kubectl inside the network, as the admin unless told otherwise."""
        with self.entered():
            return super().kubectl(*arguments, stdin=stdin, user=user)

    def logs_of(self, namespace: str, pod: str, *arguments: str) -> str:
        """Return what the containers of a pod have written; `Stop` says why that is not to be had."""
        return self._output("logs", "-n", namespace, pod, "--all-containers", *arguments)

    def import_image(self, archive: Path, name: str | None = None) -> tuple[str, ...]:
        """Import the image of an OCI archive; pods find it by each of the names returned, and nothing is pulled.

        Args:
            archive: With one image.
            name: `HOST/PATH:TAG` or `HOST/PATH`; None: what the archive says.
        """
        return self.containerd.import_image(archive, name)

    def images(self) -> tuple[str, ...]:
        """Return the names of the images on the node."""
        return self.containerd.images()

    def kill_container(self, namespace: str, pod: str, container: str) -> str:
        """Kill the main process of a container with SIGKILL; return the number that the container had.

        Raises:
            Stop: It does not run.
        """
        status = json.loads(self._output("get", "pod", "-n", namespace, pod, "-o", "json"))["status"]
        for one in status.get("containerStatuses", []):
            if one["name"] == container and "running" in one.get("state", {}):
                number: str = one["containerID"].removeprefix("containerd://")
                self.containerd.kill(number)
                return number
        raise Stop(f"container {container} of {namespace}/{pod} does not run; its status is {status}")

    def host_path(self, path: str) -> Path:
        """Return where a folder of the node lies for the tests: `/var/lib/hpi` or below, unless told otherwise."""
        return self.machine.host_path(path)

    def memory_bytes(self) -> int:
        """Return what the node and its pods take, page cache included; the control plane apart."""
        return _running(self._groups).memory_bytes()

    def pids(self) -> dict[str, int]:
        """Return the number of every running program, by its name."""
        programs = {"first process": self.machine.pid, "containerd": self.containerd.process.pid}
        daemons = {name: process.pid for name, process in _running(self._daemons).running.items()}
        return {**super().pids(), **programs, **daemons}

    def check(self) -> None:
        """Do nothing while every program runs.

        Raises:
            Stop: One has ended; the text has its last lines.
        """
        super().check()
        if (code := self.machine.exit_code) is not None:
            raise Stop(f"the first process of the node ended with {describe_exit(code)}, and all others with it")
        self.containerd.check()
        _running(self._daemons).check()

    def _start_machine(self) -> None:
        """Start all but Kubernetes; whatever is started is ended by `stop`, in the opposite order."""
        self._run = RunFolder(self._above)
        self._ending.callback(self._run.remove)
        self._parent = self._run.path
        self._ending.callback(super().stop)
        self._groups = ControlGroups(self._run.path.name)
        self._ending.callback(self._groups.remove)
        self._machine = Machine(self.state / "machine", self._groups, self.pod_program, SERVICES, self._host_folders)
        self._ending.callback(self._machine.stop)
        self._containerd = Containerd(self.state / "containerd", self._machine, self._programs.debian, POD_IMAGE)
        self._ending.callback(self._containerd.stop)
        archive = self.state / "pod.tar"
        write_archive(archive, POD_IMAGE, {"/pod": self.pod_program}, ["/pod", "pause"])
        self.pod_image = self.import_image(archive)[0]

    def _prepare(self) -> Setting:
        setting = super()._prepare()
        asking = self.client("kube-apiserver-kubelet-client", ["system:masters"]).pair
        ours = control_plane_flags(asking, setting.authority)
        self._flags = {
            program: [*ours.get(program, ()), *self._more_flags.get(program, ())]
            for program in {*ours, *self._more_flags}
        }
        told = NodeSetting(
            name=NODE_NAME,
            folder=self.state / "kubelet",
            authority=setting.authority,
            server=setting.server,
            group=self.state.name,
            kubelet=self.client(f"system:node:{NODE_NAME}", ["system:nodes"]).kubeconfig,
            proxy=self.client("system:kube-proxy").kubeconfig,
        )
        self._daemons = Daemons(self.machine, self._programs, told, self._kubelet, self.folder / "logs")
        self._ending.callback(self._daemons.stop)
        return setting

    def _output(self, *arguments: str) -> str:
        answer = self.kubectl(*arguments)
        if answer.exit_code != 0:
            raise Stop(f"`kubectl {' '.join(arguments)}` failed: {answer.error.strip()}")
        return answer.output


def _running(part: Part | None) -> Part:
    if part is None:
        raise Bug("this node does not run")
    return part
