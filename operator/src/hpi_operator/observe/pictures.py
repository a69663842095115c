"""The pictures of the cluster that passes look at: each kept by list and watch, reduced to what decisions need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import PART, PIPELINE
from hpi_operator.kube.api import Api
from hpi_operator.kube.errors import Forbidden, NotThere
from hpi_operator.kube.reflector import Changed, Reflector
from hpi_operator.kube.resources import (
    CHILDREN,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENGINES,
    HPI_NODES,
    NAMESPACES,
    NODE_POOLS,
    NODES,
    PODS,
    ROUTES,
    RUNTIMES,
    Resource,
)
from hpi_operator.kube.selections import Selection
from hpi_operator.observe import projections
from hpi_operator.observe.projections import Kept, LabelledPod, NamespaceView
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.node import SELF_TEST
from hpi_operator.plan.observed import NodeView

LASTING_SECONDS: Final = 30.0
"""A picture that is not whole for so long, while others are, is told about; a shorter gap is nobody's business."""


@dataclass(frozen=True)
class Told:
    """Who is told of changes, by picture."""

    node: Changed[NodeView]
    hpi_node: Changed[Kept]
    runtime: Changed[Kept]
    pool: Changed[Kept]
    engine: Changed[Kept]
    namespace: Changed[NamespaceView]
    pod: Changed[LabelledPod]
    self_test: Changed[Manifest]
    child: Changed[Manifest]


@dataclass(frozen=True)
class Lack:
    """What a pass does not see that it needs."""

    message: str
    """Which pictures are not whole, and why."""
    is_permission: bool
    """Whether a right is missing; else the server or the network is at fault."""
    is_lasting: bool
    """Whether people have to be told."""


class Pictures:
    """All of them."""

    def __init__(self, api: Api, namespace: str, told: Told) -> None:
        """Prepare; `start` begins to fill them.

        Args:
            api: The connection.
            namespace: The operator's own.
            told: Who is told of changes.
        """
        self._api = api
        self._told = told

        def picture(selection: Selection, project: Callable[[Manifest], Any], changed: Any) -> Reflector[Any]:
            return Reflector(api, selection, project, changed)

        self.nodes: Final = picture(Selection(NODES), projections.node, told.node)
        self.hpi_nodes: Final = picture(Selection(HPI_NODES), projections.hpi_node, told.hpi_node)
        self.runtimes: Final = picture(Selection(RUNTIMES), lambda one: projections.kept(HPIRuntime, one), told.runtime)
        self.pools: Final = picture(Selection(NODE_POOLS), lambda one: projections.kept(HPINodePool, one), told.pool)
        self.engines: Final = picture(Selection(ENGINES), lambda one: projections.kept(HPIEngine, one), told.engine)
        self.namespaces: Final = picture(
            Selection(NAMESPACES, metadata_only=True), projections.namespace, told.namespace
        )
        self.pods: Final = picture(Selection(PODS, labels=PIPELINE), projections.labelled_pod, told.pod)
        self.self_tests: Final = picture(
            Selection(PODS, namespace=namespace, labels=f"{PART}={SELF_TEST}"), projections.child, told.self_test
        )
        self.children: Final = {
            resource: picture(Selection(resource, labels=PIPELINE), projections.child, told.child)
            for resource in CHILDREN
        }
        self.routes: Reflector[Manifest] | None = None
        """None: the cluster has no HTTPRoutes."""

    def start(self) -> None:
        """Begin to list and watch."""
        for reflector in self.all():
            reflector.start()

    def start_routes(self) -> None:
        """Begin to list and watch HTTPRoutes: the cluster has them by now."""
        routes: Reflector[Manifest] = Reflector(
            self._api, Selection(ROUTES, labels=PIPELINE), projections.child, self._told.child
        )
        routes.start()
        self.routes = routes

    def stop_routes(self) -> None:
        """Forget HTTPRoutes: the cluster does not have them any more."""
        routes, self.routes = self.routes, None
        if routes is not None:
            routes.stop()

    def stop(self) -> None:
        """End."""
        for reflector in self.all():
            reflector.stop()

    def all(self) -> Iterator[Reflector[Any]]:
        """Yield every picture."""
        yield from (self.nodes, self.hpi_nodes, self.runtimes, self.pools, self.engines, self.namespaces)
        yield from (self.pods, self.self_tests, *self.children.values())
        routes = self.routes
        if routes is not None:
            yield routes

    def of(self, resource: Resource) -> Reflector[Any] | None:
        """Return the picture in which an object that the operator writes appears; None: there is none."""
        if resource == ROUTES:
            return self.routes
        if resource == PODS:
            return self.self_tests
        own = {NODES: self.nodes, HPI_NODES: self.hpi_nodes, RUNTIMES: self.runtimes, NODE_POOLS: self.pools}
        own[ENGINES] = self.engines
        return own.get(resource) or self.children.get(resource)

    # What each kind of pass needs.

    @property
    def for_pipelines(self) -> tuple[Reflector[Any], ...]:
        """What the decision for a pipeline looks at, without the kinds of objects that are hidden."""
        needed = [self.nodes, self.hpi_nodes, self.runtimes, self.pods]
        # That a namespace is being deleted is told by every write in it, too.
        needed += [] if isinstance(self.namespaces.fault, Forbidden) else [self.namespaces]
        hidden = self.hidden()
        return (*needed, *(one for resource, one in self._of_pipelines() if resource not in hidden))

    @property
    def for_nodes(self) -> tuple[Reflector[Any], ...]:
        """What the decision for a node looks at."""
        return (self.nodes, self.hpi_nodes, self.runtimes, self.pools, self.self_tests)

    @property
    def for_supply(self) -> tuple[Reflector[Any], ...]:
        """What the groups of nodes are made of."""
        return (self.nodes, self.hpi_nodes, self.runtimes)

    def lack(self, needed: Iterable[Reflector[Any]]) -> Lack | None:
        """Return what is missing of the pictures that a pass needs, None where all are whole."""
        missing = [one for one in needed if not one.is_whole]
        if not missing:
            return None
        words = sorted(f"{one.selection.resource.crd}: {one.fault or 'not listed yet'}" for one in missing)
        # As long as none is whole the API server is away, or has only now come back.
        steady = max((one.whole_seconds for one in self.all()), default=0.0)
        lasting = min(steady, max(one.broken_seconds for one in missing)) > LASTING_SECONDS
        return Lack("; ".join(words), any(isinstance(one.fault, Forbidden) for one in missing), lasting)

    def hidden(self) -> dict[Resource, Forbidden]:
        """Return the kinds of objects that no right lets the operator see: they are left alone, the others are not.

        Deployments and ConfigMaps are never among them: without them nothing can be decided.
        """
        return {
            resource: one.fault
            for resource, one in self._of_pipelines()
            if resource not in (DEPLOYMENTS, CONFIG_MAPS) and isinstance(one.fault, Forbidden)
        }

    def _of_pipelines(self) -> Iterator[tuple[Resource, Reflector[Manifest]]]:
        yield from self.children.items()
        routes = self.routes
        if routes is not None and not isinstance(routes.fault, NotThere):
            yield ROUTES, routes

    def faults(self) -> dict[str, str]:
        """Return why pictures are not whole, by resource."""
        return {
            one.selection.resource.crd: str(one.fault or "not listed yet") for one in self.all() if not one.is_whole
        }

    def routes_are_gone(self) -> bool:
        """Return whether HTTPRoutes were there, and the API server knows of none any more."""
        return self.routes is not None and isinstance(self.routes.fault, NotThere)
