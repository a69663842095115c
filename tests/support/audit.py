"""Who wrote what, by the API server's own audit log: `AuditLog(cluster).writes(user="hpi-operator")`.

A cluster that is started with `audit_policy=WRITES` tells of every write twice: when it was received, which stands in
the file before anything is done about it (so whoever has an answer finds its request), and when it was answered.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from hpi_core.errors import Bug
from support.control_plane.cluster import ControlPlane

WRITES: Final = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
"""
"""Every write of everybody, without what was written."""

REQUESTS: Final = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  nonResourceURLs: ["*"]
- level: Metadata
"""
"""Reads too: for whoever counts lists and watches."""

QUESTIONS: Final = frozenset(
    {
        *("localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectreviews", "selfsubjectrulesreviews"),
        *("subjectaccessreviews", "tokenreviews"),
    }
)
"""What is created only to be answered: nothing of it is kept."""

WRITE_VERBS: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Call:
    """One request to the API server."""

    identifier: str
    received_at: datetime
    user: str
    agent: str
    """What the client calls itself: `hpi-operator`, `kubectl/v1.34.4 (linux/amd64) …`."""
    manager: str
    """Field manager that it named; empty where it named none."""
    verb: str
    """`get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`."""
    resource: str
    """Plural, group and subresource: `pods`, `deployments.apps`, `hpinodes.hpi.paddlex.io/status`."""
    namespace: str
    name: str
    dry_run: bool
    code: int | None = None
    """Status of the answer; None where none was given yet."""

    @property
    def is_write(self) -> bool:
        """Whether it asks for a change."""
        resource = self.resource.partition("/")[0].partition(".")[0]
        return self.verb in WRITE_VERBS and not self.dry_run and resource not in QUESTIONS


class AuditLog:
    """The log of one cluster, read on as it grows."""

    def __init__(self, cluster: ControlPlane) -> None:
        """Begin at the first line; the cluster must have been started with a policy."""
        self._path = cluster.audit_log
        self._offset = 0
        self._file: int | None = None
        self._calls: dict[str, Call] = {}

    def calls(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Call]:
        """Return requests in the order in which they came in.

        Args:
            user: Only of a user of that name.
            agent: Only of clients whose name for themselves begins so.
            since: Only those that came in at that moment or later.
            until: Only those that came in before.
        """
        self._read_on()
        found = [
            call
            for call in self._calls.values()
            if (user is None or call.user == user)
            and (agent is None or call.agent.startswith(agent))
            and (since is None or call.received_at >= since)
            and (until is None or call.received_at < until)
        ]
        return sorted(found, key=lambda call: call.received_at)

    def writes(
        self,
        *,
        user: str | None = None,
        agent: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[Call]:
        """Return those of `calls` that ask for a change, whatever came of it; dry runs and reviews ask for none."""
        return [call for call in self.calls(user=user, agent=agent, since=since, until=until) if call.is_write]

    def _read_on(self) -> None:
        if not self._path.exists():
            raise Bug(f"{self._path} is not there: start the cluster with audit_policy=WRITES")
        with self._path.open("rb") as stream:
            number = self._path.stat().st_ino
            if self._file not in (None, number):
                raise Bug(f"{self._path} was rotated; give kube-apiserver a larger --audit-log-maxsize")
            self._file = number
            stream.seek(self._offset)
            for line in stream:
                if not line.endswith(b"\n"):  # The server is in the middle of it.
                    break
                self._offset += len(line)
                self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        told = _call(event)
        known = self._calls.get(told.identifier, told)
        # The name of an object that is created stands in the answer alone.
        name, code = told.name or known.name, known.code if told.code is None else told.code
        self._calls[told.identifier] = replace(known, name=name, code=code)


def now() -> datetime:
    """Return the moment from which a window counts; the API server has the same clock."""
    return datetime.now(timezone.utc)


def counted(calls: list[Call], *fields: str) -> Counter[tuple[str, ...]]:
    """Return how many calls there are of each combination of fields: `counted(writes, "user", "verb", "resource")`."""
    return Counter(tuple(str(getattr(call, field)) for field in fields) for call in calls)


def told(calls: list[Call], *fields: str) -> str:
    """Return the same as lines, most first, by user, verb and resource unless told otherwise."""
    rows = counted(calls, *(fields or ("user", "verb", "resource"))).most_common()
    return "\n".join(f"{number:6d}  {'  '.join(row)}" for row, number in rows) or "none"


def _call(event: dict[str, Any]) -> Call:
    reference = event.get("objectRef", {})
    query = parse_qs(urlsplit(event["requestURI"]).query)
    return Call(
        identifier=event["auditID"],
        received_at=datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00")),
        user=event["user"].get("username", ""),
        agent=event.get("userAgent", ""),
        manager=query.get("fieldManager", [""])[0],
        verb=event["verb"],
        resource="".join(_resource_words(reference)),
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        dry_run="dryRun" in query,
        code=event.get("responseStatus", {}).get("code"),
    )


def _resource_words(reference: dict[str, str]) -> Iterator[str]:
    yield reference.get("resource", "")
    if "apiGroup" in reference:
        yield f".{reference['apiGroup']}"
    if "subresource" in reference:
        yield f"/{reference['subresource']}"
