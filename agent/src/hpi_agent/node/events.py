"""Events: a change of state told once, for `kubectl describe`; what cannot be told is logged and forgotten."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from hpi_agent.node.api import Api
from hpi_agent.node.paths import events_path
from hpi_core.api.base import GROUP
from hpi_core.digest import digest_of_json
from hpi_core.errors import HpiError
from hpi_core.moments import fine_stamp

log: Final = logging.getLogger(__name__)

REPORTER: Final = f"{GROUP}/hpi-agent"
"""`reportingController` of every agent's events; the admission policy knows it."""
MAX_NOTE_BYTES: Final = 1_000
"""The API server takes 1,024."""


class Events:
    """Tells events in the name of one node's agent."""

    def __init__(self, api: Api, node: str, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> None:
        """Prepare."""
        self._api = api
        self._node = node
        self._now = now

    def tell(self, about: Mapping[str, Any], action: str, reason: str, note: str, *, warning: bool = False) -> None:
        """Tell an event about an object.

        Args:
            about: The object, as the API server has it.
            action: What was done, one word.
            reason: Why, one word.
            note: The same for people.
            warning: Whether somebody should look.
        """
        metadata = about["metadata"]
        moment = fine_stamp(self._now())
        digits = digest_of_json([metadata["uid"], reason, note, moment]).partition(":")[2][:16]
        # Events of objects without a namespace live in `default`, where kubectl looks for them.
        namespace = metadata.get("namespace") or "default"
        regarding = {"apiVersion": about["apiVersion"], "kind": about["kind"]}
        regarding |= {key: metadata[key] for key in ("name", "namespace", "uid") if key in metadata}
        document = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name'][:200]}.{digits}", "namespace": namespace},
            "eventTime": moment,
            "reportingController": REPORTER,
            "reportingInstance": self._node,
            "action": action,
            "reason": reason,
            "type": "Warning" if warning else "Normal",
            "note": note.encode()[:MAX_NOTE_BYTES].decode("utf-8", "ignore"),
            "regarding": regarding,
        }
        try:
            self._api.create(events_path(namespace), document)
        except HpiError as error:
            log.warning("an event cannot be told", extra={"reason": reason, "cause": str(error)})
