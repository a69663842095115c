"""From an origin into the store: remembered, resumed, limited, checked, published; the same for every kind of origin.

    records     what this address gave before      → nothing to fetch where that is known to be it
    resolve     what it has now                     → nothing to fetch where that was fetched before
    fetch       into tmp/partial.…, one process     → a cut, a kill or a full disk costs what was not written yet
    check       sizes, digests, the model's digest
    publish     sources/<digest of the files>, and the record

Whatever is not fetched for one of these reasons is said: in the log, and in the notes that the caller gets.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from hpi_agent.models.sources.fetched import Check, Fetched, Progress, Tell, tell_nobody
from hpi_agent.models.sources.files import located
from hpi_agent.models.sources.limits import DEFAULT_LIMITS, Limits
from hpi_agent.models.sources.link import link_all
from hpi_agent.models.sources.patience import DEFAULT_PATIENCE, Patience
from hpi_agent.models.sources.protocol import Changed, Origin, Resolved
from hpi_agent.models.sources.transfer import Transfer
from hpi_agent.store.directory import Store, digest_of_file
from hpi_agent.store.partial import HOLD, KEPT_SECONDS, remove_partials, short
from hpi_agent.store.source_records import Seen, read_seen, write_seen
from hpi_agent.store.unusable import unusable
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused, Retry, SourceFailed, Stop

KIND: Final = "sources"
"""Kind of the store's entries that hold files as they were fetched."""

ATTEMPTS_WITH_COPY: Final = 2
"""Attempts to resolve an address when the store has what it gave last: then a dead server must not delay a start."""

MAX_CHANGES: Final = 3
"""How often a source may change while it is fetched before that is given up."""

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Download:
    """How one origin is brought into the store."""

    origin: Origin
    store: Store
    check: Check
    wanted_digest: str | None = None
    """`sha256:<hex>` that the model must have, or None."""
    limits: Limits = DEFAULT_LIMITS
    patience: Patience = DEFAULT_PATIENCE
    tell: Tell = tell_nobody

    def run(self) -> Fetched:
        """Return the files of the origin in the store; no server is asked where what it would give is known.

        Raises:
            Refused: The model has another digest than the one that is wanted, or an address must not be read.
            SourceFailed: The origin cannot deliver, and the store has nothing of it.
            Stop: The store cannot be written: it is full, say.
            TooLarge: The origin has more than is allowed.
        """
        known = read_seen(self.store.root, self._source)
        if self.wanted_digest is not None or self.origin.is_immutable:
            found = self._remembered(lambda seen: self.wanted_digest in (None, seen.digest), known)
            if found is not None:
                return found
        try:
            resolved = self._resolve(with_copy=bool(known) and self.wanted_digest is None)
        except SourceFailed as error:
            found = self._last(known, error)
            if found is None:
                raise
            return found
        for _ in range(MAX_CHANGES):
            try:
                return self._fetch(resolved)
            except Changed as change:
                log.warning("%s; it is read again from its beginning", change)
            resolved = self._resolve(with_copy=False)
        raise SourceFailed(
            f"source {self.origin.address!r} changed {MAX_CHANGES} times while it was fetched; try again when it rests"
        )

    @property
    def _source(self) -> str:
        return digest_of_json({"source": self.origin.key})

    def _resolve(self, *, with_copy: bool) -> Resolved:
        patience = replace(self.patience, attempts=ATTEMPTS_WITH_COPY) if with_copy else self.patience
        resolved = patience.run(self.origin.resolve, f"source {self.origin.address!r} cannot be read")
        self.limits.check(self.origin.address, resolved)
        return resolved

    def _remembered(self, fits: Callable[[Seen], bool], known: tuple[Seen, ...], *notes: str) -> Fetched | None:
        """Return the newest version that fits and that the store still has, every byte of it."""
        for seen in filter(fits, known):
            entry = self.store.open(KIND, seen.entry)
            if entry is not None:
                entry.close()
                if self.store.verify(KIND, seen.entry) is None:
                    return Fetched(located(self.origin.address, entry.directory), notes)
        return None

    def _last(self, known: tuple[Seen, ...], error: SourceFailed) -> Fetched | None:
        """Return what the origin gave last, if it is away now and nobody demands anything else."""
        if self.wanted_digest is not None or not isinstance(error.__cause__, Retry):
            return None
        for seen in known:
            note = (
                f"source {self.origin.address!r} does not answer now ({error.__cause__}); what it gave last is used: "
                f"{seen.digest}"
            )
            found = self._remembered(seen.__eq__, (seen,), note)
            if found is not None:
                log.warning("%s", note)
                return found
        return None

    def _fetch(self, resolved: Resolved) -> Fetched:
        """Return what is fetched now, or what this or another process has fetched before."""
        identity = resolved.identity
        with self._alone():
            if identity is not None:
                known = read_seen(self.store.root, self._source)
                found = self._remembered(
                    lambda seen: seen.identity == identity and self.wanted_digest in (None, seen.digest),
                    known,
                    *resolved.notes,
                )
                if found is not None:
                    return found
            entry = self._publish(resolved)
        notes = resolved.notes
        if identity is None:
            notes += (
                f"source {self.origin.address!r} has neither ETag nor date: it is fetched anew at every start; give "
                "the model's digest in the manifest to avoid that",
            )
        return Fetched(located(self.origin.address, entry), notes)

    def _publish(self, resolved: Resolved) -> Path:
        place = (self.store.root, self._source)
        try:
            transfer = Transfer.begin(self.origin, resolved, place, self.limits, self.patience, self.tell)
        except OSError as error:
            raise unusable(self.store.root, error) from error
        try:
            return self._published(transfer, resolved)
        except Refused:
            # It would be refused again: a wrong digest does not become right by going on.
            transfer.remove()
            raise
        except (OSError, Stop) as error:
            left = transfer.remove_what_is_of_no_use()
            if not isinstance(error, OSError):
                raise
            kept = f"; {left} bytes of {self.origin.address!r} are kept, and the next try goes on there" if left else ""
            raise Stop(f"{unusable(self.store.root, error)}{kept}") from error

    def _published(self, transfer: Transfer, resolved: Resolved) -> Path:
        directory = transfer.run()
        located(self.origin.address, directory)
        digest = self.check(directory)
        key = digest_of_json({"files": {path.name: digest_of_file(path) for path in sorted(directory.iterdir())}})
        about = {"source": self.origin.address, "revision": resolved.revision, "digest": digest}
        entry = self.store.publish(KIND, key, partial(link_all, directory), about=about)
        identity = resolved.identity or digest_of_json({"without identity": key})
        write_seen(self.store.root, self._source, self.origin.address, Seen(identity, key, digest))
        transfer.remove()
        remove_partials(self.store.root, older_than_seconds=KEPT_SECONDS)
        return entry

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Be the only process that fetches this source."""
        name = HOLD + short(self._source)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(self.store.hold(name, wait=False))
            except Retry:
                self.tell(Progress(0, None, is_waiting=True))
                held.enter_context(self.store.hold(name))
            yield
