"""A real Kubernetes control plane, on loopback unless told otherwise, for as long as a `with` block."""

from __future__ import annotations

import os
import shutil
import ssl
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

import httpx2

from hpi_core.errors import Bug, Stop
from support.control_plane.binaries import Binaries
from support.control_plane.certificates import Authority
from support.control_plane.clients import Answer, Client, Clients, run_kubectl
from support.control_plane.components import API_SERVER, HOSTS, QUICK, Component, Setting
from support.control_plane.ports import LOOPBACK, ReservedPort
from support.control_plane.process import Process, describe_exit

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

START_SECONDS: Final = 90.0
"""How long a start may take; about three are normal."""
POLL_SECONDS: Final = 0.05
FAREWELL_SECONDS: Final = 2.0
"""How long an API server that is stopped alone may take to say goodbye: its clients, which stay, hold it up."""
PREFIX: Final = "hpi-control-plane-"


class ControlPlane:
    """A control plane: `with ControlPlane(binaries) as cluster: cluster.kubectl("get", "namespaces")`."""

    def __init__(
        self,
        binaries: Binaries,
        components: Sequence[Component] = QUICK,
        *,
        flags: Mapping[str, Sequence[str]] | None = None,
        audit_policy: str | None = None,
        parent: Path | None = None,
        host: str = LOOPBACK,
        start_seconds: float = START_SECONDS,
    ) -> None:
        """Describe it; `start` or `with` starts it.

        Args:
            binaries: The programs of all components, and kubectl.
            components: What runs, in the order of starting; they stop in the opposite order.
            flags: More flags, by program; they come last, so they win where a flag has one value.
            audit_policy: A document of `audit.k8s.io/v1`, YAML; what it selects is in `audit_log`.
            parent: Where the folder of the cluster is made; None: the folder of temporary files.
            host: Address that its servers listen on, one of this network namespace.
            start_seconds: When a start has failed.
        """
        unknown = set(flags or {}) - {component.program for component in components}
        if unknown:
            raise Bug(f"flags for {', '.join(sorted(unknown))}, which this control plane does not run")
        self.binaries = binaries
        self._components = tuple(components)
        self._flags = dict(flags or {})
        self._audit_policy = audit_policy
        self._parent = parent
        self._host = host
        self._start_seconds = start_seconds
        self._ports: dict[str, ReservedPort] = {}
        self._processes: dict[str, Process] = {}
        self._folder: Path | None = None
        self._clients: Clients | None = None
        self._setting: Setting | None = None
        self.seconds_to_ready = 0.0

    @property
    def folder(self) -> Path:
        """Everything of this cluster: certificates, kubeconfigs, data, logs. Removed by `stop`."""
        if self._folder is None:
            raise Bug("this control plane does not run")
        return self._folder

    @property
    def url(self) -> str:
        """Where the API server answers."""
        return f"https://{self._host}:{self._ports[API_SERVER.program].number}"

    @property
    def admin(self) -> Client:
        """The test's own identity, which may do everything."""
        return self.client("admin", ["system:masters"])

    @property
    def authority(self) -> Path:
        """Certificate of the authority, PEM."""
        return self.folder / "certificates" / "ca.crt"

    @property
    def audit_log(self) -> Path:
        """Where the API server writes what the audit policy selects, one JSON object a line."""
        return self.folder / "audit.log"

    def pids(self) -> dict[str, int]:
        """Return the number of every running program, by its name."""
        return {name: process.pid for name, process in self._processes.items()}

    def runs(self, component: Component) -> bool:
        """Return whether a component is part of this control plane."""
        return component in self._components

    def client(self, user: str, groups: Sequence[str] = ()) -> Client:
        """Return an identity with a certificate and a kubeconfig: `system:node:n1` in `system:nodes`, for example."""
        if self._clients is None:
            raise Bug("this control plane does not run")
        return self._clients.client(user, groups)

    def kubectl(self, *arguments: str, stdin: str = "", user: Client | None = None) -> Answer:
        """Run kubectl as somebody, as the admin unless told otherwise."""
        home = self.folder / "home"
        return run_kubectl(self.binaries["kubectl"], user or self.admin, arguments, home, stdin)

    def api_client(self, user: Client | None = None) -> ApiClient:
        """Return a client of the `kubernetes` package for somebody; whoever asked closes it."""
        # Importing it takes half a second, which whoever speaks through kubectl need not wait for.
        from kubernetes import client, config

        configuration = client.Configuration()
        config.load_kube_config(str((user or self.admin).kubeconfig), client_configuration=configuration)
        # Nothing between programs on loopback.
        configuration.proxy = None
        return client.ApiClient(configuration)

    def start(self) -> None:
        """Start every component and return when all of them are ready.

        Raises:
            Stop: One ended, or was not ready in time; the text has its last lines. Nothing of it is left.
        """
        if self._folder is not None:
            raise Bug("this control plane runs already")
        begun = time.monotonic()
        try:
            self._setting = self._prepare()
            self._launch([one for one in self._components if not one.is_client], begun + self._start_seconds)
            self._launch([one for one in self._components if one.is_client], begun + self._start_seconds)
        except BaseException:
            self.stop()
            raise
        self.seconds_to_ready = time.monotonic() - begun

    def stop(self) -> None:
        """End every program, in the opposite order of starting, and remove the folder; a second call does nothing."""
        for process in reversed(self._processes.values()):
            process.stop()
        for port in self._ports.values():
            port.close()
        if self._folder is not None:
            shutil.rmtree(self._folder)
        self._processes, self._ports = {}, {}
        self._folder = self._clients = self._setting = None

    def stop_api_server(self, *, kill: bool = False) -> None:
        """End the API server alone; whoever calls is refused until `start_api_server`.

        Args:
            kill: At once, in the middle of what it does. Else watches may end in order, for as long as they do it soon.
        """
        if API_SERVER.program not in self._processes:
            raise Bug(f"{API_SERVER.program} does not run here")
        self._processes.pop(API_SERVER.program).stop(0.0 if kill else FAREWELL_SECONDS)

    def start_api_server(self) -> None:
        """Start the API server again, at the same address and over the same data; return when everything is ready.

        Programs that cannot live without it for so long and have ended are started again, as a kubelet would do it.

        Raises:
            Stop: A program ended, or was not ready in time.
        """
        if API_SERVER.program in self._processes:
            raise Bug(f"{API_SERVER.program} runs already")
        deadline = time.monotonic() + self._start_seconds
        self._launch([API_SERVER], deadline)
        ended = [
            one
            for one in self._components
            if one.program in self._processes and self._processes[one.program].exit_code is not None
        ]
        for one in ended:
            self._processes.pop(one.program).stop()
        self._launch(ended, deadline)
        # It stops in the opposite order of starting.
        running = self._processes
        self._processes = {one.program: running[one.program] for one in self._components if one.program in running}

    def check(self) -> None:
        """Do nothing while every program runs.

        Raises:
            Stop: One has ended; the text has its last lines.
        """
        for process in self._processes.values():
            _check(process)

    def __enter__(self) -> ControlPlane:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> Setting:
        self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._parent))
        for name in ("home", "logs"):
            (self._folder / name).mkdir(mode=0o700)
        self._ports = {one.program: ReservedPort(self._host) for one in self._components if one.health is not None}
        authority = Authority(self._folder / "certificates")
        self._clients = Clients(self._folder, authority, self.url)
        policy = self._folder / "audit-policy.yaml"
        if self._audit_policy is not None:
            policy.write_text(self._audit_policy, encoding="utf-8")
        return Setting(
            folder=self._folder,
            host=self._host,
            authority=authority.certificate,
            server=authority.issue_server(dict.fromkeys((*HOSTS, self._host))),
            signing=authority.make_signing_key("service-accounts"),
            ports={program: port.number for program, port in self._ports.items()},
            kubeconfigs={
                one.program: self.client(one.user, one.groups).kubeconfig
                for one in self._components
                if one.user is not None
            },
            audit_policy=policy if self._audit_policy is not None else None,
            audit_log=self.audit_log,
        )

    def _asking(self) -> httpx2.Client:
        context = ssl.create_default_context(cafile=str(self.authority))
        context.load_cert_chain(self.admin.pair.certificate, self.admin.pair.key)
        return httpx2.Client(verify=context, trust_env=False, timeout=5.0)

    def _launch(self, components: Sequence[Component], deadline: float) -> None:
        if self._setting is None:
            raise Bug("this control plane does not run")
        for component in components:
            program = component.program
            command = [str(self.binaries[program]), *component.arguments(self._setting), *self._flags.get(program, ())]
            self._processes[program] = Process(
                program,
                command,
                directory=self.folder,
                log=self.folder / "logs" / f"{program}.log",
                environment={"PATH": os.defpath, "HOME": str(self.folder / "home"), "TMPDIR": str(self.folder)},
            )
        with self._asking() as http:
            for component in components:
                self._wait_until_ready(component, http, deadline)

    def _wait_until_ready(self, component: Component, http: httpx2.Client, deadline: float) -> None:
        if component.health is None:
            return
        url = f"https://{self._host}:{self._ports[component.program].number}{component.health}"
        while True:
            self._check_needed(component)
            said = self._ask(http, url)
            if said is None:
                return
            if time.monotonic() > deadline:
                tails = [f"{name}:\n{process.last_lines()}" for name, process in self._processes.items()]
                raise Stop(
                    f"{component.program} was not ready within {self._start_seconds:g} s; {component.health} "
                    f"says: {said}\nThe last lines of every program:\n" + "\n".join(tails)
                )
            time.sleep(POLL_SECONDS)

    def _check_needed(self, component: Component) -> None:
        # A client of an API server that starts again may end meanwhile; that is not this one's fault.
        for one in self._components:
            if one.program in self._processes and (one == component or not one.is_client):
                _check(self._processes[one.program])

    def _ask(self, http: httpx2.Client, url: str) -> str | None:
        """Return what is missing, None when a server is ready."""
        try:
            answer = http.get(url)
        except httpx2.TransportError as error:
            return f"{type(error).__name__}: {error}"
        return None if answer.status_code == 200 else f"{answer.status_code}, {answer.text[-1000:]}"


def _check(process: Process) -> None:
    if (code := process.exit_code) is not None:
        raise Stop(f"{process.name} ended with {describe_exit(code)}; its last lines:\n{process.last_lines()}")
