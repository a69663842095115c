"""Which classes of hardware a pipeline gets, each with a runtime: placement and choice of runtime together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpi_core.api.v1alpha1.pipeline import RuntimeChoice
from hpi_core.names import RUNTIME
from hpi_operator.plan.accelerators import ClassData, ClassName
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.placement import Lacking, Offered, PodDemands, offers
from hpi_operator.plan.runtime_choice import ChosenRuntime, NoRuntime, choose_runtime
from hpi_operator.plan.workload.deployment import deployment_name
from hpi_operator.plan.workload.parts import STABLE, ClassPlan


@dataclass(frozen=True)
class Placing:
    """What the cluster offers a pipeline, and what it lacks."""

    classes: tuple[ClassPlan, ...]
    """Classes with a runtime, in the order of wish."""
    lacking: tuple[str, ...]
    """Why other classes are not offered."""
    no_runtime: tuple[str, ...]
    """Why offered classes have no runtime."""


def place(observed: ObservedPipeline, classes: Mapping[ClassName, ClassData]) -> Placing:
    """Return the classes that the cluster offers with a runtime, in the order of wish, and why not others."""
    spec = observed.pipeline.spec
    demands = PodDemands(spec.pod_template.node_selector, spec.pod_template.tolerations)
    found: list[ClassPlan] = []
    lacking: list[str] = []
    no_runtime: list[str] = []
    for answer in offers(spec.placement.accelerators, observed.supply, classes, demands):
        if isinstance(answer, Lacking):
            lacking.append(answer.message)
            continue
        data = classes[answer.class_name]
        chosen = _runtime(observed, answer, data)
        if isinstance(chosen, NoRuntime):
            no_runtime.append(chosen.message)
        elif all(one.data.name != data.name for one in found):
            found.append(ClassPlan(data, answer, chosen))
    usable = [one for one in found if one.chosen.usable_nodes > 0]
    # A class on which no self-test has passed waits behind those where pods can run.
    ordered = [*usable, *(one for one in found if one.chosen.usable_nodes == 0)]
    return Placing(tuple(ordered), tuple(lacking), tuple(no_runtime))


def _runtime(observed: ObservedPipeline, offered: Offered, data: ClassData) -> ChosenRuntime | NoRuntime:
    """Return the runtime that the class has already, as long as it fits: a newer one moves nobody by itself."""
    wish = observed.pipeline.spec.runtime
    present = _present_runtime(observed, data)
    if present is not None and (wish is None or wish.name is None):
        kept = [one for one in observed.runtimes if one.metadata.name == present and one.spec.state != "Withdrawn"]
        by_name = RuntimeChoice(name=present)
        # The constraint still counts: it may have been written since.
        if kept and not isinstance(choose_runtime(kept, wish, offered, data), NoRuntime):
            return choose_runtime(kept, by_name, offered, data)
    return choose_runtime(observed.runtimes, wish, offered, data)


def _present_runtime(observed: ObservedPipeline, data: ClassData) -> str | None:
    name = deployment_name(observed.pipeline.metadata.name, data.name.lower(), STABLE)
    for key, manifest in observed.children.items():
        if key.kind == "Deployment" and key.name == name:
            template = manifest["spec"]["template"]["metadata"]
            runtime: str | None = (template.get("annotations") or {}).get(RUNTIME)
            return runtime
    return None
