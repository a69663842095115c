"""Which classes of hardware a revision gets, each with a runtime: placement and choice of runtime together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.placement import Kept, Lacking, Offered, PodDemands, offers
from hpi_operator.plan.present import Present, of_track
from hpi_operator.plan.replicas import ClassPods
from hpi_operator.plan.runtime_choice import (
    ChosenRuntime,
    NoRuntime,
    Place,
    RuntimeRecord,
    choose_runtime,
    holds,
    recorded,
)
from hpi_operator.plan.selection import Term, terms
from hpi_operator.plan.workload.parts import CANARY, STABLE, ClassPlan


@dataclass(frozen=True)
class Scene:
    """What the placing of every revision of one pipeline looks at."""

    supply: tuple[NodeGroup, ...]
    runtimes: tuple[HPIRuntime, ...]
    classes: Mapping[ClassName, ClassData]
    deployments: tuple[Present, ...]
    pods: ClassPods
    """Pods of the stable track."""
    replicas: int
    """Pods that are wanted in all."""
    pod_security: str = ""
    """Level of Pod Security that the namespace enforces."""


@dataclass(frozen=True)
class Placing:
    """What the cluster offers a revision, and what it lacks."""

    classes: tuple[ClassPlan, ...]
    """Classes with a runtime, in the order of wish."""
    lacking: tuple[str, ...]
    """Why other classes are not offered, or cannot be used yet."""
    no_runtime: tuple[str, ...]
    """Why offered classes have no runtime."""
    unused: tuple[str, ...] = ()
    """Wishes that are not needed, and why."""

    def records(self) -> dict[str, RuntimeRecord]:
        """Return the runtime of each class."""
        return {one.label: one.chosen.record for one in self.classes}


def place(scene: Scene, pipeline: HPIPipeline, records: Mapping[str, RuntimeRecord], revision: str | None) -> Placing:
    """Return the classes that the cluster offers with a runtime, in the order of wish, and why not others.

    What a class has already is kept as long as it fits, so that nothing restarts because the cluster has grown.

    Args:
        scene: The cluster and the pipeline's Deployments.
        pipeline: The pipeline as the revision has it.
        records: Runtimes that the revision has by class; empty for one that is being made.
        revision: Name of the revision; None: it is being made.
    """
    spec = pipeline.spec
    demands = PodDemands(spec.pod_template.node_selector, spec.pod_template.tolerations)
    kept = {name: _kept(scene, data, revision) for name, data in scene.classes.items()}
    found: list[ClassPlan] = []
    lacking: list[str] = []
    no_runtime: list[str] = []
    unused: list[str] = []
    for answer in offers(spec.placement.accelerators, scene.supply, scene.classes, demands, kept):
        if isinstance(answer, Lacking):
            lacking.append(answer.message)
            continue
        data = scene.classes[answer.class_name]
        if any(one.data.name == data.name for one in found):
            unused.append(f"spec.placement.accelerators[{answer.index}]: an earlier entry has the class {data.name}")
            continue
        chosen = _runtime(scene, pipeline, answer, data, records, revision)
        if isinstance(chosen, NoRuntime):
            no_runtime.append(chosen.message)
        else:
            found.append(ClassPlan(data, answer, chosen, _terms(scene, answer, data, revision)))
    # A class on which no self-test has passed waits until there is no other, or until one has; what serves, serves on.
    usable = [one for one in found if one.chosen.usable_nodes > 0 or kept[one.data.name].serves_whole]
    if usable:
        lacking += [f"class {one.data.name}: {not_usable(one)}" for one in found if one not in usable]
    return Placing(tuple(usable or found), tuple(lacking), tuple(no_runtime), tuple(unused))


def still_holds(scene: Scene, placing: Placing, records: Mapping[str, RuntimeRecord], revision: str) -> bool:
    """Return whether the runtimes of a revision can still be had where its pods are, or would be."""
    in_use = {one.class_ for one in scene.deployments if one.revision == revision}
    looked_at = [one for one in placing.classes if one.label in in_use] or list(placing.classes[:1])
    return all(
        holds(records[one.label], scene.runtimes, one.offered, one.data) for one in looked_at if one.label in records
    )


def not_usable(plan: ClassPlan) -> str:
    """Return that no self-test of a class's runtime has passed yet, in words; empty: one has."""
    if plan.chosen.usable_nodes > 0:
        return ""
    nodes = "the node" if plan.chosen.nodes == 1 else f"any of the {plan.chosen.nodes} nodes"
    return f"the self-test of {plan.chosen.name} has not passed yet on {nodes} that it fits"


def _live(scene: Scene, data: ClassData, revision: str | None) -> Present | None:
    """Return the Deployment of a class that the revision goes on from: its own, else the stable one."""
    found = [of_track(scene.deployments, track).get(data.label) for track in (STABLE, CANARY)]
    own = next((one for one in found if one is not None and one.revision == revision), None)
    return own or found[0]


def _kept(scene: Scene, data: ClassData, revision: str | None) -> Kept:
    live = _live(scene, data, revision)
    serves_whole = scene.pods.ready.get(data.label, 0) >= max(1, scene.replicas)
    return Kept(frozenset() if live is None else live.resources, serves_whole)


def _runtime(
    scene: Scene,
    pipeline: HPIPipeline,
    offered: Offered,
    data: ClassData,
    records: Mapping[str, RuntimeRecord],
    revision: str | None,
) -> ChosenRuntime | NoRuntime:
    record = records.get(data.label)
    if record is not None:
        return recorded(record, scene.runtimes, offered, data)
    live = _live(scene, data, revision)
    kept = None if live is None else live.runtime
    namespace = Place(pipeline.metadata.namespace or "default", scene.pod_security)
    return choose_runtime(scene.runtimes, pipeline.spec.runtime, offered, data, kept, namespace)


def _terms(scene: Scene, offered: Offered, data: ClassData, revision: str | None) -> frozenset[Term]:
    live = _live(scene, data, revision)
    own = live if live is not None and live.revision == revision else None
    waits = scene.pods.waiting.get(data.label, 0) > 0
    return terms(offered, data, None if own is None else own.terms, waits=waits)
