"""One JSON object per line on standard error: message, level, time, node, and the values that belong to it.

The operator's formatter cannot be imported here, and a logging library would be one more in every image.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any, Final

ORDINARY: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "taskName", "asctime"}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def __init__(self, **always: str) -> None:
        """Attach values to every line."""
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._always,
        }
        line |= {
            key: value for key, value in record.__dict__.items() if key not in ORDINARY and not key.startswith("_")
        }
        if record.exc_info is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def log_to_stderr(level: str, **always: str) -> None:
    """Send every record of a level to standard error, one JSON object per line with these values in each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(**always))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They tell every address, and that they begin and end.
    for noisy in ("urllib3", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
