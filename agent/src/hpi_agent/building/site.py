"""What one machine brings to every choice: its hardware class, its runtimes, what is known of models."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hpi_agent.configuration import configs_directory
from hpi_agent.discovery import detect
from hpi_agent.engines.registry import runtime_version
from hpi_agent.models.assemble import PLAIN_LOADER
from hpi_agent.plugins.environment import PluginEnvironment, find_environment
from hpi_agent.profile import HardwareClass, hardware_class
from hpi_agent.select.knowledge import Knowledge, read_knowledge
from hpi_agent.store.directory import Store
from hpi_core.errors import Bug
from hpi_core.formats import BACKENDS, Backend

PADDLE_ENVIRONMENT: Final = "paddle2onnx"
"""The locked environment that converts Paddle's models and runs them as they are."""

PLUGIN_FILE: Final = "hpi-plugin.json"
"""Written into an environment that was made from a locked list: which list, and its digest."""


@dataclass(frozen=True)
class Site:
    """What one machine and installation bring to every choice."""

    store: Store
    hardware: HardwareClass
    threads: int
    """Whole cores left to this process."""
    knowledge: Knowledge
    runtimes: Mapping[Backend, str | None]
    """Version of each backend, None where it is not installed."""
    environment: PluginEnvironment | None
    """The locked environment with Paddle and its converter, or None."""
    plugin: Mapping[str, str | None]
    """`variant` and `lockDigest` of the environment that runs this program; None where it was not made from a list."""
    samples: Path | None
    """The user's folder of samples."""

    @property
    def interpreter(self) -> Path | None:
        """The Python that has Paddle; None: the one that runs this program."""
        return None if self.environment is None else self.environment.python


def read_site(store: Store, threads: int, samples: Path | None) -> Site:
    """Return what this machine brings.

    Args:
        store: The store; the locked environment with Paddle is looked for in it.
        threads: Whole cores left to this process.
        samples: The user's folder of samples, or None.
    """
    environment = find_environment(store, PADDLE_ENVIRONMENT)
    interpreter = None if environment is None else environment.python
    return Site(
        store=store,
        hardware=hardware_class(detect(Path("/"))),
        threads=threads,
        knowledge=read_knowledge(_knowledge_document()),
        runtimes={backend: _version(backend, environment, interpreter) for backend in BACKENDS},
        environment=environment,
        plugin=_plugin(),
        samples=samples,
    )


def _version(backend: Backend, environment: PluginEnvironment | None, interpreter: Path | None) -> str | None:
    if backend == "paddle" and environment is not None:
        return environment.versions.get("paddlepaddle")
    return runtime_version(backend, interpreter)


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
