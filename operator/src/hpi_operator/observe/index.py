"""Where the objects of one pipeline, one node, one namespace are found without looking through all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from hpi_operator.plan.intent import ObjectKey

View = TypeVar("View")
Group = TypeVar("Group", bound=Hashable)


class Index(Generic[Group, View]):
    """Objects of one or several pictures in groups; safe from several threads, and no larger than what is in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: dict[Group, dict[ObjectKey, View]] = {}

    def keep(self, group: Group, key: ObjectKey, view: View | None) -> None:
        """Keep an object in a group, or None for one that is not in it any more."""
        with self._lock:
            if view is not None:
                self._groups.setdefault(group, {})[key] = view
                return
            members = self._groups.get(group)
            if members is not None:
                members.pop(key, None)
                if not members:
                    del self._groups[group]

    def of(self, group: Group) -> dict[ObjectKey, View]:
        """Return the objects of a group, as a mapping of the caller's own."""
        with self._lock:
            return dict(self._groups.get(group, ()))

    def groups(self, wanted: Callable[[Group], bool] = lambda group: True) -> list[Group]:
        """Return the groups that have objects."""
        with self._lock:
            return [group for group in self._groups if wanted(group)]

    def __len__(self) -> int:
        with self._lock:
            return len(self._groups)


Pipeline = tuple[str, str]
"""Namespace and name."""
PipelineObjects = Index[Pipeline, Any]
