"""One of several operators acts: whoever holds the Lease.

The library's own election (kubernetes.leaderelection) keeps its record in a ConfigMap's annotation, compares the
holder's clock with its own and releases nothing at its end. Here a Lease is held as client-go holds it: only the time
since this process saw the record change counts, so that a clock that jumps elects nobody.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from hpi_core.errors import HpiError
from hpi_core.moments import fine_stamp
from hpi_operator.kube.api import Api
from hpi_operator.kube.errors import Conflict
from hpi_operator.kube.resources import LEASES
from hpi_operator.plan.intent import Manifest

log: Final = logging.getLogger(__name__)


def uptime() -> float:
    """Return seconds that never go back and go on while the machine sleeps: a leader that wakes has lost."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Pace:
    """How fast leadership changes hands. Unit: seconds."""

    lease_seconds: int = 60
    """What is written into the Lease."""
    deadline_seconds: float = 40.0
    """After so long without a renewal the holder stops by itself: before anybody else can begin."""
    takeover_seconds: float = 48.0
    """After so long without a renewal another one begins, with time left to look around and act within the lease."""
    renew_seconds: float = 8.0
    """How often the holder renews; an API server that is away for 30 s costs nobody the Lease."""
    look_seconds: float = 2.0
    """How often the others look, and the holder tries again after a failure."""

    @classmethod
    def of(cls, lease_seconds: int) -> Pace:
        """Return the usual proportions for a lease: stop after two thirds, begin after four fifths."""
        return cls(
            lease_seconds, lease_seconds * 2 / 3, lease_seconds * 0.8, lease_seconds / 7.5, min(2.0, lease_seconds / 10)
        )

    def takeover_after(self, lease_seconds: float) -> float:
        """Return how long a holder's record is respected that names another duration than this one's."""
        return lease_seconds * self.takeover_seconds / self.lease_seconds


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
        clock: Callable[[], float] = uptime,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        spread: Callable[[], float] = random.random,
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
            spread: Number from 0 to 1 that keeps candidates from looking at once.
        """
        self._api = api
        self._namespace, self._name, self._identity = namespace, name, identity
        self._pace = pace
        self._clock = clock
        self._now = now
        self._spread = spread
        self._seen: tuple[str, float] | None = None
        self._expires_at: float | None = None
        self._renewed_at: float | None = None
        self._record: Manifest | None = None
        self._tried_at = clock()
        self._fault: str | None = None

    @property
    def is_leader(self) -> bool:
        """Whether this candidate holds the Lease, as far as it may still believe it."""
        return self._remaining_seconds() > 0

    @property
    def fault(self) -> str | None:
        """Why the last try failed, None where the API server answered it."""
        return self._fault

    @property
    def idle_seconds(self) -> float:
        """How long ago the last try ended, however it ended."""
        return self._clock() - self._tried_at

    def wait_until_leader(self, stopping: threading.Event) -> bool:
        """Look again and again until the Lease is held; return False when `stopping` came first."""
        while not stopping.is_set():
            if self.try_once():
                log.info("leading", extra={"identity": self._identity})
                return True
            pause = self._pace.look_seconds * (0.8 + 0.4 * self._spread())
            if self._expires_at is not None:
                pause = min(pause, max(0.0, self._expires_at - self._clock()))
            stopping.wait(pause)
        return False

    def hold(self, stopping: threading.Event) -> bool:
        """Renew until `stopping`, and return True; return False as soon as the Lease was lost."""
        while True:
            usual = self._pace.renew_seconds if self._fault is None else self._pace.look_seconds
            if stopping.wait(max(0.0, min(usual * (0.9 + 0.2 * self._spread()), self._remaining_seconds()))):
                return True
            self.try_once()
            if not self.is_leader:
                log.error("leadership is lost", extra={"identity": self._identity, "cause": self._fault})
                return False

    def try_once(self) -> bool:
        """Take or renew the Lease if it may be; return whether it is held. Failures are logged, never raised."""
        try:
            self._try()
            self._fault = None
        except Conflict as error:
            # Another candidate was faster; the next look shows who.
            log.debug("the election's Lease was written in between", extra={"cause": str(error)})
            self._fault = None
        except HpiError as error:
            if self._fault != str(error):
                log.warning("the election's Lease cannot be had", extra={"lease": self._lease, "cause": str(error)})
            self._fault = str(error)
        self._tried_at = self._clock()
        return self.is_leader

    def release(self) -> None:
        """Give the Lease back, so that another candidate need not wait until it runs out."""
        if self._record is None or not self.is_leader:
            return
        timeout = self._timeout_seconds()
        self._renewed_at = None
        try:
            self._write({**self._record["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}, timeout)
        except HpiError as error:
            log.warning("the election's Lease cannot be given back", extra={"cause": str(error)})

    @property
    def _lease(self) -> str:
        return f"{self._namespace}/{self._name}"

    def _remaining_seconds(self) -> float:
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + self._pace.deadline_seconds - self._clock()

    def _timeout_seconds(self) -> float:
        """Return how long a request may take: a server that is silent must not keep the holder past its deadline."""
        longest = self._pace.deadline_seconds / 4
        remaining = self._remaining_seconds()
        return min(longest, remaining) if remaining > 0 else longest

    def _try(self) -> None:
        asked_at = self._clock()
        lease = self._api.get(LEASES, self._name, self._namespace, timeout_seconds=self._timeout_seconds())
        if lease is None:
            self._record = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self._name, "namespace": self._namespace},
            }
            self._write(self._claim({}), self._timeout_seconds())
            self._renewed_at = asked_at
            return
        self._record = lease
        spec = lease.get("spec") or {}
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, asked_at)
        if spec.get("holderIdentity") not in (None, "", self._identity):
            respected = self._pace.takeover_after(float(spec.get("leaseDurationSeconds") or self._pace.lease_seconds))
            self._expires_at = self._seen[1] + respected
            if asked_at < self._expires_at:
                self._renewed_at = None
                return
        self._write(self._claim(spec), self._timeout_seconds())
        self._renewed_at = asked_at

    def _claim(self, spec: Manifest) -> dict[str, Any]:
        is_new = spec.get("holderIdentity") != self._identity
        stamp = fine_stamp(self._now())
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._pace.lease_seconds,
            "acquireTime": stamp if is_new else spec.get("acquireTime", stamp),
            "renewTime": stamp,
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + int(is_new and bool(spec)),
        }

    def _write(self, spec: Manifest, timeout_seconds: float) -> None:
        if self._record is not None:
            self._record = self._api.put_lease({**self._record, "spec": spec}, timeout_seconds)
