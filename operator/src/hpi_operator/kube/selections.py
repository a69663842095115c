"""Which objects are asked for, and what comes back: pages of a list, events of a watch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from hpi_operator.kube.answers import error_of_status
from hpi_operator.kube.errors import Away
from hpi_operator.kube.resources import Resource
from hpi_operator.kube.transport import Stream
from hpi_operator.plan.intent import Manifest


@dataclass(frozen=True)
class Selection:
    """Which objects of a resource are meant."""

    resource: Resource
    namespace: str | None = None
    """None: those of all namespaces."""
    labels: str = ""
    """A label selector."""
    fields: str = ""
    """A field selector."""
    metadata_only: bool = False

    @property
    def query(self) -> dict[str, str]:
        """The selectors as parameters of a request."""
        return {
            **({"labelSelector": self.labels} if self.labels else {}),
            **({"fieldSelector": self.fields} if self.fields else {}),
        }


@dataclass(frozen=True)
class Page:
    """Some objects of a list."""

    objects: tuple[Manifest, ...]
    resource_version: str


class Watch:
    """What happens to objects from a version on, until the server ends it or `end` is called."""

    def __init__(self, stream: Stream, what: str) -> None:
        self._stream = stream
        self._what = what

    def __iter__(self) -> Iterator[tuple[str, Manifest]]:
        """Yield (type, object): ADDED, MODIFIED, DELETED, BOOKMARK.

        Raises:
            Expired: The version is gone; list anew.
            Away: The connection broke, or was silent for too long.
        """
        for line in self._stream:
            try:
                event = json.loads(line)
                kind, thing = event["type"], event["object"]
            except (ValueError, TypeError, KeyError) as error:
                raise Away(f"watching {self._what}: not an event: {line[:100]!r}") from error
            if kind == "ERROR":
                raise error_of_status(int(thing.get("code", 500)), thing, f"watching {self._what}")
            yield kind, thing

    def end(self) -> None:
        """Let whoever reads it in another thread see its end."""
        self._stream.end()
