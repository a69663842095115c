"""The loop: workers that take keys and make their passes, and what stands for many keys at once."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hpi_core.errors import HpiError, Retry
from hpi_operator.kube.errors import Away
from hpi_operator.kube.reflector import Reflector
from hpi_operator.kube.resources import PIPELINES
from hpi_operator.kube.selections import Selection
from hpi_operator.kube.written import Written
from hpi_operator.logs import about
from hpi_operator.observe.world import EVERY
from hpi_operator.passes import cluster, nodes, pipelines
from hpi_operator.passes.base import Ended, Pass, Tools
from hpi_operator.passes.metrics import Metrics
from hpi_operator.passes.queue import Key

log: Final = logging.getLogger(__name__)

PASSES: Final[Mapping[str, Pass]] = {
    "HPIPipeline": pipelines.pass_pipeline,
    "Node": nodes.pass_node,
    "HPINodePool": cluster.pass_pool,
    "HPIRuntime": cluster.pass_runtime,
    "Engines": cluster.pass_engines,
    "Supply": cluster.pass_supply,
}

EXPANDED: Final = ("HPIPipeline", "Node", "HPINodePool", "HPIRuntime")
"""Kinds for which `*` stands for every object; the other passes are about many objects at once anyway."""

GATHER_SECONDS: Final[Mapping[str, float]] = {
    "HPIPipeline": 0.1,
    "Node": 0.1,
    "Supply": 0.5,
    "HPINodePool": 2.0,
    "HPIRuntime": 2.0,
    "Engines": 2.0,
}
"""How long changes are gathered before a pass: a rollout brings several at once, a sum has many parts."""

FULL_PASS_SECONDS: Final = 600.0
"""Every object gets a pass this often, whatever was or was not seen to change."""
FULL_PASS_SPREAD_SECONDS: Final = 60.0
"""Within how long those passes are begun."""

SIGHT_SECONDS: Final = 0.02
"""How often it is asked whether the pictures show what a pass wrote."""
MAX_SIGHT_SECONDS: Final = 10.0
"""A pass waits no longer for that: a redundant write is the lesser evil."""

STUCK_SECONDS: Final = 180.0
"""Work that waits for so long while no pass ends is stuck."""
LONGEST_PASS_SECONDS: Final = 900.0
"""A single pass that runs for so long hangs, whatever the others do."""


@dataclass
class _Sight:
    """What the last pass of a key wrote, and since when the next one waits to see it."""

    written: tuple[Written, ...]
    since: float


class Loop:
    """Workers and their queue."""

    def __init__(
        self,
        tools: Tools,
        metrics: Metrics,
        workers: int,
        *,
        passes: Mapping[str, Pass] = PASSES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `start` begins.

        Args:
            tools: What every pass needs.
            metrics: Counts them.
            workers: How many passes run at once.
            passes: The pass of each kind.
            clock: Seconds that never go back.
        """
        self._tools = tools
        self._metrics = metrics
        self._passes = passes
        self._clock = clock
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(workers)
        ]
        self._stopping = threading.Event()
        self._finished_at = clock()
        self._sights: dict[Key, _Sight] = {}

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float = 10.0) -> bool:
        """End when the passes under way have ended; return whether they have in time."""
        self._stopping.set()
        self._tools.queue.close()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def ask(self, kind: str, namespace: str, name: str) -> None:
        """Ask for a pass, or for those of every object where the name is `*`."""
        self._tools.queue.put(Key(kind, namespace, name), GATHER_SECONDS.get(kind, 0.0))

    def ask_at_once(self, kind: str, namespace: str, name: str) -> None:
        """Ask for a pass that nothing has to be gathered for: somebody changed the object itself."""
        self._tools.queue.put(Key(kind, namespace, name))

    def ask_for_everything(self) -> None:
        """Ask for a pass of every object."""
        for kind in EXPANDED:
            self._tools.queue.put(Key(kind, EVERY if kind == "HPIPipeline" else "", EVERY))

    @property
    def stuck(self) -> str | None:
        """Why the loop makes no progress, None where it does or has nothing to do."""
        queue = self._tools.queue
        idle = min(self._clock() - self._finished_at, max(queue.oldest_seconds, queue.longest_running_seconds))
        if idle > STUCK_SECONDS:
            return f"passes wait or run, and none has ended for {idle:.0f} s"
        if queue.longest_running_seconds > LONGEST_PASS_SECONDS:
            return f"a pass has run for {queue.longest_running_seconds:.0f} s"
        dead = [thread.name for thread in self._threads if thread.ident is not None and not thread.is_alive()]
        return f"{', '.join(dead)} ended" if dead and not self._stopping.is_set() else None

    def _work(self) -> None:
        while not self._stopping.is_set():
            key = self._tools.queue.take(timeout_seconds=1.0)
            if key is not None:
                with about(object=str(key)):
                    self._pass(key)

    def _pass(self, key: Key) -> None:
        if not self._sees_what_it_wrote(key):
            self._tools.queue.done(key, after_seconds=SIGHT_SECONDS)
            return
        started = time.monotonic()
        ended, failed, wish = Ended(), True, 0.0
        try:
            ended = self._expand(key) if key.name == EVERY and key.kind in EXPANDED else self._make(key)
            failed = False
        except Retry as error:
            wish = (error.after_seconds or 0.0) if isinstance(error, Away) else 0.0
            log.info("a pass is tried again", extra={"cause": str(error)})
            self._metrics.failed(key.kind, type(error).__name__)
        except HpiError as error:
            log.error("a pass failed", extra={"cause": str(error)})
            self._metrics.failed(key.kind, pipelines.failure_words(error))
        except Exception:
            # A fault of ours in one object's pass must not end the worker: the others go on.
            log.exception("a pass failed")
            self._metrics.failed(key.kind, "Bug")
        finally:
            self._finished_at = self._clock()
            self._metrics.passed(key.kind, time.monotonic() - started, ended.writes, ended.refusals)
            self._tools.queue.done(key, failed=failed, after_seconds=ended.look_again_seconds, at_least_seconds=wish)

    def _make(self, key: Key) -> Ended:
        ended = Ended()
        try:
            ended = self._passes[key.kind](self._tools, key)
        finally:
            if key.kind == "HPIPipeline" and not ended.is_postponed:
                self._tools.ledger.had_pass((key.namespace, key.name))
        if ended.written:
            self._sights[key] = _Sight(ended.written, self._clock())
        return ended

    def _sees_what_it_wrote(self, key: Key) -> bool:
        sight = self._sights.get(key)
        if sight is None:
            return True
        if not self._tools.world.shows(sight.written):
            if self._clock() - sight.since <= MAX_SIGHT_SECONDS:
                return False
            log.warning("a watch does not show what was written", extra={"seconds": MAX_SIGHT_SECONDS})
        del self._sights[key]
        return True

    def _expand(self, key: Key) -> Ended:
        """Ask for the pass of every object that a key with `*` stands for."""
        pictures, queue = self._tools.world.pictures, self._tools.queue
        if key.kind == "HPIPipeline":
            selection = Selection(PIPELINES, metadata_only=True)
            found = [one["metadata"] for page in self._tools.api.pages(selection) for one in page.objects]
            self._tools.ledger.begin((one["namespace"], one["name"]) for one in found)
            for one in found:
                queue.put(Key(key.kind, one["namespace"], one["name"]))
            return Ended()
        by_kind: dict[str, Reflector[Any]] = {
            "Node": pictures.nodes,
            "HPINodePool": pictures.pools,
            "HPIRuntime": pictures.runtimes,
        }
        for name in by_kind[key.kind].all():
            queue.put(Key(key.kind, "", name.name))
        return Ended()


class Ticker:
    """Asks for everything from time to time, and looks after what no watch tells of."""

    def __init__(self, every: Mapping[float, Callable[[], None]]) -> None:
        """Prepare.

        Args:
            every: What is done, by how often. Unit: seconds.
        """
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(seconds, act), name=f"every-{seconds:g}-s", daemon=True)
            for seconds, act in every.items()
        ]

    def start(self) -> None:
        """Begin; everything is done for the first time when its time has passed once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()

    def _run(self, seconds: float, act: Callable[[], None]) -> None:
        while not self._stopping.wait(seconds * random.uniform(0.9, 1.1)):  # noqa: S311 - spreads, guards nothing
            try:
                act()
            except HpiError as error:
                log.warning("what is done from time to time failed", extra={"cause": str(error)})
            except Exception:
                log.exception("what is done from time to time failed")
