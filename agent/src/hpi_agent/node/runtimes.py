"""Runtimes that this agent installs: one after the other, again with growing pauses, and removed when unwanted."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hpi_agent.node.installation import Bounds, Origin, install_in_child
from hpi_agent.node.on_disk import FAILED, INSTALLED, INSTALLING, QUEUED, OnDisk
from hpi_agent.plugins.delivered import find_delivered
from hpi_agent.plugins.environment import KIND
from hpi_agent.store.directory import Store
from hpi_core.api.v1alpha1.node import NodeSpec, WantedRuntime
from hpi_core.errors import HpiError

log: Final = logging.getLogger(__name__)

STORE: Final = "Store"
FIRST_PAUSE_SECONDS: Final = 60.0
LONGEST_PAUSE_SECONDS: Final = 3_600.0
LOOK_SECONDS: Final = 300.0
"""How often it is looked whether what was installed is there still, and whether what nobody wants can go."""
IN_USE_SECONDS: Final = 15.0
"""How soon an environment that nothing wants any more, and that a pod uses, is looked at again."""
WITHOUT_VARIANT: Final = "the HPINode does not say of which variant it is: the operator is of an older release"
NEWS_SECONDS: Final = 5.0
"""Steps are told at most this often: each is a write to the API server."""


@dataclass
class _Try:
    """What is remembered of a runtime that is not there."""

    failures: int = 0
    not_before: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Keeping:
    """How the node's environments are kept."""

    origin: Origin
    bounds: Bounds
    unwanted_seconds: float
    """How long an environment that nothing wants any more stays: pods of older revisions may start once more."""


