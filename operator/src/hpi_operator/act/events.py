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

from hpi_core.digest import digest_of_json
from hpi_core.errors import HpiError
from hpi_core.moments import fine_stamp
from hpi_operator.kube.api import Api
from hpi_operator.kube.errors import Conflict, NotLeading
from hpi_operator.plan.intent import Event, ObjectKey

log: Final = logging.getLogger(__name__)

REPORTER: Final = "hpi-operator"
MAX_REMEMBERED: Final = 4_096
SILENT_SECONDS: Final = 600.0
"""The same event about the same object is not told again within this time."""
MAX_NOTE_BYTES: Final = 1_000
"""The API server takes 1,024."""
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
        moment = fine_stamp(self._now())
        name = digest_of_json([subject.uid, event.reason, event.message, moment]).partition(":")[2][:16]
        regarding = {
            "apiVersion": subject.key.api_version,
            "kind": subject.key.kind,
            "name": subject.key.name,
            "uid": subject.uid,
            **({"namespace": subject.key.namespace} if subject.key.namespace else {}),
        }
        document = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{subject.key.name[:200]}.{name}",
                # Events of objects without a namespace live in `default`, as kubectl looks for them there.
                "namespace": subject.key.namespace or "default",
            },
            "eventTime": moment,
            "reportingController": f"hpi.paddlex.io/{REPORTER}",
            "reportingInstance": REPORTER,
            "action": "Reconcile",
            "reason": event.reason,
            "type": event.type,
            "note": event.message.encode()[:MAX_NOTE_BYTES].decode("utf-8", "ignore"),
            "regarding": regarding,
        }
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
