"""Which pool has a node: selectors, and of two that select the same node the older."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from hpi_core.api.v1alpha1.node_pool import Expression, HPINodePool, NodeSelector


def selects(selector: NodeSelector, labels: Mapping[str, str]) -> bool:
    """Return whether a selector selects a node of these labels, as Kubernetes' own label selectors do."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _holds(expression, labels) for expression in selector.match_expressions
    )


def pools_of(
    labels: Mapping[str, str], pools: Sequence[HPINodePool], ages: Mapping[str, datetime]
) -> tuple[HPINodePool, ...]:
    """Return the pools that select a node, the one that has it first: the oldest, then by name."""
    found = [pool for pool in pools if selects(pool.spec.node_selector, labels)]
    return tuple(sorted(found, key=lambda pool: (ages[pool.metadata.name], pool.metadata.name)))


def _holds(expression: Expression, labels: Mapping[str, str]) -> bool:
    value = labels.get(expression.key)
    if expression.operator == "Exists":
        return value is not None
    if expression.operator == "DoesNotExist":
        return value is None
    if expression.operator == "In":
        return value in expression.values
    return value not in expression.values
