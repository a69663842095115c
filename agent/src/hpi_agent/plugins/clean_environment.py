"""The variables of a child process: what the network and the index need, nothing that changes what it imports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PIP_KEPT: Final = frozenset(
    {
        "PIP_CACHE_DIR",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_CONFIG_FILE",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_INDEX_URL",
        "PIP_KEYRING_PROVIDER",
        "PIP_NO_CACHE_DIR",
        "PIP_NO_INDEX",
        "PIP_PROXY",
        "PIP_RETRIES",
        "PIP_TIMEOUT",
        "PIP_TRUSTED_HOST",
        "PIP_USE_FEATURE",
    }
)
"""pip's variables that say where packages come from. Others (PIP_TARGET, PIP_REQUIREMENT …) say what to do instead."""
PIP_SOURCES: Final = frozenset({"PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_NO_INDEX"})
KEPT_WHILE_TESTING: Final = ("LD_LIBRARY_PATH", "PATH")
"""An interpreter built with a shared library of its own may need the first."""


def without_python_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without those that make Python import, keep or print something else."""
    dropped = ("PYTHON", "VIRTUAL_ENV", "CONDA_", "__PYVENV", "LD_PRELOAD")
    return {name: value for name, value in environment.items() if not name.startswith(dropped)}


def for_pip(environment: Mapping[str, str], scratch: Path, *, alone: bool) -> dict[str, str]:
    """Return the variables that pip runs with.

    Args:
        environment: This program's.
        scratch: Folder for temporary files; `/tmp` may be too small for a wheel of 200 MB.
        alone: Whether only a wheelhouse may be asked: no index and no configuration of the machine counts then.
    """
    kept = {
        name: value
        for name, value in without_python_variables(environment).items()
        if not name.startswith(("PIP_", "UV_")) or name in PIP_KEPT
    }
    if alone:
        kept = {name: value for name, value in kept.items() if name not in PIP_SOURCES}
        kept["PIP_CONFIG_FILE"] = os.devnull
    # A personal `user = true` would make pip refuse to install anywhere else.
    ours = {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONNOUSERSITE": "1"}
    return {**kept, **ours, "TMPDIR": str(scratch)}


def for_self_test(environment: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return the variables of a self-test: a home of its own, no proxy, no setting of any library."""
    kept = {name: environment[name] for name in KEPT_WHILE_TESTING if name in environment}
    place = str(scratch)
    return {**kept, "HOME": place, "TMPDIR": place, "LANG": "C.UTF-8", "ORT_DISABLE_TELEMETRY": "1"}
