"""The pass of one node: its HPINode, its self-tests, its labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hpi_core.api.v1alpha1.engine import HPIEngine
from hpi_core.api.v1alpha1.node import HPINode
from hpi_operator.act.events import Subject
from hpi_operator.kube.errors import Forbidden
from hpi_operator.kube.resources import HPI_NODES, NODES
from hpi_operator.observe.projections import Kept
from hpi_operator.passes.base import Ended, Tools, postponed
from hpi_operator.passes.queue import Key
from hpi_operator.plan.intent import Event, Refusal, key_of
from hpi_operator.plan.node import plan_node
from hpi_operator.plan.observed import NodeView, ObservedNode

OLD_NODE_SECONDS: Final = 5.0
"""When to look again for the HPINode of a Node that is gone; the garbage collector takes it."""


def pass_node(tools: Tools, key: Key) -> Ended:
    """Look at a node, decide, and make it so. A node that has gone takes its HPINode with it by itself."""
    pictures = tools.world.pictures
    lack = pictures.lack(pictures.for_nodes)
    if lack is not None:
        return postponed(lack)
    view = pictures.nodes.get(NODES.key(key.name))
    if view is None:
        return Ended()
    hpi_key, subject = HPI_NODES.key(key.name), Subject(NODES.key(key.name), view.uid)
    kept = pictures.hpi_nodes.get(hpi_key)
    if kept is not None and kept.live.get("spec", {}).get("nodeUid") != view.uid:
        # The HPINode of a node that had the name before: it goes with that node, and another is made then.
        return Ended(look_again_seconds=OLD_NODE_SECONDS)
    if kept is not None and kept.parsed is None:
        told = tools.performer.tell(subject, [Event("InvalidSpec", f"HPINode {key.name}: {kept.problem}", "Warning")])
        return Ended(writes=told)
    observed = _observed(tools, view, kept)
    plan = plan_node(observed, tools.classes)
    live = {} if kept is None else {hpi_key: kept.live}
    live |= {key_of({"apiVersion": "v1", "kind": "Pod", **test}): test for test in observed.self_tests}
    stated = tools.performer.state(plan.apply, live)
    removed = tools.performer.remove(plan.delete)
    refusals, labelled = [*stated.refusals, *removed.refusals], None
    try:
        labelled = tools.performer.label(subject, plan.labels)
    except Forbidden as error:
        refusals.append(Refusal("PermissionMissing", str(error)))
    events = [*plan.events, *(Event(one.reason, one.message, "Warning") for one in refusals)]
    written = (*stated.written, *removed.written, *([labelled] if labelled is not None else []))
    return Ended(
        written,
        # What was refused is tried again by the periodic pass: a thousand nodes must not try once a minute.
        None if refusals else plan.look_again_seconds,
        tuple(one.reason for one in refusals),
        len(written) + tools.performer.tell(subject, events),
    )


def _wanted_engines(tools: Tools, hpi_node: HPINode | None) -> Iterator[HPIEngine]:
    """Yield the HPIEngines that pipelines whose pods the node's agent has reported on use or want.

    By their names in the HPINode the agent knows which HPIEngine a pod speaks of. Before every pipeline had its pass
    nobody knows what is wanted: those that are named stay named.
    """
    if hpi_node is None or hpi_node.status is None:
        return
    named = {(one.namespace, one.name) for one in hpi_node.spec.engines}
    for namespace in sorted({one.namespace for one in hpi_node.status.workloads}):
        _, wanted = tools.ledger.engines_of(namespace)
        for kept in tools.world.engines_in(namespace):
            engine = kept.parsed
            if engine is None:
                continue
            name = engine.metadata.name
            if name in wanted or (not tools.ledger.is_complete and (namespace, name) in named):
                yield engine


def _observed(tools: Tools, view: NodeView, kept: Kept | None) -> ObservedNode:
    pictures = tools.world.pictures
    pools = [one for one in pictures.pools.all().values() if one.parsed is not None]
    return ObservedNode(
        node=view,
        hpi_node=None if kept is None else kept.parsed,
        hpi_node_live=None if kept is None else kept.live,
        pools=tuple(one.parsed for one in pools),
        pool_ages={one.parsed.metadata.name: one.created_at for one in pools},
        runtimes=tuple(one.parsed for _, one in sorted(pictures.runtimes.all().items()) if one.parsed is not None),
        self_tests=tools.world.self_tests_on(view.name),
        wanted_engines=tuple(_wanted_engines(tools, None if kept is None else kept.parsed)),
        now=tools.now(),
        settings=tools.settings,
        pod_security=tools.world.pod_security(tools.settings.namespace),
    )
