"""The child that installs one runtime's wheels: one JSON line for each step on standard output, the outcome last.

    python -m hpi_agent.node.install_runtime VARIANT LOCK_DIGEST STORE CONFIGS [WHEELHOUSE]

A process of its own: what it takes of memory and time is bounded from outside, and what it leaves behind is nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hpi_agent.plugins.install import Wish, install
from hpi_agent.plugins.interpreters import Interpreter, candidates, probe
from hpi_agent.plugins.variants import LockedList, Variant, find_variant, problem_with
from hpi_agent.store.directory import Store
from hpi_core.errors import HpiError, Refused

INSTALLED: Final = "installed"
FAILED: Final = "failed"
PROCESSORS: Final = 1
"""It works beside pods that serve."""


def main(arguments: Sequence[str]) -> int:
    """Install, tell, and return 0 where the environment is there."""
    variant, lock, store, configs, *rest = arguments
    try:
        tree = install_locked(variant, lock, Path(store), Path(configs), Path(rest[0]) if rest else None)
    except HpiError as error:
        _say(FAILED, {"message": str(error)})
        return 1
    _say(INSTALLED, {"python": str(tree)})
    return 0


def install_locked(variant: str, lock: str, store: Path, configs: Path, wheelhouse: Path | None) -> Path:
    """Install a variant in exactly one lock; return its interpreter.

    Raises:
        Refused: The variant is not locked so here, or no Python of this machine fits.
        HpiError: As `hpi_agent.plugins.install`.
    """
    found, locked = locked_as(find_variant(variant, configs), lock)
    environment = dict(os.environ)
    python = _python_for(found, locked, environment)
    wish = Wish(variant, configs, environment, python, wheelhouse, PROCESSORS, found.chosen)
    made = install(Store(store), wish, _say)
    if made.lock_digest != lock:
        raise Refused(f"{variant} was installed with {made.lock_digest}, and {lock} is wanted")
    return made.python


def locked_as(variant: Variant, lock: str) -> tuple[Variant, LockedList]:
    """Return the variant with the features, and the list, that a lock is the digest of.

    Raises:
        Refused: None is; those that there are are in the text.
    """
    for one in variant.with_any_features():
        for locked in one.lists:
            if locked.digest == lock:
                return one, locked
    there = "; ".join(f"{one.digest} for Python {one.python}" for one in variant.lists)
    raise Refused(
        f"{lock} is wanted of {variant.name}, and this agent has {there}: the HPIRuntime was made for another release"
    )


def _python_for(variant: Variant, locked: LockedList, environment: Mapping[str, str]) -> Path:
    tried = []
    for path in candidates((locked.python,), environment):
        found = probe(path, environment)
        if isinstance(found, Interpreter) and found.feature_version == locked.python:
            problem = problem_with(variant, found)
            if problem is None:
                return found.path
            tried.append(f"{path}: {problem}")
    raise Refused(
        f"{locked.name} needs CPython {locked.python}, which the agent's image does not have; tried: "
        f"{'; '.join(tried) or 'no Python of that version'}"
    )


def _say(event: str, facts: Mapping[str, Any]) -> None:
    print(json.dumps({**facts, "event": event}, ensure_ascii=False, default=str), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
