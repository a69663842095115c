"""Put a plugin variant into the store: chosen, checked, made aside, tested, and only then in its place."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpi_agent.plugins.environment import (
    KIND,
    PluginEnvironment,
    about,
    find_environment,
    former_trees,
    open_environment,
    tree_name,
)
from hpi_agent.plugins.interpreters import Interpreter, candidates, probe
from hpi_agent.plugins.recipe import Recipe, Say
from hpi_agent.plugins.tree import make_tree
from hpi_agent.plugins.variants import Variant, find_variant, problem_with
from hpi_agent.store.directory import Store
from hpi_core.errors import Bug, Refused, Retry, Stop


@dataclass(frozen=True)
class Wish:
    """What a caller wants installed."""

    variant: str
    configs: Path
    """The folder `configs`."""
    environment: Mapping[str, str]
    """Variables of this program: where Pythons are looked for, how pip reaches its index."""
    python: Path | None = None
    """The Python to use; None: this program's own, else the newest that fits on PATH."""
    wheelhouse: Path | None = None
    """Folder that all wheels come from; None: an index."""
    processors: int = 1
    """Processes that may compile at once."""
    features: tuple[str, ...] = ()
    """Names of the variant's features to install with it."""


def install(store: Store, wish: Wish, say: Say = lambda event, facts: None) -> PluginEnvironment:
    """Return the environment of a variant, made unless it is there already. Of two calls at once, one makes it.

    Raises:
        Refused: No such variant or feature, no Python that fits, no such wheelhouse.
        SourceFailed: A wheel is missing, or is not the one that was locked.
        Stop: The disk is full, the store cannot be written, a step or the self-test fails.
    """
    variant = find_variant(wish.variant, wish.configs).with_features(wish.features)
    _check_wheelhouse(wish.wheelhouse)
    present = find_environment(store, variant.name, wish.configs, wish.features) if wish.python is None else None
    if present is not None:
        say("present", {"python": str(present.python)})
        return present
    interpreter = choose_interpreter(variant, wish)
    locked = variant.list_for(interpreter)
    name = tree_name(variant, locked, interpreter)
    recipe = Recipe(variant, locked, interpreter, wish.wheelhouse, wish.environment, wish.processors)
    chosen = {"variant": variant.name, "holds": variant.holds, "list": locked.name}
    say("chosen", {**chosen, "python": str(interpreter.path), "tree": name})
    found = open_environment(store, variant, locked, name)
    if found is not None:
        say("present", {"python": str(found.python)})
        return found
    _make(store, recipe, name, say)
    found = open_environment(store, variant, locked, name)
    if found is None:
        raise Bug(f"{name} was published in {store.root} and cannot be opened")
    _pin(store, variant, name)
    return found


def choose_interpreter(variant: Variant, wish: Wish) -> Interpreter:
    """Return the first Python that fits a variant.

    Raises:
        Refused: None does; what was tried, what each is and what is needed are in the text.
    """
    own_first = [wish.python] if wish.python is not None else candidates(variant.pythons, wish.environment)
    tried = []
    for path in own_first:
        found = probe(path, wish.environment)
        problem = found if isinstance(found, str) else problem_with(variant, found)
        if problem is None and isinstance(found, Interpreter):
            return found
        tried.append(f"  {path}: {problem}")
    newest = variant.pythons[0]
    raise Refused(
        f"{variant.needs}. Tried:\n" + "\n".join(tried) + f"\nInstall one (Debian, Ubuntu: apt install python{newest} "
        f"python{newest}-venv; elsewhere: uv python install {newest}), or name one with --python PATH"
    )


def _check_wheelhouse(wheelhouse: Path | None) -> None:
    if wheelhouse is not None and not wheelhouse.is_dir():
        raise Refused(f"{wheelhouse} is no directory; --wheelhouse names a directory of wheels")


def _make(store: Store, recipe: Recipe, name: str, say: Say) -> None:
    _check_room(store.root, recipe.variant.disk_bytes)
    facts = about(recipe.variant, recipe.locked, recipe.interpreter)

    def write(directory: Path) -> None:
        make_tree(directory, recipe, say)
        say("publishing", {})

    lock = f"install-{name}"
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(store.hold(lock, wait=False))
        except Retry:
            say("waiting", {})
            held.enter_context(store.hold(lock))
        store.publish_tree(KIND, name, write, about=facts)


def _check_room(root: Path, needed_bytes: int) -> None:
    place = root.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    free_bytes = shutil.disk_usage(place).free
    if free_bytes < needed_bytes:
        raise Stop(
            f"{place} has {free_bytes / 1e9:.1f} GB free, at least {needed_bytes / 1e9:.1f} GB are needed; make room "
            "there, or name another directory with --store DIR. Nothing was installed"
        )


def _pin(store: Store, variant: Variant, name: str) -> None:
    """Keep a tree for good, and leave those of the variant's former lists to the collection of garbage."""
    store.pin(KIND, name)
    for former in former_trees(store, variant):
        store.unpin(KIND, former)
