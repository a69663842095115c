"""The loop: workers that take keys and make their passes, and what stands for many keys at once."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from hpi_core.errors import HpiError, Retry
from hpi_operator.kube.api import Selection
from hpi_operator.kube.reflector import Reflector
from hpi_operator.kube.resources import PIPELINES
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

EXPANDED: Final = frozenset({"HPIPipeline", "Node", "HPINodePool", "HPIRuntime"})
"""Kinds for which `*` stands for every object; the other passes are about many objects at once anyway."""

GATHER_SECONDS: Final[Mapping[str, float]] = {"Supply": 0.5, "HPINodePool": 2.0, "HPIRuntime": 2.0, "Engines": 2.0}
"""How long changes are gathered before a pass that sums many objects up."""

FULL_PASS_SECONDS: Final = 600.0
"""Every object gets a pass this often, whatever was or was not seen to change."""

DAMP_SECONDS: Final = 0.05
"""How long a pipeline's changes are gathered: a rollout brings several at once."""


class Loop:
    """Workers and their queue."""

    def __init__(self, tools: Tools, metrics: Metrics, workers: int) -> None:
        self._tools = tools
        self._metrics = metrics
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(workers)
        ]
        self._stopping = threading.Event()
        self._finished_at = time.monotonic()

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End when the passes under way have ended."""
        self._stopping.set()
        self._tools.queue.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def ask(self, kind: str, namespace: str, name: str) -> None:
        """Ask for a pass, or for those of every object where the name is `*`."""
        self._tools.queue.put(Key(kind, namespace, name), GATHER_SECONDS.get(kind, DAMP_SECONDS))

    def ask_for_everything(self) -> None:
        """Ask for a pass of every object."""
        for kind in ("HPIPipeline", "Node", "HPINodePool", "HPIRuntime"):
            self._tools.queue.put(Key(kind, EVERY if kind == "HPIPipeline" else "", EVERY))

    @property
    def idle_seconds(self) -> float:
        """How long ago a pass has ended, where one has been waiting since; 0 where none waits."""
        if len(self._tools.queue) == 0 and self._tools.queue.longest_running_seconds == 0:
            return 0.0
        return time.monotonic() - self._finished_at

    def _work(self) -> None:
        while not self._stopping.is_set():
            key = self._tools.queue.take(timeout_seconds=1.0)
            if key is None:
                continue
            self._pass(key)

    def _pass(self, key: Key) -> None:
        started = time.monotonic()
        failed, ended = False, Ended()
        try:
            ended = (
                self._expand(key) if key.name == EVERY and key.kind in EXPANDED else PASSES[key.kind](self._tools, key)
            )
        except Retry as error:
            failed = True
            log.info("a pass is tried again", extra={"object": str(key), "cause": str(error)})
        except HpiError as error:
            failed = True
            log.error("a pass failed", extra={"object": str(key), "cause": str(error)})
            self._metrics.failed(key.kind, type(error).__name__)
        except Exception:
            # A fault of ours in one object's pass must not end the worker: the others go on.
            failed = True
            log.exception("a pass failed", extra={"object": str(key)})
            self._metrics.failed(key.kind, "Bug")
        finally:
            self._finished_at = time.monotonic()
            self._metrics.passed(key.kind, time.monotonic() - started, ended.writes)
            self._tools.queue.done(key, failed=failed, after_seconds=ended.look_again_seconds)

    def _expand(self, key: Key) -> Ended:
        """Ask for the pass of every object that a key with `*` stands for."""
        world, queue = self._tools.world, self._tools.queue
        if key.kind == "HPIPipeline":
            selection = Selection(PIPELINES, metadata_only=True)
            for page in self._tools.api.pages(selection):
                for one in page.objects:
                    queue.put(Key(key.kind, one["metadata"]["namespace"], one["metadata"]["name"]))
            return Ended()
        pictures: dict[str, Reflector[Any]] = {
            "Node": world.nodes,
            "HPINodePool": world.pools,
            "HPIRuntime": world.runtimes,
        }
        for name in pictures[key.kind].all():
            queue.put(Key(key.kind, "", name.name))
        return Ended()
