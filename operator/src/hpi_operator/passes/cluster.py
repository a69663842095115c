"""The passes of pools, runtimes, and of the HPIEngines of a namespace; and the look at the supply of nodes."""

from __future__ import annotations

from typing import Final

from hpi_core import reasons
from hpi_operator.act.events import Subject
from hpi_operator.kube.resources import ENGINES, NODE_POOLS, PIPELINES, RUNTIMES, Resource
from hpi_operator.kube.selections import Selection
from hpi_operator.kube.written import Written
from hpi_operator.logs import learned
from hpi_operator.observe.projections import Kept
from hpi_operator.observe.world import EVERY
from hpi_operator.passes.base import Ended, Tools, postponed
from hpi_operator.passes.queue import Key
from hpi_operator.passes.statuses import spelled
from hpi_operator.plan.amended_status import unreadable
from hpi_operator.plan.cluster_status import plan_pool, plan_runtime
from hpi_operator.plan.engines import conditions_to_write, deletions
from hpi_operator.plan.intent import Event, Plan
from hpi_operator.plan.observed import ObservedEngines, ObservedPool, ObservedRuntime

FIRST_ROUND_SECONDS: Final = 2.0
"""When to look again for the first pass of every pipeline: sums over all of them wait for it."""


def pass_pool(tools: Tools, key: Key) -> Ended:
    """Sum up a pool."""
    pictures = tools.world.pictures
    lack = pictures.lack((*pictures.for_supply, pictures.pools))
    if lack is not None:
        return postponed(lack)
    kept = pictures.pools.get(NODE_POOLS.key(key.name))
    if kept is None or kept.parsed is None:
        return _unreadable(tools, NODE_POOLS, key, kept)
    pools = [one for one in pictures.pools.all().values() if one.parsed is not None]
    hpi_nodes = {name.name: one.parsed for name, one in pictures.hpi_nodes.all().items()}
    nodes = []
    for name, view in sorted(pictures.nodes.all().items()):
        one = hpi_nodes.get(name.name)
        # An HPINode of a node that had the name before says nothing about this one.
        nodes.append((view, one if one is not None and one.spec.node_uid == view.uid else None))
    plan = plan_pool(
        ObservedPool(
            pool=kept.parsed,
            generation=kept.generation,
            created_at=kept.created_at,
            others=tuple(one.parsed for one in pools if one.uid != kept.uid),
            pool_ages={one.parsed.metadata.name: one.created_at for one in pools},
            nodes=tuple(nodes),
            runtimes=tuple(one.parsed for one in pictures.runtimes.all().values() if one.parsed is not None),
            now=tools.now(),
        )
    )
    return _report(tools, NODE_POOLS, key, kept, plan)


def pass_runtime(tools: Tools, key: Key) -> Ended:
    """Sum up a runtime."""
    pictures = tools.world.pictures
    lack = pictures.lack(pictures.for_supply)
    if lack is not None:
        return postponed(lack)
    kept = pictures.runtimes.get(RUNTIMES.key(key.name))
    if kept is None or kept.parsed is None:
        return _unreadable(tools, RUNTIMES, key, kept)
    if not tools.ledger.is_complete:
        return Ended(look_again_seconds=FIRST_ROUND_SECONDS)
    plan = plan_runtime(
        ObservedRuntime(
            runtime=kept.parsed,
            generation=kept.generation,
            nodes=tuple(one.parsed for one in pictures.hpi_nodes.all().values() if one.parsed is not None),
            pipelines=tools.ledger.pipelines_with(key.name),
            now=tools.now(),
            self_tests=tools.world.self_tests(),
            namespace=tools.settings.namespace,
            pod_security=tools.world.pod_security(tools.settings.namespace),
        )
    )
    return _report(tools, RUNTIMES, key, kept, plan)


def _report(tools: Tools, resource: Resource, key: Key, kept: Kept, plan: Plan) -> Ended:
    learned(generation=kept.generation)
    subject = Subject(resource.key(key.name), kept.uid)
    before, after = spelled(resource.kind, kept.live.get("status")), spelled(resource.kind, plan.status)
    written = tools.performer.report(subject, before, after or plan.status)
    told = tools.performer.tell(subject, plan.events)
    found = () if written is None else (written,)
    return Ended(found, plan.look_again_seconds, writes=len(found) + told)


def _unreadable(tools: Tools, resource: Resource, key: Key, kept: Kept | None) -> Ended:
    """Say that this release cannot read an object, where there is one."""
    if kept is None:
        return Ended()
    subject = Subject(resource.key(key.name), kept.uid)
    before = kept.live.get("status")
    status = unreadable(before, [kept.problem], [reasons.READY], kept.generation, tools.now())
    written = tools.performer.report(subject, before, status)
    if written is None:
        return Ended()
    return Ended((written,), writes=1 + tools.performer.tell(subject, [Event("InvalidSpec", kept.problem, "Warning")]))


def pass_engines(tools: Tools, key: Key) -> Ended:
    """Say which HPIEngines of a namespace are wanted, and remove those that have not been for long enough."""
    pictures = tools.world.pictures
    lack = pictures.lack((pictures.engines,))
    if lack is not None:
        return postponed(lack)
    known = [one for one in tools.world.engines_in(key.namespace) if one.parsed is not None]
    if not known:
        return Ended()
    # Before every pipeline of the namespace has had its pass, nobody knows what is wanted.
    selection = Selection(PIPELINES, namespace=key.namespace, metadata_only=True)
    listed = {one["metadata"]["name"] for page in tools.api.pages(selection) for one in page.objects}
    passed, wanted = tools.ledger.engines_of(key.namespace)
    observed = ObservedEngines(
        namespace=key.namespace,
        engines=tuple((one.parsed, one.created_at, one.uid) for one in known),
        wanted=wanted,
        now=tools.now(),
        settings=tools.settings,
        complete=listed <= passed,
    )
    uids = {one.parsed.metadata.name: one.uid for one in known}
    written: list[Written] = []
    for engine, status in conditions_to_write(observed):
        name = engine.metadata.name
        one = tools.performer.report(Subject(ENGINES.key(name, key.namespace), uids[name]), None, status)
        written += [] if one is None else [one]
    gone, again = deletions(observed)
    removed = tools.performer.remove(gone)
    if not observed.complete:
        again = FIRST_ROUND_SECONDS
    everything = (*written, *removed.written)
    return Ended(everything, again, tuple(one.reason for one in removed.refusals), len(everything))


def pass_supply(tools: Tools, key: Key) -> Ended:
    """Group the nodes anew; where the groups have changed, every pipeline gets a pass."""
    pictures = tools.world.pictures
    lack = pictures.lack(pictures.for_supply)
    if lack is not None:
        return postponed(lack)
    if tools.world.supply.changed():
        tools.queue.put(Key("HPIPipeline", EVERY, EVERY))
    return Ended()
