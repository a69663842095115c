"""What one machine brings to every choice: its hardware class, its device and runtimes, what is known of models."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from hpi_agent.building.device_access import DeviceAccess, access_to, visible_part
from hpi_agent.building.runtimes import device_runtimes, processor_runtimes
from hpi_agent.configuration import configs_directory
from hpi_agent.discovery import detect
from hpi_agent.engines.base import CPU, Device
from hpi_agent.models.assemble import PLAIN_LOADER
from hpi_agent.plugins.environment import PLUGIN_FILE, PluginEnvironment, find_environment, stores_of_plugins
from hpi_agent.profile import HardwareClass, hardware_class
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.knowledge import Knowledge
from hpi_agent.select.read_knowledge import read_knowledge
from hpi_agent.store.directory import Store
from hpi_core.errors import Bug
from hpi_core.formats import Backend

PADDLE_ENVIRONMENT: Final = "paddle2onnx"
"""The locked environment that converts Paddle's models and runs them as they are."""


@dataclass(frozen=True)
class Site:
    """What one machine and installation bring to every choice."""

    store: Store
    hardware: HardwareClass
    threads: int
    """Whole cores left to this process."""
    knowledge: Knowledge
    runtimes: Mapping[Backend, str | None]
    """Version of each backend that computes on the processors, None where it is not installed."""
    environment: PluginEnvironment | None
    """The locked environment with Paddle and its converter, or None."""
    plugin: Mapping[str, str | None]
    """`variant` and `lockDigest` of the environment that runs this program; None where it was not made from a list."""
    samples: Path | None
    """The user's folder of samples."""
    device: Device = CPU
    """What was asked for."""
    device_runtimes: Mapping[Backend, str | None] = field(default_factory=dict)
    """Version of each backend that computes on that device, None where no such build is installed; empty for the
    processors."""
    access: DeviceAccess = field(default_factory=DeviceAccess)
    """How a process comes to that device."""

    def interpreter_of(self, candidate: Candidate) -> Path | None:
        """Return the Python that has a candidate's runtime; None: the one that runs this program."""
        if candidate.backend != "paddle" or candidate.device != "cpu" or self.environment is None:
            return None
        return self.environment.python


def read_site(store: Store, threads: int, samples: Path | None, device: Device = CPU) -> Site:
    """Return what this machine brings.

    Args:
        store: The store; the locked environment with Paddle is looked for in it, then in that of `$HPI_PLUGINS`.
        threads: Whole cores left to this process.
        samples: The user's folder of samples, or None.
        device: What has to compute.

    Raises:
        Refused: The machine has no such device, the text names what it has; or `$HPI_PLUGINS` is no directory.
    """
    found = (find_environment(one, PADDLE_ENVIRONMENT) for one in stores_of_plugins(store, os.environ))
    environment = next((one for one in found if one is not None), None)
    machine = detect(Path("/"))
    if device.kind != "cpu":
        machine = visible_part(machine, os.environ)
    return Site(
        store=store,
        hardware=hardware_class(machine, device.kind, device.index),
        threads=threads,
        knowledge=read_knowledge(_knowledge_document()),
        runtimes=processor_runtimes(environment),
        environment=environment,
        plugin=_plugin(),
        samples=samples,
        device=device,
        device_runtimes=device_runtimes(device.kind),
        access=access_to(device, machine),
    )


def _knowledge_document() -> dict[str, Any]:
    path = configs_directory() / "knowledge" / "paddlex.yml"
    document = yaml.load(path.read_text(encoding="utf-8"), Loader=PLAIN_LOADER)  # noqa: S506 - a safe loader
    if not isinstance(document, dict):
        raise Bug(f"{path} must hold a mapping, got {type(document).__name__}")
    return document


def _plugin() -> dict[str, str | None]:
    path = Path(sys.prefix) / PLUGIN_FILE
    if not path.is_file():
        return {"variant": None, "lockDigest": None}
    written = json.loads(path.read_text(encoding="utf-8"))
    return {"variant": str(written["variant"]), "lockDigest": str(written["lockDigest"])}
