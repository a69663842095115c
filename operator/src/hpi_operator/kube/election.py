"""One of several operators acts: whoever holds the Lease.

The library's own election (kubernetes.leaderelection) keeps its record in a ConfigMap's annotation, compares the
holder's clock with its own and releases nothing at its end. Here a Lease is held as client-go holds it: only the time
since this process saw the record change counts, so that a clock that jumps elects nobody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from hpi_core.errors import HpiError
from hpi_operator.kube.api import Api
from hpi_operator.kube.errors import Conflict
from hpi_operator.kube.resources import LEASES

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How fast leadership changes hands."""

    lease_seconds: int = 15
    """After so long without a renewal the Lease is anybody's."""
    deadline_seconds: float = 10.0
    """After so long without a renewal the holder stops by itself: before anybody else can begin."""
    retry_seconds: float = 2.0
    """How often the holder renews, and the others look."""


class Election:
    """One candidate."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        name: str,
        identity: str,
        pace: Pace,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Prepare.

        Args:
            api: The connection; renewals do not wait for its bucket.
            namespace: Namespace of the Lease.
            name: Name of the Lease.
            identity: Who this is; no two candidates have one.
            pace: How fast.
            clock: Seconds that never go back.
            now: The time that is written down for people.
        """
        self._api = api
        self._namespace, self._name, self._identity = namespace, name, identity
        self._pace = pace
        self._clock = clock
        self._now = now
        self._seen: tuple[str, float] | None = None
        self._renewed_at: float | None = None
        self._record: dict[str, Any] | None = None

    @property
    def is_leader(self) -> bool:
        """Whether this candidate holds the Lease, as far as it may still believe it."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < self._pace.deadline_seconds

    def wait_until_leader(self, stopping: threading.Event) -> bool:
        """Look again and again until the Lease is held; return False when `stopping` came first."""
        while not stopping.is_set():
            if self.try_once():
                log.info("leading", extra={"identity": self._identity})
                return True
            stopping.wait(self._pace.retry_seconds)
        return False

    def hold(self, stopping: threading.Event) -> bool:
        """Renew until `stopping`, then give the Lease back and return True; return False when it was lost."""
        while not stopping.wait(self._pace.retry_seconds):
            self.try_once()
            if not self.is_leader:
                log.error("leadership lost", extra={"identity": self._identity})
                return False
        self.release()
        return True

    def try_once(self) -> bool:
        """Take or renew the Lease if it may be; return whether it is held. Failures are logged, never raised."""
        try:
            return self._try()
        except Conflict:
            return self.is_leader
        except HpiError as error:
            log.warning("the election's Lease cannot be had", extra={"cause": str(error)})
            return self.is_leader

    def release(self) -> None:
        """Give the Lease back, so that another candidate need not wait until it runs out."""
        if self._record is None or not self.is_leader:
            return
        try:
            self._write({**self._record["spec"], "holderIdentity": "", "leaseDurationSeconds": 1})
        except HpiError as error:
            log.warning("the election's Lease cannot be given back", extra={"cause": str(error)})
        self._renewed_at = None

    def _try(self) -> bool:
        asked_at = self._clock()
        lease = self._api.get(LEASES, self._name, self._namespace)
        if lease is None:
            self._record = self._create()
            self._renewed_at = asked_at
            return True
        self._record = dict(lease)
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, asked_at)
        expired = asked_at - self._seen[1] > float(spec.get("leaseDurationSeconds") or self._pace.lease_seconds)
        if holder not in ("", self._identity) and not expired:
            self._renewed_at = None
            return False
        moved = holder != self._identity
        self._write(
            {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": self._pace.lease_seconds,
                "acquireTime": self._stamp() if moved else spec.get("acquireTime", self._stamp()),
                "renewTime": self._stamp(),
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + int(moved),
            }
        )
        self._renewed_at = asked_at
        return True

    def _create(self) -> dict[str, Any]:
        return dict(
            self._api.create(
                {
                    "apiVersion": LEASES.api_version,
                    "kind": LEASES.kind,
                    "metadata": {"name": self._name, "namespace": self._namespace},
                    "spec": {
                        "holderIdentity": self._identity,
                        "leaseDurationSeconds": self._pace.lease_seconds,
                        "acquireTime": self._stamp(),
                        "renewTime": self._stamp(),
                        "leaseTransitions": 0,
                    },
                },
                priority=0,
            )
        )

    def _write(self, spec: dict[str, Any]) -> None:
        if self._record is None:
            return
        self._record = dict(self._api.replace({**self._record, "spec": spec}, hurried=True))

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
