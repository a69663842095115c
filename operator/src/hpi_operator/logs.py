"""One JSON object per line: message, level, time, and the values that belong to it."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any, Final

ORDINARY: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "taskName", "asctime"}

_ABOUT: Final[ContextVar[dict[str, Any]]] = ContextVar("about")
"""What the lines of this thread are about."""


@contextlib.contextmanager
def about(**values: Any) -> Iterator[None]:
    """Attach values to every line that this thread logs meanwhile: the object of a pass."""
    token = _ABOUT.set({**_ABOUT.get({}), **values})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def learned(**values: Any) -> None:
    """Attach more values to the lines that follow, as they become known: the generation of the object."""
    _ABOUT.get({}).update(values)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_ABOUT.get({}),
        }
        line |= {
            key: value for key, value in record.__dict__.items() if key not in ORDINARY and not key.startswith("_")
        }
        if record.exc_info is not None:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def log_to_stderr(level: str) -> None:
    """Send every record of a level to standard error, one JSON object per line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # kopf tells at info what the operator tells itself; its warnings stay.
    for noisy in ("kopf", "urllib3", "kubernetes"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
