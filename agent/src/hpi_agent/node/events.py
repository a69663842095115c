"""Events: a change of state told once, for `kubectl describe`; what cannot be told is logged and forgotten."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from hpi_agent.node.api import Api
from hpi_agent.node.paths import events_path
from hpi_core.errors import HpiError
from hpi_core.event import News, Teller, event
from hpi_core.names import AGENT_REPORTER

log: Final = logging.getLogger(__name__)


class Events:
    """Tells events in the name of one node's agent."""

    def __init__(self, api: Api, node: str, now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)) -> None:
        """Prepare."""
        self._api = api
        self._teller = Teller(AGENT_REPORTER, node)
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
        news = News(action, reason, note, "Warning" if warning else "Normal")
        document = event(about, self._teller, news, self._now())
        try:
            self._api.create(events_path(document["metadata"]["namespace"]), document)
        except HpiError as error:
            log.warning("an event cannot be told", extra={"reason": reason, "cause": str(error)})
