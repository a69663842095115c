"""The node's cache as its tenants see it: one store, and no way from one namespace to the entries of another.

An entry of a tenant lies in the store under the digest of tenant, kind and key together. What another tenant built
under the same key is therefore another entry: engines are native code, and nobody runs a stranger's. Who asks for the
key of somebody else's entry is told what everybody is told who asks for one that does not exist.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hpi_agent.exchange.limits import DEFAULT_LIMITS, Limits
from hpi_agent.exchange.listing import KINDS, EntryListing, listing_of
from hpi_agent.exchange.staging import Staging
from hpi_agent.select.decision import Decision, read_decision
from hpi_agent.store.directory import Entry, Store
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused

TENANT: Final = "tenant"
KEY: Final = "key"
ABOUT: Final = "about"

DECISIONS: Final = "decisions"


class Conflict(Refused):
    """Something else lies under that key already; the first complete one wins.

    Attributes:
        digest: Content digest of what is there.
    """

    def __init__(self, message: str, digest: str) -> None:
        self.digest = digest
        super().__init__(message)


@dataclass(frozen=True)
class Tenant:
    """Who shares entries."""

    namespace: str | None
    """None: every pod of the pool."""

    def to_json(self) -> dict[str, Any]:
        """Return what tells it from every other; a namespace may have any name."""
        return {"pool": True} if self.namespace is None else {"namespace": self.namespace}

    def key(self, kind: str, key: str) -> str:
        """Return the key of one of its entries in the node's store."""
        return digest_of_json({TENANT: self.to_json(), "kind": kind, KEY: key})


@dataclass(frozen=True)
class TenantCache:
    """The cache of one node."""

    store: Store
    limits: Limits = DEFAULT_LIMITS
    staging: Staging = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "staging", Staging(self.store, self.limits))

    @contextlib.contextmanager
    def opened(self, tenant: Tenant, kind: str, key: str) -> Iterator[tuple[Entry, EntryListing] | None]:
        """Yield an entry in use and its listing, or None: the tenant has none. It counts as a use.

        Args:
            tenant: Who asks.
            kind: On the wire: `engines`, `converted`, `models`.
            key: `sha256:<hex>`, as the pods of the tenant call it.

        Raises:
            Stop: The store cannot be read.
        """
        entry = self.store.open(KINDS[kind], tenant.key(kind, key))
        if entry is None:
            yield None
            return
        with entry:
            listing = _listing(entry)
            yield None if listing is None else (entry, listing)

    def has(self, tenant: Tenant, kind: str, key: str) -> bool:
        """Say whether a tenant has an entry; it counts as a use."""
        with self.opened(tenant, kind, key) as found:
            return found is not None

    def publish(self, tenant: Tenant, kind: str, key: str, listing: EntryListing) -> bool:
        """Make an entry of staged blobs; return whether it was made now. One that is there already is read, every byte.

        Raises:
            Conflict: Another one is there.
            Refused: Blobs are missing, or the listing is beyond the limits.
            Retry: Somebody else is at it.
            Stop: The store cannot be written: it is full, say.
        """
        self._check(listing)
        place = tenant.key(kind, key)
        made = False

        def write(directory: Path) -> None:
            nonlocal made
            made = True
            for name, file in listing.files.items():
                os.link(self.staging.blob(place, tenant.to_json(), file.digest, file.bytes), directory / name)

        about = {TENANT: tenant.to_json(), KEY: key, ABOUT: listing.about}
        with self.staging.alone(place):
            self.store.publish(KINDS[kind], place, write, about=about)
            with self.opened(tenant, kind, key) as found:
                if found is None:
                    raise Refused(f"the {kind} {key} was damaged while it was published; send it again")
                entry, there = found
                if made and there.files != listing.files:
                    raise entry.discard("it is not what was sent")
            self.staging.clear(place)
        if there.content_digest != listing.content_digest:
            raise Conflict(f"another one of the {kind} {key} is there already; use that one", there.content_digest)
        return made

    def decision(self, tenant: Tenant, key: str) -> dict[str, Any] | None:
        """Return the JSON form of a decision of a tenant, or None: there is none, or it cannot be served.

        One whose engine is gone says nothing that a pod could use.

        Raises:
            Stop: The store cannot be read.
        """
        written = self.store.read_decision(tenant.key(DECISIONS, key))
        if written is None or written.get(KEY) != key:
            return None
        found: dict[str, Any] = dict(written["decision"])
        engine = _engine_of(read_decision(found))
        return found if engine is None or self.has(tenant, "engines", engine) else None

    def keep_decision(self, tenant: Tenant, key: str, document: Mapping[str, Any]) -> bool:
        """Remember a final decision; return whether it was not there before.

        Raises:
            Conflict: Another engine was chosen before, and is there.
            Refused: It is no decision of that key, is provisional or chose nothing, or its engine is not there yet.
            Stop: The store cannot be written.
        """
        decision = read_decision(document)
        if decision.key != key:
            raise Refused(f"the decision is of {decision.key}, it was sent as {key}")
        if not decision.is_shareable:
            raise Refused("a decision that is provisional or chose nothing is nobody else's")
        engine = _engine_of(decision)
        if engine is not None and not self.has(tenant, "engines", engine):
            raise Refused(f"the chosen engine {engine} is not in the cache; send it first")
        before = self.decision(tenant, key)
        if before is not None:
            known = read_decision(before)
            if _engine_of(known) != engine:
                raise Conflict(f"another engine was chosen for {key} already; use that one", digest_of_json(before))
            if set(decision.verified_on_drivers) <= set(known.verified_on_drivers):
                return False
        about = {TENANT: tenant.to_json(), KEY: key, "decision": dict(document)}
        self.store.write_decision(tenant.key(DECISIONS, key), about)
        return before is None

    def _check(self, listing: EntryListing) -> None:
        if len(listing.files) > self.limits.entry_files or listing.size_bytes > self.limits.entry_bytes:
            raise Refused(
                f"the entry has {len(listing.files)} files with {listing.size_bytes} bytes; at most "
                f"{self.limits.entry_files} files and {self.limits.entry_bytes} bytes are kept"
            )


def _listing(entry: Entry) -> EntryListing | None:
    about = entry.about.get(ABOUT)
    return None if not isinstance(about, dict) else listing_of(about, entry.files)


def _engine_of(decision: Decision) -> str | None:
    return None if decision.chosen is None else decision.chosen.engine_key
