"""The passes of pools, runtimes, and of the HPIEngines of a namespace; and the look at the supply of nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_operator.act.events import Subject
from hpi_operator.kube.api import Selection
from hpi_operator.kube.resources import ENGINES, NODE_POOLS, PIPELINES, RUNTIMES
from hpi_operator.observe.projections import Kept
from hpi_operator.passes.base import Ended, Tools
from hpi_operator.passes.queue import Key
from hpi_operator.passes.statuses import spelled
from hpi_operator.plan.cluster_status import plan_pool, plan_runtime
from hpi_operator.plan.engines import conditions_to_write, deletions
from hpi_operator.plan.intent import Manifest, ObjectKey, Plan
from hpi_operator.plan.observed import ObservedEngines, ObservedPool, ObservedRuntime

SUPPLY_SECONDS: Final = 1.0
"""How long changes of nodes are gathered before the groups are made anew."""


def pass_pool(tools: Tools, key: Key) -> Ended:
    """Sum up a pool."""
    world = tools.world
    kept = world.pools.get(ObjectKey(NODE_POOLS.api_version, NODE_POOLS.kind, "", key.name))
    if kept is None or kept.parsed is None or not world.is_whole:
        return Ended(look_again_seconds=None if kept is None else 5.0)
    pools = [one for one in world.pools.all().values() if one.parsed is not None]
    hpi_nodes = {name.name: one for name, one in world.hpi_nodes.all().items()}
    nodes = []
    for name, view in sorted(world.nodes.all().items()):
        one = hpi_nodes.get(name.name)
        parsed = None if one is None else one.parsed
        nodes.append((view, parsed if parsed is not None and parsed.spec.node_uid == view.uid else None))
    plan = plan_pool(
        ObservedPool(
            pool=kept.parsed,
            generation=kept.generation,
            created_at=kept.created_at,
            others=tuple(one.parsed for one in pools if one.uid != kept.uid),
            pool_ages={one.parsed.metadata.name: one.created_at for one in pools},
            nodes=tuple(nodes),
            runtimes=tuple(one.parsed for one in world.runtimes.all().values() if one.parsed is not None),
            now=tools.now(),
        )
    )
    return _report(tools, "HPINodePool", kept, key, plan)


def pass_runtime(tools: Tools, key: Key) -> Ended:
    """Sum up a runtime."""
    world = tools.world
    kept = world.runtimes.get(ObjectKey(RUNTIMES.api_version, RUNTIMES.kind, "", key.name))
    if kept is None or kept.parsed is None or not world.is_whole:
        return Ended(look_again_seconds=None if kept is None else 5.0)
    nodes = [one.parsed for one in world.hpi_nodes.all().values() if one.parsed is not None]
    plan = plan_runtime(
        ObservedRuntime(
            runtime=kept.parsed,
            generation=kept.generation,
            nodes=tuple(nodes),
            pipelines=sum(one == key.name for one in list(tools.runtime_of.values())),
            now=tools.now(),
        )
    )
    return _report(tools, "HPIRuntime", kept, key, plan)


def _report(tools: Tools, kind: str, kept: Kept, key: Key, plan: Plan) -> Ended:
    plan = replace(plan, status=spelled(kind, plan.status) or plan.status)
    resource = {"HPINodePool": NODE_POOLS, "HPIRuntime": RUNTIMES}[kind]
    subject = Subject(ObjectKey(resource.api_version, resource.kind, "", key.name), kept.uid)
    done = tools.performer.perform(plan, subject, {}, spelled(kind, kept.live.get("status")))
    return Ended(done.writes)


def pass_engines(tools: Tools, key: Key) -> Ended:
    """Say which HPIEngines of a namespace are wanted, and remove those that have not been for long enough."""
    world = tools.world
    if not world.is_whole:
        return Ended(look_again_seconds=5.0)
    known = [one for name, one in world.engines.all().items() if name.namespace == key.namespace]
    # Before every pipeline of the namespace has had its pass, nobody knows what is wanted.
    selection = Selection(PIPELINES, namespace=key.namespace, metadata_only=True)
    listed = {one["metadata"]["name"] for page in world.api.pages(selection) for one in page.objects}
    passed = {name for namespace, name in tools.wanted_engines if namespace == key.namespace}
    observed = ObservedEngines(
        namespace=key.namespace,
        engines=tuple((one.parsed, one.created_at, one.uid) for one in known if one.parsed is not None),
        wanted=frozenset().union(
            *(names for (namespace, _), names in tools.wanted_engines.items() if namespace == key.namespace)
        ),
        now=tools.now(),
        settings=tools.settings,
        complete=listed <= passed,
    )
    writes = sum(_write_condition(tools, engine, status) for engine, status in conditions_to_write(observed))
    gone, again = deletions(observed)
    for deletion in gone:
        tools.api.delete(deletion)
    return Ended(writes + len(gone), again)


def _write_condition(tools: Tools, engine: HPIEngine, status: Manifest) -> int:
    body = {
        "apiVersion": ENGINES.api_version,
        "kind": ENGINES.kind,
        "metadata": {"name": engine.metadata.name, "namespace": engine.metadata.namespace},
        "status": status,
    }
    tools.api.apply(body, force=True, subresource="status")
    return 1


def pass_supply(tools: Tools, key: Key) -> Ended:
    """Group the nodes anew; where the groups have changed, every pipeline gets a pass."""
    if tools.world.supply_changed():
        tools.queue.put(Key("HPIPipeline", "*", "*"))
    return Ended()
