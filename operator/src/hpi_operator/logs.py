"""One JSON object per line: message, level, time, and the values that belong to it."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final

from hpi_core.json_lines import JsonLines

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


def formatter() -> JsonLines:
    """Return the formatter of every line: with what the thread's lines are about."""
    return JsonLines(lambda: _ABOUT.get({}))


def log_to_stderr(level: str) -> None:
    """Send every record of a level to standard error, one JSON object per line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # kopf tells at info what the operator tells itself; its warnings stay.
    for noisy in ("kopf", "urllib3", "kubernetes"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
