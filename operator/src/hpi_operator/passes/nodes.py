"""The pass of one node: its HPINode, its self-tests, its labels."""

from __future__ import annotations

from hpi_operator.act.events import Subject
from hpi_operator.kube.resources import HPI_NODES, NODES
from hpi_operator.passes.base import Ended, Tools
from hpi_operator.passes.queue import Key
from hpi_operator.plan.intent import ObjectKey, key_of
from hpi_operator.plan.node import plan_node
from hpi_operator.plan.observed import ObservedNode


def pass_node(tools: Tools, key: Key) -> Ended:
    """Look at a node, decide, and make it so. A node that has gone takes its HPINode with it by itself."""
    world = tools.world
    if not world.is_whole:
        return Ended(look_again_seconds=1.0)
    view = world.nodes.get(ObjectKey(NODES.api_version, NODES.kind, "", key.name))
    if view is None:
        return Ended()
    hpi_key = ObjectKey(HPI_NODES.api_version, HPI_NODES.kind, "", key.name)
    kept = world.hpi_nodes.get(hpi_key)
    pools = {
        one.metadata.name: (one, kept_pool.created_at)
        for kept_pool in world.pools.all().values()
        if (one := kept_pool.parsed) is not None
    }
    observed = ObservedNode(
        node=view,
        hpi_node=None if kept is None else kept.parsed,
        hpi_node_live=None if kept is None else kept.live,
        pools=tuple(one for one, _ in pools.values()),
        pool_ages={name: age for name, (_, age) in pools.items()},
        runtimes=tuple(one.parsed for _, one in sorted(world.runtimes.all().items()) if one.parsed is not None),
        self_tests=world.self_tests_on(key.name),
        wanted_engines=(),
        now=tools.now(),
        settings=tools.settings,
        complete=world.is_whole,
    )
    if kept is not None and kept.parsed is not None and kept.parsed.spec.node_uid != view.uid:
        # The HPINode of a node that had the name before: it goes with that node, and another is made then.
        return Ended(look_again_seconds=5.0)
    plan = plan_node(observed, tools.classes)
    stored = world.written(hpi_key) or (None if kept is None else kept.live)
    live = {} if stored is None else {hpi_key: stored}
    live |= {key_of({"apiVersion": "v1", "kind": "Pod", **test}): test for test in observed.self_tests}
    subject = Subject(ObjectKey(NODES.api_version, NODES.kind, "", key.name), view.uid)
    done = tools.performer.perform(plan, subject, live, None)
    return Ended(done.writes + int(bool(plan.labels)), plan.look_again_seconds)
