"""Records of the standard library's logging as one JSON object per line, the same from operator and node agent.

The standard library has no such formatter, and a logging library would be one more in every image.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

ORDINARY: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "taskName", "asctime"}
"""What every record has; the rest was given as `extra`."""


class JsonLines(logging.Formatter):
    """Formats a record as one line: time, level, logger, message, the values that go with every line, and its own."""

    def __init__(self, always: Callable[[], Mapping[str, Any]]) -> None:
        """Prepare.

        Args:
            always: Gives the values that go with every line; asked for each.
        """
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._always(),
        }
        line |= {
            key: value for key, value in record.__dict__.items() if key not in ORDINARY and not key.startswith("_")
        }
        if record.exc_info is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
