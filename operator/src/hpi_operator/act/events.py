"""Events: a change of state told once, not again while it repeats, and never a flood."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final

from hpi_core.errors import HpiError
from hpi_core.event import News, Teller
from hpi_core.event import event as document_of
from hpi_core.names import OPERATOR_REPORTER
from hpi_operator.kube.api import Api
from hpi_operator.kube.errors import Conflict, NotLeading
from hpi_operator.plan.intent import Event, ObjectKey

log: Final = logging.getLogger(__name__)

TELLER: Final = Teller(OPERATOR_REPORTER, "hpi-operator")
ACTION: Final = "Reconcile"
MAX_REMEMBERED: Final = 4_096
SILENT_SECONDS: Final = 600.0
"""The same event about the same object is not told again within this time."""
EVENT_PRIORITY: Final = 9


@dataclass(frozen=True)
class Subject:
    """The object that something is about."""

    key: ObjectKey
    uid: str


class Recorder:
    """Tells events. A flood of equal ones is one; what cannot be told is logged and forgotten."""

    def __init__(
        self,
        api: Api,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Prepare.

        Args:
            api: The connection.
            clock: Seconds that never go back.
            now: The time that is written down for people.
        """
        self._api = api
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._told: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    def tell(self, subject: Subject, event: Event) -> bool:
        """Tell an event; return False where the same was told a short while ago, or it cannot be told."""
        if not self._is_news(subject, event):
            return False
        key = subject.key
        metadata = {"name": key.name, "namespace": key.namespace, "uid": subject.uid}
        about = {"apiVersion": key.api_version, "kind": key.kind, "metadata": metadata}
        document = document_of(about, TELLER, News(ACTION, event.reason, event.message, event.type), self._now())
        try:
            self._api.create(document, priority=EVENT_PRIORITY)
        except Conflict as error:
            log.debug("an event was told already", extra={"reason": event.reason, "cause": str(error)})
            return False
        except NotLeading:
            raise
        except HpiError as error:
            log.warning("an event cannot be told", extra={"reason": event.reason, "cause": str(error)})
            return False
        return True

    def _is_news(self, subject: Subject, event: Event) -> bool:
        key = (subject.uid, event.reason, event.message)
        now = self._clock()
        with self._lock:
            told = self._told.get(key)
            if told is not None and now - told < SILENT_SECONDS:
                return False
            self._told[key] = now
            self._told.move_to_end(key)
            while len(self._told) > MAX_REMEMBERED:
                self._told.popitem(last=False)
        return True