class Runtimes:
    """Installs what the HPINode wants; its thread ends with the process. Safe from several threads."""

    def __init__(
        self, keeping: Keeping, changed: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare.

        Args:
            keeping: How.
            changed: Told of news.
            clock: Seconds that never go back.
        """
        self._keeping = keeping
        self._store = Store(keeping.origin.store)
        self._changed = changed
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: tuple[WantedRuntime, ...] | None = None
        self._states: dict[str, OnDisk] = {}
        self._tries: dict[tuple[str, str], _Try] = {}
        self._unwanted: dict[str, float] = {}
        self._told_at = 0.0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self.thread: Final = threading.Thread(target=self._run, name="runtimes", daemon=True)

    def want(self, spec: NodeSpec) -> None:
        """Take what the node shall have; runtimes delivered as images are nobody's business here."""
        wanted = tuple(one for one in spec.runtimes if one.delivery == STORE)
        with self._lock:
            if wanted == self._wanted:
                return
            self._wanted = wanted
        self._wake.set()

    def states(self) -> Mapping[str, OnDisk]:
        """Return how far each wanted runtime is, by its name."""
        with self._lock:
            wanted = {one.name: one.lock_digest for one in self._wanted or ()}
            known = {name: one for name, one in self._states.items() if wanted.get(name) == one.lock_digest}
        return {name: known.get(name, OnDisk(lock, QUEUED)) for name, lock in wanted.items()}

    def stop(self) -> None:
        """End; an installation that is under way ends with the process."""
        self._stopping.set()
        self._wake.set()

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.is_set():
            self._wake.wait(pause)
            self._wake.clear()
            if not self._stopping.is_set():
                pause = self.turn()

    def turn(self) -> float:
        """Install what is missing, remove what may go; return in how many seconds to look again."""
        with self._lock:
            wanted = self._wanted
        if wanted is None:
            # Nothing has said yet what is wanted: nothing is removed either.
            return LOOK_SECONDS
        pauses = [LOOK_SECONDS]
        for one in wanted:
            if not self._is_there(one):
                pauses.append(self._install(one))
        pauses.append(self._collect(wanted))
        return max(1.0, min(pauses))

    def _is_there(self, wanted: WantedRuntime) -> bool:
        if wanted.variant is None:
            self._say(wanted, OnDisk(wanted.lock_digest, FAILED, WITHOUT_VARIANT))
            return False
        try:
            found = find_delivered(self._store, str(wanted.variant), wanted.lock_digest)
        except HpiError as error:
            self._say(wanted, OnDisk(wanted.lock_digest, FAILED, str(error)))
            return False
        if found is None or not found.works:
            return False
        # Another runtime may have unpinned it: a variant's former lists are left to the collection.
        self._store.pin(KIND, found.tree)
        self._say(wanted, OnDisk(wanted.lock_digest, INSTALLED))
        return True

    def _install(self, wanted: WantedRuntime) -> float:
        """Try to install a runtime whose time has come; return the seconds until its next try."""
        if wanted.variant is None:
            return LOOK_SECONDS
        tried = self._tries.setdefault((wanted.name, wanted.lock_digest), _Try())
        left = tried.not_before - self._clock()
        if left > 0:
            return left
        wheels = self._keeping.origin.wheels
        words = {"runtime": wanted.name, "variant": wanted.variant, "lock": wanted.lock_digest}
        log.info("a runtime is being installed", extra={**words, "wheels": str(wheels or "an index")})
        self._say(wanted, OnDisk(wanted.lock_digest, INSTALLING, tried.message))
        try:
            install_in_child(wanted, self._keeping.origin, self._keeping.bounds, lambda step: self._step(wanted, step))
        except HpiError as error:
            tried.failures += 1
            tried.message = str(error)
            pause: float = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(tried.failures - 1, 10))
            tried.not_before = self._clock() + pause
            log.warning("a runtime was not installed", extra={**words, "cause": tried.message, "againSeconds": pause})
            self._say(wanted, OnDisk(wanted.lock_digest, FAILED, tried.message))
            return pause
        del self._tries[wanted.name, wanted.lock_digest]
        log.info("a runtime was installed", extra=words)
        return LOOK_SECONDS if self._is_there(wanted) else FIRST_PAUSE_SECONDS

    def _collect(self, wanted: tuple[WantedRuntime, ...]) -> float:
        """Remove environments that nothing has wanted for long enough and no pod uses."""
        kept = {(str(one.variant), one.lock_digest) for one in wanted}
        now, trees = self._clock(), []
        try:
            for one in self._store.entries():
                if (str(one.about.get("variant")), str(one.about.get("lock"))) not in kept:
                    trees.append(one.key)
            self._unwanted = {tree: self._unwanted.get(tree, now) for tree in trees}
            over = {tree for tree, since in self._unwanted.items() if now - since >= self._keeping.unwanted_seconds}
            for tree in over:
                self._store.unpin(KIND, tree)
            if over:
                spared = {(KIND, one.key): "wanted" for one in self._store.entries() if one.key not in over}
                done = self._store.collect(0, spared=spared)
                for entry in done.removed:
                    log.info("an environment that nothing wants was removed", extra={"tree": entry.key})
                for kept_one in done.kept:
                    if kept_one.entry.key in over:
                        log.info("an environment that nothing wants is in use", extra={"tree": kept_one.entry.key})
        except HpiError as error:
            log.warning("environments cannot be removed now", extra={"cause": str(error)})
        left = [self._keeping.unwanted_seconds - (now - since) for since in self._unwanted.values()]
        # What is due and is there still is in use.
        return min((wait if wait > 0 else IN_USE_SECONDS for wait in left), default=LOOK_SECONDS)

    def _step(self, wanted: WantedRuntime, step: str) -> None:
        now = self._clock()
        if now - self._told_at >= NEWS_SECONDS:
            self._told_at = now
            self._say(wanted, OnDisk(wanted.lock_digest, INSTALLING, step))

    def _say(self, wanted: WantedRuntime, state: OnDisk) -> None:
        with self._lock:
            if self._states.get(wanted.name) == state:
                return
            self._states[wanted.name] = state
        self._changed()
