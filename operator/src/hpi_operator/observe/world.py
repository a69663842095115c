"""The pictures of the cluster that passes look at, and which passes a change asks for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import PART, PIPELINE
from hpi_operator.kube.api import Api, Selection
from hpi_operator.kube.reflector import Reflector
from hpi_operator.kube.resources import CHILDREN, ENGINES, HPI_NODES, NODE_POOLS, NODES, PODS, ROUTES, RUNTIMES
from hpi_operator.observe import projections
from hpi_operator.observe.projections import Kept
from hpi_operator.observe.supply import group_nodes
from hpi_operator.plan.intent import Manifest, ObjectKey, applied_digest, key_of
from hpi_operator.plan.node import SELF_TEST
from hpi_operator.plan.observed import NodeGroup, NodeView, PodView

log: Final = logging.getLogger(__name__)

Ask = Callable[[str, str, str], None]
"""Asks for a pass: kind, namespace, name."""

EVERY: Final = "*"
"""Stands for every object of a kind where a pass is asked for."""


@dataclass
class World:
    """Everything that is known of the cluster. Reading is safe from every thread."""

    api: Api
    namespace: str
    """The operator's own."""
    ask: Ask
    class_labels: frozenset[str]
    """Labels of the classes of hardware."""
    nodes: Reflector[NodeView] = field(init=False)
    hpi_nodes: Reflector[Kept] = field(init=False)
    runtimes: Reflector[Kept] = field(init=False)
    pools: Reflector[Kept] = field(init=False)
    engines: Reflector[Kept] = field(init=False)
    pods: Reflector[_Labelled] = field(init=False)
    self_tests: Reflector[Manifest] = field(init=False)
    children: tuple[Reflector[Manifest], ...] = field(init=False)
    routes: Reflector[Manifest] | None = field(init=False, default=None)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    _asked_labels: dict[tuple[str, str], frozenset[str]] = field(init=False, default_factory=dict)
    _supply: tuple[NodeGroup, ...] | None = field(init=False, default=None)
    _by_pipeline: dict[tuple[str, str], dict[ObjectKey, Any]] = field(init=False, default_factory=dict)
    _nodes_of: dict[tuple[str, str], set[str]] = field(init=False, default_factory=dict)
    _tests_on: dict[str, dict[ObjectKey, Manifest]] = field(init=False, default_factory=dict)
    _written: dict[ObjectKey, Manifest] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare the pictures; `start` begins to fill them."""
        of_pipelines = PIPELINE
        self.nodes = Reflector(self.api, Selection(NODES), projections.node, self._node_changed)
        self.hpi_nodes = Reflector(
            self.api, Selection(HPI_NODES), lambda one: projections.kept(HPINode, one), self._hpi_node_changed
        )
        self.runtimes = Reflector(
            self.api, Selection(RUNTIMES), lambda one: projections.kept(HPIRuntime, one), self._runtime_changed
        )
        self.pools = Reflector(
            self.api, Selection(NODE_POOLS), lambda one: projections.kept(HPINodePool, one), self._pool_changed
        )
        self.engines = Reflector(
            self.api, Selection(ENGINES), lambda one: projections.kept(HPIEngine, one), self._engine_changed
        )
        self.pods = Reflector(self.api, Selection(PODS, labels=of_pipelines), _labelled_pod, self._pod_changed)
        self.self_tests = Reflector(
            self.api,
            Selection(PODS, namespace=self.namespace, labels=f"{PART}={SELF_TEST}"),
            projections.child,
            self._self_test_changed,
        )
        self.children = tuple(
            Reflector(self.api, Selection(resource, labels=of_pipelines), projections.child, self._child_changed)
            for resource in CHILDREN
        )

    def start(self, *, with_routes: bool) -> None:
        """Begin to list and watch.

        Args:
            with_routes: Whether the cluster has HTTPRoutes.
        """
        if with_routes:
            selection = Selection(ROUTES, labels=PIPELINE)
            self.routes = Reflector(self.api, selection, projections.child, self._child_changed)
        for reflector in self.reflectors():
            reflector.start()

    def stop(self) -> None:
        """End."""
        for reflector in self.reflectors():
            reflector.stop()

    def reflectors(self) -> Iterator[Reflector[Any]]:
        """Yield every picture."""
        yield from (self.nodes, self.hpi_nodes, self.runtimes, self.pools, self.engines, self.pods, self.self_tests)
        yield from self.children
        if self.routes is not None:
            yield self.routes

    @property
    def is_whole(self) -> bool:
        """Whether every picture is whole."""
        return all(reflector.is_whole for reflector in self.reflectors())

    def faults(self) -> dict[str, str]:
        """Return why pictures are not whole, by resource."""
        return {
            reflector.selection.resource.plural: reflector.fault or "not listed yet"
            for reflector in self.reflectors()
            if not reflector.is_whole
        }

    # What passes look at.

    def supply(self, asked: frozenset[str], pipeline: tuple[str, str]) -> tuple[NodeGroup, ...]:
        """Return the nodes in groups of equals.

        Args:
            asked: Labels that the pipeline's decision reads.
            pipeline: Namespace and name of the pipeline: its labels are kept in mind until it goes.
        """
        with self._lock:
            if self._asked_labels.get(pipeline) != asked:
                before = self._all_asked()
                self._asked_labels[pipeline] = asked
                if self._all_asked() != before:
                    self._supply = None
            if self._supply is None:
                self._supply = self._grouped()
            return self._supply

    def supply_changed(self) -> bool:
        """Group the nodes anew if one has changed; return whether the groups have."""
        with self._lock:
            before = self._supply
            if before is None:
                return False
            self._supply = self._grouped()
            return self._supply != before

    def forget(self, pipeline: tuple[str, str]) -> None:
        """Forget what was kept in mind of a pipeline."""
        with self._lock:
            self._asked_labels.pop(pipeline, None)

    def _all_asked(self) -> frozenset[str]:
        return frozenset().union(*self._asked_labels.values()) | self.class_labels

    def _grouped(self) -> tuple[NodeGroup, ...]:
        hpi_nodes = {key.name: one for key, one in self.hpi_nodes.all().items()}
        pairs = []
        for key, view in self.nodes.all().items():
            kept = hpi_nodes.get(key.name)
            parsed = None if kept is None else kept.parsed
            # An HPINode of a node that had the name before says nothing about this one.
            pairs.append((view, parsed if parsed is not None and parsed.spec.node_uid == view.uid else None))
        names = [key.name for key in self.runtimes.all()]
        return group_nodes(pairs, self._all_asked(), names)

    def objects_of(self, pipeline: tuple[str, str]) -> tuple[dict[ObjectKey, Manifest], tuple[PodView, ...]]:
        """Return the objects and the pods of a pipeline."""
        with self._lock:
            found = dict(self._by_pipeline.get(pipeline, {}))
            for key, manifest in self._written.items():
                if key.namespace == pipeline[0] and projections.pipeline_of(manifest) == pipeline[1]:
                    found[key] = manifest
        pods = tuple(one for one in found.values() if isinstance(one, PodView))
        objects = {key: one for key, one in found.items() if not isinstance(one, PodView)}
        return objects, tuple(sorted(pods, key=lambda one: one.name))

    def note(self, manifest: Manifest) -> None:
        """Take an object as the API server answered a write, until the watch tells of it.

        Without this a pass that follows at once would see the object as it was before, and write it again.
        """
        written = projections.child(manifest)
        with self._lock:
            self._written[key_of(written)] = written

    def _forget_written(self, key: ObjectKey, seen: Manifest | None) -> None:
        """Let the watch's word count again, once it has caught up with what was written, or the object is gone."""
        written = self._written.get(key)
        if written is not None and (seen is None or applied_digest(seen) == applied_digest(written)):
            del self._written[key]

    def written(self, key: ObjectKey) -> Manifest | None:
        """Return an object that was written and that the watch has not told of yet."""
        with self._lock:
            return self._written.get(key)

    def hpi_nodes_of(self, pipeline: tuple[str, str]) -> tuple[HPINode, ...]:
        """Return the HPINodes that report on a pipeline's pods."""
        with self._lock:
            names = sorted(self._nodes_of.get(pipeline, ()))
        found = (self.hpi_nodes.get(ObjectKey(HPI_NODES.api_version, HPI_NODES.kind, "", name)) for name in names)
        return tuple(one.parsed for one in found if one is not None and one.parsed is not None)

    def self_tests_on(self, node: str) -> tuple[Manifest, ...]:
        """Return the self-test pods of a node."""
        with self._lock:
            found = dict(self._tests_on.get(node, {}))
            found |= {
                key: one for key, one in self._written.items() if key.kind == "Pod" and _node_of_test(one) == node
            }
        return tuple(found[key] for key in sorted(found))

    # What a change asks for.

    def _node_changed(self, key: ObjectKey, old: NodeView | None, new: NodeView | None) -> None:
        self.ask("Node", "", key.name)
        self.ask("Supply", "", EVERY)

    def _hpi_node_changed(self, key: ObjectKey, old: Kept | None, new: Kept | None) -> None:
        before, after = _workloads(old), _workloads(new)
        with self._lock:
            self._forget_written(key, None if new is None else new.live)
            for pipeline in before.keys() - after.keys():
                self._nodes_of.get(pipeline, set()).discard(key.name)
            for pipeline in after:
                self._nodes_of.setdefault(pipeline, set()).add(key.name)
        for pipeline in {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}:
            self.ask("HPIPipeline", *pipeline)
        self.ask("Node", "", key.name)
        if _sort_of(old) != _sort_of(new):
            self.ask("Supply", "", EVERY)
        self.ask("HPIRuntime", "", EVERY)
        self.ask("HPINodePool", "", EVERY)

    def _runtime_changed(self, key: ObjectKey, old: Kept | None, new: Kept | None) -> None:
        if _spec_of(old) != _spec_of(new):
            self.ask("Node", "", EVERY)
            self.ask("HPIPipeline", EVERY, EVERY)
        self.ask("HPIRuntime", "", key.name)

    def _pool_changed(self, key: ObjectKey, old: Kept | None, new: Kept | None) -> None:
        if _spec_of(old) != _spec_of(new):
            self.ask("Node", "", EVERY)
            self.ask("HPINodePool", "", EVERY)
        self.ask("HPINodePool", "", key.name)

    def _engine_changed(self, key: ObjectKey, old: Kept | None, new: Kept | None) -> None:
        self.ask("Engines", key.namespace, EVERY)
        for pipeline in [name for name in list(self._nodes_of) if name[0] == key.namespace]:
            self.ask("HPIPipeline", *pipeline)

    def _pod_changed(self, key: ObjectKey, old: _Labelled | None, new: _Labelled | None) -> None:
        one = new or old
        if one is not None and one.pipeline is not None:
            self._keep(key, (key.namespace, one.pipeline), None if new is None else new.view)

    def _child_changed(self, key: ObjectKey, old: Manifest | None, new: Manifest | None) -> None:
        one = new or old
        pipeline = None if one is None else projections.pipeline_of(one)
        if pipeline is not None:
            self._keep(key, (key.namespace, pipeline), new)

    def _keep(self, key: ObjectKey, pipeline: tuple[str, str], new: Any) -> None:
        with self._lock:
            objects = self._by_pipeline.setdefault(pipeline, {})
            if not isinstance(new, PodView):
                self._forget_written(key, new)
            if new is None:
                objects.pop(key, None)
                if not objects:
                    del self._by_pipeline[pipeline]
            else:
                objects[key] = new
        self.ask("HPIPipeline", *pipeline)

    def _self_test_changed(self, key: ObjectKey, old: Manifest | None, new: Manifest | None) -> None:
        one = new or old
        node = None if one is None else _node_of_test(one)
        if node is None:
            return
        with self._lock:
            self._forget_written(key, new)
            tests = self._tests_on.setdefault(node, {})
            if new is None:
                tests.pop(key, None)
            else:
                tests[key] = new
        self.ask("Node", "", node)


@dataclass(frozen=True)
class _Labelled:
    """A pod and the pipeline that it belongs to."""

    pipeline: str | None
    view: PodView


def _labelled_pod(manifest: Manifest) -> _Labelled:
    return _Labelled(projections.pipeline_of(manifest), projections.pod(manifest))


def _node_of_test(manifest: Manifest) -> str | None:
    owners = manifest["metadata"].get("ownerReferences") or ()
    name: str | None = next((one["name"] for one in owners if one.get("kind") == "Node"), None)
    return name


def _workloads(kept: Kept | None) -> Mapping[tuple[str, str], Any]:
    if kept is None or kept.parsed is None or kept.parsed.status is None:
        return {}
    found: dict[tuple[str, str], list[Any]] = {}
    for one in kept.parsed.status.workloads:
        found.setdefault((one.namespace, one.pipeline), []).append(one)
    return found


def _sort_of(kept: Kept | None) -> Any:
    if kept is None or kept.parsed is None or kept.parsed.status is None:
        return None
    return (kept.parsed.status.hardware, kept.parsed.status.runtimes, kept.parsed.spec.node_uid)


def _spec_of(kept: Kept | None) -> Any:
    return None if kept is None else kept.live.get("spec")
