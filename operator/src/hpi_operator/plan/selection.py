"""What a node selector cannot say: labels that tell nodes whose devices fit the requirements from those that do not.

A term is one set of labels with their values; a node that has all of one term is taken. The pods of a Deployment are
replaced whenever its terms change, so they change only when there is a reason: values that do not fit any more, or pods
that wait for a node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpi_operator.plan.accelerators import ClassData, Fact
from hpi_operator.plan.devices import way_labels
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import NodeGroup
from hpi_operator.plan.placement import Offered, needed_facts

Term = tuple[tuple[str, str], ...]
"""Keys and values of labels, sorted by key."""


def terms(offered: Offered, data: ClassData, present: frozenset[Term] | None, *, waits: bool) -> frozenset[Term]:
    """Return the terms of which a node must satisfy one; none: every node that offers the resource will do.

    Args:
        offered: Nodes that fit, and nodes that do not.
        data: The class of hardware.
        present: Terms of the pods that are there; None: there are none.
        waits: Whether such pods wait for a node.
    """
    facts = tuple(
        fact
        for fact in needed_facts(offered.accelerator.requirements)
        # Where a node that fits has no such label, no other node offers the resource (`placement` has seen to that).
        if all(way_labels(group, data, fact) is not None for group in offered.groups)
    )
    fitting = _terms_of(offered.groups, facts, data)
    if present is None:
        return fitting
    if not present:
        return fitting if offered.unfit else present
    kept = present - _terms_of(offered.unfit, facts, data)
    return kept if kept and not waits else kept | fitting


def _terms_of(groups: Iterable[NodeGroup], facts: Sequence[Fact], data: ClassData) -> frozenset[Term]:
    found = set()
    for group in groups:
        labels = {key: value for fact in facts for key, value in way_labels(group, data, fact) or ()}
        if labels:
            found.add(tuple(sorted(labels.items())))
    return frozenset(found)


def node_affinity(chosen: frozenset[Term]) -> dict[str, Any] | None:
    """Return the node affinity of pods; None: there are no terms."""
    if not chosen:
        return None
    by_keys: dict[tuple[str, ...], list[Term]] = {}
    for term in sorted(chosen):
        by_keys.setdefault(tuple(key for key, _ in term), []).append(term)
    written = []
    for keys, alike in sorted(by_keys.items()):
        if len(keys) == 1:
            written.append(_written({keys[0]: [value for term in alike for _, value in term]}))
        else:
            written += [_written({key: [value] for key, value in term}) for term in alike]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": written}}


def _written(values: Mapping[str, list[str]]) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": "In", "values": some} for key, some in values.items()]}


def present_terms(pod_spec: Manifest) -> frozenset[Term]:
    """Return the terms of pods that are there."""
    affinity = ((pod_spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    found: set[Term] = set()
    for written in affinity.get("nodeSelectorTerms") or ():
        combined: list[dict[str, str]] = [{}]
        for one in written.get("matchExpressions") or ():
            combined = [{**labels, one["key"]: value} for labels in combined for value in one.get("values") or ()]
        found |= {tuple(sorted(labels.items())) for labels in combined if labels}
    return frozenset(found)
