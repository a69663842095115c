"""The HPIEngines that this node has to do with: which one a pod speaks of, and which of the wanted are in the cache."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from hpi_agent.exchange.reports import Asked
from hpi_agent.exchange.tenants import Tenant
from hpi_agent.node.api import Api, Document
from hpi_agent.node.engine_status import is_asked, is_final
from hpi_agent.node.paths import engine_path
from hpi_agent.node.status import ABSENT, BUILDING, CACHED
from hpi_core.api.v1alpha1.node import NodeSpec

log: Final = logging.getLogger(__name__)

Name = tuple[str, str]
"""Namespace and name of an HPIEngine."""

FINAL_SECONDS: Final = 1_800.0
"""How long what is decided is not read again: it does not change, but somebody may delete it."""
OPEN_SECONDS: Final = 300.0
"""How long what is not decided is not read again."""
UNKNOWN_SECONDS: Final = 60.0
"""How long a resolution for which there is no HPIEngine is not looked for again."""
MAX_REMEMBERED: Final = 1_024


class Engines:
    """What is known of HPIEngines that the operator has named, to the node or to a pod; an agent may list none.

    Safe from several threads.
    """

    def __init__(self, api: Api, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none."""
        self._api = api
        self._clock = clock
        self._lock = threading.Lock()
        self._wanted: dict[Name, int] = {}
        self._known: dict[Name, tuple[float, Document | None]] = {}
        self._unknown: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._found: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()

    def want(self, spec: NodeSpec) -> None:
        """Take the engines that the node's cache shall have."""
        wanted = {(one.namespace, one.name): one.priority for one in spec.engines}
        with self._lock:
            if wanted != self._wanted:
                self._unknown.clear()
            self._wanted = wanted
            self._known = {name: known for name, known in self._known.items() if name in wanted}

    def find(self, namespace: str, asked: Asked) -> str | None:
        """Return the name of the HPIEngine that a pod of a namespace speaks of; None: the operator has named none such.

        Raises:
            Away: The API server does not answer.
            Answered: It refuses.
        """
        key = (namespace, asked.key)
        now = self._clock()
        with self._lock:
            known = self._found.get(key)
            if known is not None and known[0] > now:
                return known[1]
            # Those that the pod was told of are looked for in its own namespace alone.
            names = [(namespace, name) for name in asked.engines]
            names += [name for name in self._wanted if name[0] == namespace and name[1] not in asked.engines]
            if not names or self._unknown.get(key, 0.0) > now:
                return None
        for name in names:
            engine = self._read(name, FINAL_SECONDS)
            if engine is not None and is_asked(engine, asked):
                with self._lock:
                    self._found[key] = (now + FINAL_SECONDS, name[1])
                    _forget_oldest(self._found)
                return name[1]
        with self._lock:
            self._unknown[key] = now + UNKNOWN_SECONDS
            _forget_oldest(self._unknown)
        return None

    def seen(self, engine: Document) -> None:
        """Take an HPIEngine that was read or written."""
        name = (engine["metadata"]["namespace"], engine["metadata"]["name"])
        with self._lock:
            if name in self._wanted:
                self._known[name] = (self._clock(), engine)

    def states(self, cached: Collection[str], building: Collection[Name]) -> dict[Name, str]:
        """Return the state of each wanted engine.

        What another node has is not fetched: nothing here leads to other nodes, so what no pod of this one has built
        or brought is absent.

        Args:
            cached: Keys of the engines in the node's store.
            building: Those whose Lease this node holds.

        Raises:
            Away: The API server does not answer.
        """
        return {name: self._state(name, cached, building) for name in self._names()}

    def kept(self) -> dict[str, int]:
        """Return the keys in the store of wanted engines that are known, with their priorities."""
        with self._lock:
            known = {name: engine for name, (_, engine) in self._known.items() if engine is not None}
            wanted = dict(self._wanted)
        keys = ((store_key(name, engine), wanted[name]) for name, engine in known.items() if name in wanted)
        return {key: priority for key, priority in keys if key is not None}

    def _names(self) -> Iterable[Name]:
        with self._lock:
            return list(self._wanted)

    def _state(self, name: Name, cached: Collection[str], building: Collection[Name]) -> str:
        if name in building:
            return BUILDING
        engine = self._read(name, OPEN_SECONDS)
        if engine is None or not (engine.get("status") or {}).get("chosen"):
            return ABSENT
        key = store_key(name, engine)
        # An engine without an artifact loads from the model's own files: there is nothing to keep.
        return CACHED if key is None or key in cached else ABSENT

    def _read(self, name: Name, open_seconds: float) -> Document | None:
        now = self._clock()
        with self._lock:
            known = self._known.get(name)
        if known is not None:
            at, engine = known
            longest = FINAL_SECONDS if engine is not None and is_final(engine) else open_seconds
            if now - at < longest:
                return engine
        engine = self._api.find(engine_path(*name))
        with self._lock:
            if name in self._wanted:
                self._known[name] = (now, engine)
        return engine


def _forget_oldest(remembered: OrderedDict[tuple[str, str], Any]) -> None:
    while len(remembered) > MAX_REMEMBERED:
        remembered.popitem(last=False)


def store_key(name: Name, engine: Document) -> str | None:
    """Return the key that the artifact of an HPIEngine has in the node's store; None: it has no artifact."""
    artifact = (engine.get("status") or {}).get("artifact")
    return None if not artifact else Tenant(name[0]).key("engines", str(artifact["key"]))
