"""The groups of nodes as they are now: made once for all pipelines, and anew when a node changes."""

from __future__ import annotations

import threading
from collections.abc import Callable

from hpi_operator.plan.observed import NodeGroup

Groups = tuple[NodeGroup, ...]


class CurrentSupply:
    """Groups by the labels that any pipeline asks for."""

    def __init__(self, group: Callable[[frozenset[str]], Groups], labels: frozenset[str]) -> None:
        """Begin with nothing.

        Args:
            group: Groups all nodes by some labels.
            labels: Labels that every decision may read: those of the classes of hardware.
        """
        self._group = group
        self._labels = labels
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], frozenset[str]] = {}
        self._groups: Groups | None = None
        self._told: Groups | None = None

    def of(self, pipeline: tuple[str, str], asked: frozenset[str]) -> Groups:
        """Return the groups.

        Args:
            pipeline: Namespace and name; its labels are kept in mind until it is forgotten.
            asked: Labels that its decision reads.
        """
        with self._lock:
            if self._asked.get(pipeline) != asked:
                before = self._all_labels()
                self._asked[pipeline] = asked
                if self._all_labels() != before:
                    self._groups = None
            if self._groups is None:
                self._groups = self._group(self._all_labels())
            if self._told is None:
                self._told = self._groups
            return self._groups

    def changed(self) -> bool:
        """Group the nodes anew; return whether pipelines have to be told: the groups are not those that they know.

        Grouping by one more label is no change of the nodes, but tells nothing apart from one; the passes that it costs
        find nothing to do.
        """
        with self._lock:
            if self._told is None:
                # No pipeline has asked yet: the first one groups for itself.
                self._groups = None
                return False
            self._groups = self._group(self._all_labels())
            known, self._told = self._told, self._groups
            return known != self._groups

    def forget(self, pipeline: tuple[str, str]) -> None:
        """Forget the labels of a pipeline that is gone."""
        with self._lock:
            self._asked.pop(pipeline, None)

    def _all_labels(self) -> frozenset[str]:
        return frozenset().union(*self._asked.values()) | self._labels
