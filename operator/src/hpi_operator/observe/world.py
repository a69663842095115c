"""The cluster as passes see it, and which passes a change asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hpi_core.api.v1alpha1.node import HPINode
from hpi_operator.kube.api import Api
from hpi_operator.kube.resources import NAMESPACES, resource_of
from hpi_operator.kube.written import Written
from hpi_operator.observe import projections
from hpi_operator.observe.current_supply import CurrentSupply
from hpi_operator.observe.index import Index, Pipeline
from hpi_operator.observe.pictures import Pictures, Told
from hpi_operator.observe.projections import Kept, LabelledPod, NamespaceView
from hpi_operator.observe.supply import group_nodes
from hpi_operator.plan.intent import Manifest, ObjectKey
from hpi_operator.plan.observed import NodeGroup, NodeView, PodView
from hpi_operator.plan.stuck_self_tests import StuckTest, stuck_test

Ask = Callable[[str, str, str], None]
"""Asks for a pass: kind, namespace, name."""

EVERY: Final = "*"
"""Stands for every object of a kind where a pass is asked for."""


class World:
    """Everything that is known of the cluster. Reading is safe from every thread.

    Attributes:
        api: The connection, for the few things that are read when they are needed.
        pictures: What is kept by list and watch.
        supply: The nodes in groups of equals.
    """

    def __init__(self, api: Api, namespace: str, ask: Ask, class_labels: frozenset[str]) -> None:
        """Prepare; `pictures.start` begins.

        Args:
            api: The connection.
            namespace: The operator's own.
            ask: Asks for a pass.
            class_labels: Labels of the classes of hardware.
        """
        self.api: Final = api
        self._ask = ask
        self._namespace = namespace
        self._objects: Index[Pipeline, Manifest] = Index()
        self._pods: Index[Pipeline, PodView] = Index()
        self._reports: Index[Pipeline, HPINode] = Index()
        self._engines: Index[str, Kept] = Index()
        self._tests: Index[str, Manifest] = Index()
        told = Told(
            node=self._node_changed,
            hpi_node=self._hpi_node_changed,
            runtime=self._runtime_changed,
            pool=self._pool_changed,
            engine=self._engine_changed,
            namespace=self._namespace_changed,
            pod=self._pod_changed,
            self_test=self._self_test_changed,
            child=self._child_changed,
        )
        self.pictures: Final = Pictures(api, namespace, told)
        self.supply: Final = CurrentSupply(self._grouped, class_labels)

    # What passes look at.

    def objects_of(self, pipeline: Pipeline) -> dict[ObjectKey, Manifest]:
        """Return the objects of a pipeline."""
        return self._objects.of(pipeline)

    def pods_of(self, pipeline: Pipeline) -> tuple[PodView, ...]:
        """Return the pods of a pipeline, by name."""
        return tuple(sorted(self._pods.of(pipeline).values(), key=lambda one: one.name))

    def reports_on(self, pipeline: Pipeline) -> tuple[HPINode, ...]:
        """Return the HPINodes that report on a pipeline's pods, by name."""
        return tuple(sorted(self._reports.of(pipeline).values(), key=lambda one: one.metadata.name))

    def engines_in(self, namespace: str) -> tuple[Kept, ...]:
        """Return the HPIEngines of a namespace, by name."""
        return tuple(one for _, one in sorted(self._engines.of(namespace).items(), key=lambda item: item[0]))

    def pod_security(self, namespace: str) -> str:
        """Return the level of Pod Security that a namespace enforces; empty: none is named, or nobody may see it."""
        view = self.pictures.namespaces.get(NAMESPACES.key(namespace))
        return "" if view is None else view.pod_security

    def self_tests_on(self, node: str) -> tuple[Manifest, ...]:
        """Return the self-test pods of a node, by name."""
        return tuple(one for _, one in sorted(self._tests.of(node).items(), key=lambda item: item[0]))

    def self_tests(self) -> tuple[tuple[str, Manifest], ...]:
        """Return node and pod of every self-test, by the names of the pods."""
        tests = [one for _, one in sorted(self.pictures.self_tests.all().items())]
        return tuple((node, one) for one in tests if (node := projections.node_of_test(one)) is not None)

    def shows(self, written: Iterable[Written]) -> bool:
        """Return whether the pictures have come as far as what a pass wrote.

        A pass that looked earlier would see its own objects as they were before, and write them again.
        """
        return all(self._shows(one) for one in written)

    def _shows(self, one: Written) -> bool:
        picture = self.pictures.of(resource_of(one.key.api_version, one.key.kind))
        # A picture that is not whole shows everything once it is.
        if picture is None or not picture.is_whole:
            return True
        if one.version is not None:
            return picture.has_seen(one.version)
        there = picture.get(one.key)
        if isinstance(there, Kept):
            there = there.live
        return there is None or there["metadata"]["uid"] != one.uid or projections.is_ending(there)

    def _grouped(self, labels: frozenset[str]) -> tuple[NodeGroup, ...]:
        hpi_nodes = {key.name: one for key, one in self.pictures.hpi_nodes.all().items()}
        pairs = []
        for key, view in self.pictures.nodes.all().items():
            kept = hpi_nodes.get(key.name)
            parsed = None if kept is None else kept.parsed
            # An HPINode of a node that had the name before says nothing about this one.
            pairs.append((view, parsed if parsed is not None and parsed.spec.node_uid == view.uid else None))
        return group_nodes(pairs, labels, [key.name for key in self.pictures.runtimes.all()])

    # What a change asks for.

    def _node_changed(self, key: ObjectKey, old: NodeView | None, new: NodeView | None) -> None:
        self._ask("Node", "", key.name)
        self._ask("Supply", "", EVERY)

    def _hpi_node_changed(self, key: ObjectKey, old: Kept | None, new: Kept | None) -> None:
        before, after = _workloads(old), _workloads(new)
        for pipeline in before.keys() - after.keys():
            self._reports.keep(pipeline, key, None)
        for pipeline in after:
            self._reports.keep(pipeline, key, None if new is None else new.parsed)
        for pipeline in {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}:
            self._ask("HPIPipeline", *pipeline)
        self._ask("Node", "", key.name)
        if _sort_of(old) != _sort_of(new):
            self._ask("Supply", "", EVERY)
        self._ask("HPIRuntime", "", EVERY)
        self._ask("HPINodePool", "", EVERY)

    def _runtime_changed(self, key: ObjectKey, old: Kept | None, new: Kept | None) -> None:
        if _spec_of(old) != _spec_of(new):
            self._ask("Node", "", EVERY)
            self._ask("Supply", "", EVERY)
            self._ask("HPIPipeline", EVERY, EVERY)
            self._ask("HPINodePool", "", EVERY)
        self._ask("HPIRuntime", "", key.name)

    def _pool_changed(self, key: ObjectKey, old: Kept | None, new: Kept | None) -> None:
        if _spec_of(old) != _spec_of(new):
            self._ask("Node", "", EVERY)
            self._ask("HPINodePool", "", EVERY)
        self._ask("HPINodePool", "", key.name)

    def _engine_changed(self, key: ObjectKey, old: Kept | None, new: Kept | None) -> None:
        self._engines.keep(key.namespace, key, new)
        self._ask("Engines", key.namespace, EVERY)
        for pipeline in self._objects.groups(lambda one: one[0] == key.namespace):
            self._ask("HPIPipeline", *pipeline)

    def _namespace_changed(self, key: ObjectKey, old: NamespaceView | None, new: NamespaceView | None) -> None:
        if old is None:
            return
        if key.name == self._namespace and old != new:
            self._ask("Node", "", EVERY)
            self._ask("HPIRuntime", "", EVERY)
        if new is not None and old.pod_security != new.pod_security:
            # Also those that have no objects yet, because no pod of theirs was allowed.
            self._ask("HPIPipeline", EVERY, EVERY)
        for pipeline in self._objects.groups(lambda one: one[0] == key.name):
            self._ask("HPIPipeline", *pipeline)

    def _pod_changed(self, key: ObjectKey, old: LabelledPod | None, new: LabelledPod | None) -> None:
        for one in (old, new):
            if one is not None and one.pipeline is not None:
                is_here = new is not None and new.pipeline == one.pipeline
                self._pods.keep((key.namespace, one.pipeline), key, one.view if is_here else None)
                self._ask("HPIPipeline", key.namespace, one.pipeline)

    def _child_changed(self, key: ObjectKey, old: Manifest | None, new: Manifest | None) -> None:
        for one in (old, new):
            pipeline = None if one is None else projections.pipeline_of(one)
            if pipeline is not None:
                is_here = new is not None and projections.pipeline_of(new) == pipeline
                self._objects.keep((key.namespace, pipeline), key, new if is_here else None)
                self._ask("HPIPipeline", key.namespace, pipeline)

    def _self_test_changed(self, key: ObjectKey, old: Manifest | None, new: Manifest | None) -> None:
        for one in (old, new):
            node = None if one is None else projections.node_of_test(one)
            if node is not None:
                self._tests.keep(node, key, new)
                self._ask("Node", "", node)
        if _stuck(old) != _stuck(new):
            self._ask("HPIRuntime", "", EVERY)


def _stuck(test: Manifest | None) -> StuckTest | None:
    return None if test is None else stuck_test(test)


def _workloads(kept: Kept | None) -> Mapping[Pipeline, Any]:
    if kept is None or kept.parsed is None or kept.parsed.status is None:
        return {}
    found: dict[Pipeline, list[Any]] = {}
    for one in kept.parsed.status.workloads:
        found.setdefault((one.namespace, one.pipeline), []).append(one)
    return found


def _sort_of(kept: Kept | None) -> Any:
    if kept is None or kept.parsed is None or kept.parsed.status is None:
        return None
    return (kept.parsed.status.hardware, kept.parsed.status.runtimes, kept.parsed.spec.node_uid)


def _spec_of(kept: Kept | None) -> Any:
    return None if kept is None else kept.live.get("spec")
