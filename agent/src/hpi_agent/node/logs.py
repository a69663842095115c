"""One JSON object per line on standard error: message, level, time, node, and the values that belong to it."""

from __future__ import annotations

import logging
import sys

from hpi_core.json_lines import JsonLines


def log_to_stderr(level: str, **always: str) -> None:
    """Send every record of a level to standard error, one JSON object per line with these values in each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(lambda: always))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They tell every address, and that they begin and end.
    for noisy in ("urllib3", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
