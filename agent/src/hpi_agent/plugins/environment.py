"""An installed plugin variant: where its interpreter is and what it holds, read from the store without starting it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.configuration import configs_directory
from hpi_agent.plugins.interpreters import Interpreter
from hpi_agent.plugins.variants import LockedList, Variant, find_variant
from hpi_agent.store.directory import Store
from hpi_core.digest import PREFIX, digest_of_json
from hpi_core.errors import Refused

KIND: Final = "plugins"
TREE_FORMAT: Final = 1
"""Raised when trees are made in another way, so that those made before are not taken for new ones."""
PLUGIN_FILE: Final = "hpi-plugin.json"
"""At the top of an environment: `variant` and `lockDigest`, for the program that runs in it."""
ENV_PLUGINS: Final = "HPI_PLUGINS"
"""Names a second store, which an image brings and nobody writes: environments are looked for there as well."""
_HEX_DIGITS: Final = 16

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class PluginEnvironment:
    """One installed variant."""

    name: str
    python: Path
    """Its interpreter, inside the store."""
    lock_digest: str
    """`sha256:<hex>` of the list of wheels that it was made from."""
    versions: Mapping[str, str]
    """Version of every package in it, by name as in the list."""


def find_environment(
    store: Store, name: str, configs: Path | None = None, features: Sequence[str] = ()
) -> PluginEnvironment | None:
    """Return the installed environment of a variant, None when there is none that today's lists describe.

    Looks at the manifest only; every file is compared by `Entry.verify`.

    Args:
        store: Where to look.
        name: Such as `paddle2onnx`.
        configs: The folder `configs`; None: the project's own.
        features: Names of the features that it was installed with.

    Raises:
        Refused: No variant has that name, or it has no such feature.
    """
    variant = find_variant(name, configs or configs_directory()).with_features(features)
    trees = _trees(store, name)
    for locked in variant.lists:
        for tree in trees:
            if not tree.startswith(_prefix(variant, locked)):
                continue
            if (found := open_environment(store, variant, locked, tree)) is not None:
                return found
    return None


def stores_of_plugins(store: Store, environment: Mapping[str, str]) -> tuple[Store, ...]:
    """Return where environments are looked for: the store, then what `$HPI_PLUGINS` names.

    Raises:
        Refused: The variable names no directory.
    """
    named = environment.get(ENV_PLUGINS)
    if not named:
        return (store,)
    if not Path(named).is_dir():
        raise Refused(f"${ENV_PLUGINS} is {named!r}, which is no directory; name a store with plugins, or unset it")
    return (store, Store(Path(named).absolute()))


def open_environment(store: Store, variant: Variant, locked: LockedList, tree: str) -> PluginEnvironment | None:
    """Return the environment in one tree of the store, None when it is not there or cannot be used."""
    entry = store.open_tree(KIND, tree)
    if entry is None:
        return None
    with entry:
        about: Mapping[str, Any] = entry.about
        python = entry.directory / "bin" / "python"
    if about.get("lock") != locked.digest:
        return None
    # Its file lies outside the store: whoever removed that Python took the environment away.
    if not os.access(python, os.X_OK):
        base = about.get("interpreter", {}).get("path")
        log.warning(f"{tree}: its interpreter {base} is gone; run `hpi-agent install {variant.name}` to make another")
        return None
    return PluginEnvironment(variant.name, python, locked.digest, dict(about["versions"]))


def tree_name(variant: Variant, locked: LockedList, interpreter: Interpreter) -> str:
    """Return the name of a tree in the store: the digest of its list, and of the interpreter that it leans on."""
    leaning = {
        "format": TREE_FORMAT,
        "path": str(interpreter.path),
        "python": interpreter.feature_version,
        "architecture": interpreter.architecture,
    }
    return _prefix(variant, locked) + digest_of_json(leaning).removeprefix(PREFIX)[:_HEX_DIGITS]


def about(variant: Variant, locked: LockedList, interpreter: Interpreter) -> dict[str, Any]:
    """Return what a tree's manifest says of it."""
    return {
        "variant": variant.name,
        "list": locked.name,
        "lock": locked.digest,
        "versions": dict(locked.versions),
        "interpreter": {
            "path": str(interpreter.path),
            "version": interpreter.version,
            "architecture": interpreter.architecture,
            "glibc": interpreter.glibc,
        },
    }


def former_trees(store: Store, variant: Variant) -> list[str]:
    """Return the names of a variant's trees that were made from lists it no longer has, with any features."""
    prefixes = tuple(_prefix(variant, locked) for one in variant.with_any_features() for locked in one.lists)
    return [name for name in _trees(store, variant.name) if not name.startswith(prefixes)]


def _trees(store: Store, variant: str) -> list[str]:
    # In full, because the name of one variant may begin with that of another.
    pattern = re.compile(rf"{re.escape(variant)}-[0-9a-f]{{{_HEX_DIGITS}}}-[0-9a-f]{{{_HEX_DIGITS}}}")
    return sorted(path.name for path in (store.root / KIND).glob(f"{variant}-*") if pattern.fullmatch(path.name))


def _prefix(variant: Variant, locked: LockedList) -> str:
    return f"{variant.name}-{locked.digest.removeprefix(PREFIX)[:_HEX_DIGITS]}-"
