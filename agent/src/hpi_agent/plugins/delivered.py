"""An environment that a node's agent has installed: found by its lock, and entered by a pod that mounts it read-only.

The pod's image has this program and the Python that the environment leans on, and none of the engines. `hpi-agent`
starts in the image, finds the environment, marks it as in use, and goes on as the same process in there.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final, NoReturn

import hpi_agent
import hpi_core
from hpi_agent.plugins.environment import KIND
from hpi_agent.store.directory import Store
from hpi_agent.store.locks import take_lock
from hpi_agent.store.place import place_of
from hpi_core.digest import PATTERN
from hpi_core.errors import Refused, Retry
from hpi_core.names import ENV_LOCK_DIGEST, ENV_RUNTIMES, ENV_VARIANT

DISTRIBUTION: Final = "hpi"


@dataclass(frozen=True)
class Delivered:
    """One installed environment."""

    tree: str
    """Name of its tree in the store."""
    directory: Path
    base: str
    """The Python outside the store that it leans on."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.directory / "bin" / "python"

    @property
    def works(self) -> bool:
        """Whether the Python that it leans on is there."""
        return os.access(self.python, os.X_OK)


def find_delivered(store: Store, variant: str, lock_digest: str) -> Delivered | None:
    """Return the environment of a variant in a lock, None where there is none; one that works comes first.

    Raises:
        Stop: The store cannot be read.
    """
    pattern = re.compile(rf"{re.escape(variant)}-[0-9a-f]+-[0-9a-f]+")
    names = sorted(path.name for path in (store.root / KIND).glob(f"{variant}-*") if pattern.fullmatch(path.name))
    found = [one for one in (_delivered(store, name, lock_digest) for name in names) if one is not None]
    return min(found, key=lambda one: not one.works, default=None)


def enter_runtime(environment: Mapping[str, str], arguments: Sequence[str]) -> None:
    """Go on in the environment that `$HPI_RUNTIMES` holds for this pod; without the variable, or inside, do nothing.

    Args:
        environment: Variables of this process.
        arguments: Of the program, without its name.

    Raises:
        Refused: What is there cannot be used: another lock, another Python than the image has.
        Retry: There is no such environment; the node's agent makes it.
    """
    folder = environment.get(ENV_RUNTIMES, "")
    if not folder or Path(sys.prefix).is_relative_to(Path(folder).resolve()):
        return
    variant, lock = environment.get(ENV_VARIANT, ""), environment.get(ENV_LOCK_DIGEST, "")
    if not variant or re.fullmatch(PATTERN, lock) is None:
        raise Refused(f"${ENV_RUNTIMES} is set, and ${ENV_VARIANT} or ${ENV_LOCK_DIGEST} names nothing")
    store = Store(Path(folder).resolve())
    found = find_delivered(store, variant, lock)
    if found is None:
        there = ", ".join(sorted(path.name for path in (store.root / KIND).glob("*"))) or "nothing"
        raise Retry(f"{folder} has no {variant} with {lock}; it has {there}. The node's agent installs it")
    if not found.works:
        raise Refused(
            f"{found.tree} leans on the Python {found.base}, which this image does not have: name the node agents' own "
            "image in spec.images of the HPIRuntime"
        )
    _go_on(store, found, environment, arguments)


def _go_on(store: Store, found: Delivered, environment: Mapping[str, str], arguments: Sequence[str]) -> NoReturn:
    try:
        # Held as long as this process lives: the node's agent removes no environment that is in use.
        os.set_inheritable(take_lock(place_of(store.root, KIND, found.tree).use, shared=True), True)
    except OSError as error:
        raise Retry(f"{found.tree} cannot be marked as in use: {error.strerror}") from error
    kept = {name: value for name, value in environment.items() if not name.startswith("PYTHON")}
    # -B: what Python would compile now is in no manifest.
    command = [str(found.python), "-B", "-m", "hpi_agent", *arguments]
    os.execve(found.python, command, {**kept, "PYTHONPATH": str(_own_code()), "PYTHONSAFEPATH": "1"})  # noqa: S606


def _own_code() -> Path:
    """Return a folder with this program alone: the folder that it lies in has the image's other packages beside it."""
    folder = Path(tempfile.mkdtemp(prefix="hpi-code-"))
    for package in (hpi_agent, hpi_core):
        source = Path(package.__path__[0]).resolve()
        (folder / source.name).symlink_to(source)
    try:
        beside = Path(str(distribution(DISTRIBUTION).locate_file("")))
    except PackageNotFoundError:
        return folder
    for source in beside.glob(f"{DISTRIBUTION}-*.dist-info"):
        (folder / source.name).symlink_to(source.resolve())
    return folder


def _delivered(store: Store, name: str, lock_digest: str) -> Delivered | None:
    entry = store.open_tree(KIND, name)
    if entry is None:
        return None
    with entry:
        if entry.about.get("lock") != lock_digest:
            return None
        base = str((entry.about.get("interpreter") or {}).get("path", "unknown"))
        return Delivered(name, entry.directory, base)
