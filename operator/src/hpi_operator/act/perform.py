"""Carry out a plan: apply what differs, delete what must go, write the status, tell the events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hpi_core.digest import canonical_json
from hpi_operator.act.drift import differs, stamped, why
from hpi_operator.act.events import Recorder, Subject
from hpi_operator.kube.api import Api
from hpi_operator.kube.errors import NotThere, Taken
from hpi_operator.kube.resources import NODES
from hpi_operator.plan.intent import Manifest, ObjectKey, Plan, key_of

log: Final = logging.getLogger(__name__)

PRIORITIES: Final[Mapping[str, int]] = {"Deployment": 1, "ConfigMap": 1, "ServiceAccount": 1, "Service": 2}
"""Which writes go first when many wait: what a pod needs to run, then how it is found, then the rest."""
STATUS_PRIORITY: Final = 7
OTHER_PRIORITY: Final = 5

SHARED_KINDS: Final = frozenset({"Deployment"})
"""Kinds of which other writers rightly own fields (an autoscaler the replicas): theirs are not taken from them."""


@dataclass(frozen=True)
class Done:
    """What was written."""

    applied: tuple[ObjectKey, ...] = ()
    deleted: tuple[ObjectKey, ...] = ()
    status_written: bool = False
    conflicts: tuple[str, ...] = ()
    """What another writer holds, in words."""

    @property
    def writes(self) -> int:
        """How many."""
        return len(self.applied) + len(self.deleted) + int(self.status_written)


class Performer:
    """Carries out plans."""

    def __init__(
        self, api: Api, recorder: Recorder, may_write: Callable[[], bool], note: Callable[[Manifest], None]
    ) -> None:
        """Prepare.

        Args:
            api: The connection.
            recorder: Tells the events.
            may_write: Whether this operator leads; asked before every write, so that one that lost the election ends
                its pass without another.
            note: Told of every object as the API server answered its write.
        """
        self._api = api
        self._recorder = recorder
        self._may_write = may_write
        self._note = note

    def perform(
        self, plan: Plan, subject: Subject, live: Mapping[ObjectKey, Manifest], status: Manifest | None
    ) -> Done:
        """Carry out the plan of one pass.

        Args:
            plan: What should be.
            subject: The object that the pass is about.
            live: The objects that the plan may state, as they were observed.
            status: The status of the subject as it was observed, None where it has none.

        Raises:
            Retry: The API server is away, or this operator no longer leads; what was written until then stays.
            Stop: A right is missing.
            Invalid: The API server does not take an object; the others are written first.
        """
        applied, conflicts = self._apply(plan, live)
        deleted = self._delete(plan)
        written = self._write_status(plan, subject, status)
        if plan.labels and self._may_write():
            self._label(subject, plan.labels)
        for event in plan.events:
            self._recorder.tell(subject, event)
        return Done(applied, deleted, written, conflicts)

    def _apply(self, plan: Plan, live: Mapping[ObjectKey, Manifest]) -> tuple[tuple[ObjectKey, ...], tuple[str, ...]]:
        applied, conflicts, refused = [], [], None
        for manifest in plan.apply:
            intent = stamped(manifest)
            key = key_of(intent)
            if not differs(live.get(key), intent) or not self._may_write():
                continue
            try:
                force, priority = key.kind not in SHARED_KINDS, PRIORITIES.get(key.kind, OTHER_PRIORITY)
                self._note(self._api.apply(intent, force=force, priority=priority))
                applied.append(key)
                log.info("applied", extra={"object": str(key), "why": why(live.get(key), intent)})
            except Taken as error:
                conflicts.append(f"{key}: fields owned by {', '.join(error.owners)}: {error}")
            except NotThere as error:
                # The namespace, or the API of an optional kind, has gone since it was looked at.
                refused = refused or error
        if refused is not None:
            raise refused
        return tuple(applied), tuple(conflicts)

    def _delete(self, plan: Plan) -> tuple[ObjectKey, ...]:
        deleted = []
        for deletion in plan.delete:
            if self._may_write():
                self._api.delete(deletion)
                deleted.append(deletion.key)
                log.info("deleted", extra={"object": str(deletion.key), "cause": deletion.reason})
        return tuple(deleted)

    def _write_status(self, plan: Plan, subject: Subject, status: Manifest | None) -> bool:
        if plan.status is None or not self._may_write():
            return False
        if status is not None and canonical_json(status) == canonical_json(plan.status):
            return False
        body = {
            "apiVersion": subject.key.api_version,
            "kind": subject.key.kind,
            "metadata": {
                "name": subject.key.name,
                **({"namespace": subject.key.namespace} if subject.key.namespace else {}),
            },
            "status": plan.status,
        }
        try:
            self._api.apply(body, force=True, priority=STATUS_PRIORITY, subresource="status")
        except NotThere:
            # The object went while the pass ran: there is nobody to tell.
            return False
        return True

    def _label(self, subject: Subject, labels: Mapping[str, str | None]) -> None:
        self._api.merge(NODES, subject.key.name, {"metadata": {"labels": dict(labels)}})
        log.info("labelled", extra={"object": str(subject.key), "labels": dict(labels)})
