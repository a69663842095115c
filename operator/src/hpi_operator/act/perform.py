"""Carry out a plan: apply what differs, delete what must go, write the status, tell the events."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from hpi_core.digest import canonical_json
from hpi_core.errors import HpiError
from hpi_operator.act.drift import differs, stamped, why
from hpi_operator.act.events import Recorder, Subject
from hpi_operator.act.ownership import Repairs, is_foreign, owner_words
from hpi_operator.kube.api import Api
from hpi_operator.kube.errors import Ending, Forbidden, Invalid, NotThere, Taken
from hpi_operator.kube.resources import NODES, Resource, resource_of
from hpi_operator.kube.written import Written
from hpi_operator.plan.intent import Deletion, Event, Manifest, ObjectKey, Refusal, key_of

log: Final = logging.getLogger(__name__)

PRIORITIES: Final[Mapping[str, int]] = {"Deployment": 1, "ConfigMap": 1, "ServiceAccount": 1, "Service": 2}
"""Which writes go first when many wait: what a pod needs to run, then how it is found, then the rest."""
STATUS_PRIORITY: Final = 7
OTHER_PRIORITY: Final = 5


@dataclass
class Stated:
    """What came of stating objects."""

    written: list[Written] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    """What was not written, and why."""


class Performer:
    """Carries out plans; it never writes once another operator may lead (`Api.may_write`)."""

    def __init__(self, api: Api, recorder: Recorder, repairs: Repairs | None = None) -> None:
        """Prepare.

        Args:
            api: The connection.
            recorder: Tells the events.
            repairs: Remembers what was taken back from whom.
        """
        self._api = api
        self._recorder = recorder
        self._repairs = repairs or Repairs()

    def state(
        self,
        manifests: Iterable[Manifest],
        live: Mapping[ObjectKey, Manifest],
        hidden: Mapping[Resource, Forbidden] | None = None,
    ) -> Stated:
        """Apply the objects that differ from what is there. One that cannot be written keeps no other from it.

        Args:
            manifests: Objects that should be, in the order in which they are written.
            live: Objects as they were observed.
            hidden: Kinds that are not seen: their objects are left alone.

        Raises:
            Retry: The API server is away, or another operator may lead; what was written until then stays.
            Bug: What the operator wants to write is at fault.
        """
        stated = Stated()
        for manifest in manifests:
            intent = stamped(manifest)
            key = key_of(intent)
            resource = resource_of(key.api_version, key.kind)
            unseen = (hidden or {}).get(resource)
            if unseen is not None:
                stated.refusals.append(Refusal("PermissionMissing", f"{key} is left alone: {unseen}"))
            elif differs(live.get(key), intent):
                try:
                    self._state(key, resource, intent, live.get(key), stated)
                except (Taken, Ending, Invalid, NotThere, Forbidden) as error:
                    stated.refusals.append(_refusal(key, error))
        return stated

    def _state(
        self, key: ObjectKey, resource: Resource, intent: Manifest, known: Manifest | None, stated: Stated
    ) -> None:
        there = known
        if there is None:
            # Objects without the operator's labels are in no picture: one of that name may be somebody's.
            there = self._api.get(resource, key.name, key.namespace or None, metadata_only=True)
        if there is not None and is_foreign(there, intent):
            gone = " and is being deleted" if there["metadata"].get("deletionTimestamp") else ""
            stated.refusals.append(Refusal("NameTaken", f"{key} belongs to {owner_words(there)}{gone}"))
            return
        priority = PRIORITIES.get(key.kind, OTHER_PRIORITY)
        try:
            written = self._api.apply(intent, force=False, priority=priority)
        except Taken as conflict:
            if not self._repairs.may_take_back(key, conflict):
                raise
            log.info("taken back", extra={"child": str(key), "cause": str(conflict)})
            written = self._api.apply(intent, force=True, priority=priority)
        stated.written.append(Written(key, written["metadata"]["resourceVersion"], written["metadata"]["uid"]))
        log.info("applied", extra={"child": str(key), "why": why(known, intent)})

    def remove(self, deletions: Iterable[Deletion], hidden: Mapping[Resource, Forbidden] | None = None) -> Stated:
        """Delete objects, those of hidden kinds left out.

        Raises:
            Retry: As `state`.
        """
        stated = Stated()
        for deletion in deletions:
            if resource_of(deletion.key.api_version, deletion.key.kind) in (hidden or {}):
                continue
            try:
                self._api.delete(deletion)
            except (Invalid, Forbidden) as error:
                stated.refusals.append(_refusal(deletion.key, error))
                continue
            stated.written.append(Written(deletion.key, None, deletion.uid))
            log.info("deleted", extra={"child": str(deletion.key), "cause": deletion.reason})
        return stated

    def report(self, subject: Subject, before: Manifest | None, after: Manifest | None) -> Written | None:
        """Write a status where it differs; return what was written.

        Args:
            subject: The object.
            before: Its status as it was observed, None where it has none.
            after: The status that it should have; None: nothing is written.

        Raises:
            Retry: As `state`.
            Forbidden: The right is missing.
        """
        if after is None or not says_otherwise(before, after):
            return None
        key = subject.key
        metadata = {"name": key.name, **({"namespace": key.namespace} if key.namespace else {})}
        # The UID keeps a status from an object that took the name since.
        body = {
            "apiVersion": key.api_version,
            "kind": key.kind,
            "metadata": {**metadata, "uid": subject.uid},
            "status": after,
        }
        try:
            written = self._api.apply(body, force=True, priority=STATUS_PRIORITY, subresource="status")
        except NotThere:
            # The object went while the pass ran: there is nobody to tell.
            return None
        return Written(key, written["metadata"]["resourceVersion"], subject.uid)

    def label(self, subject: Subject, labels: Mapping[str, str | None]) -> Written | None:
        """Set labels of a Node, and take away those that are None; return what was written.

        Raises:
            Retry: As `state`.
            Forbidden: The right is missing.
        """
        if not labels:
            return None
        # The UID keeps them from a Node that took the name since.
        patch = {"metadata": {"uid": subject.uid, "labels": dict(labels)}}
        try:
            written = self._api.merge(NODES, subject.key.name, patch)
        except NotThere:
            return None
        log.info("labelled", extra={"labels": dict(labels)})
        return Written(subject.key, written["metadata"]["resourceVersion"], subject.uid)

    def tell(self, subject: Subject, events: Iterable[Event]) -> int:
        """Tell events; return how many were news."""
        return sum(self._recorder.tell(subject, event) for event in events)


def says_otherwise(before: Manifest | None, after: Manifest) -> bool:
    """Return whether a status differs from what is stored."""
    return before is None or canonical_json(before) != canonical_json(after)


def _refusal(key: ObjectKey, error: HpiError) -> Refusal:
    if isinstance(error, Taken):
        owners = ", ".join(sorted({owner.manager for owner in error.owners}))
        return Refusal("FieldConflict", f"{key}: {', '.join(error.fields) or 'a field'} belongs to {owners}")
    if isinstance(error, Forbidden):
        return Refusal("PermissionMissing", f"{key}: {error}")
    if isinstance(error, Ending):
        return Refusal("NamespaceTerminating", f"{key}: {error}")
    if isinstance(error, NotThere):
        # The API of an optional kind, or the namespace, has gone since it was looked at.
        return Refusal("ApiMissing", f"{key}: {error}")
    return Refusal("ObjectRefused", f"{key}: {error}")
