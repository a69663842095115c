"""Wait for something to become so, for as long as it takes and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

Found = TypeVar("Found")

POLL_SECONDS: Final = 0.05


def eventually(look: Callable[[], Found], seconds: float = 60.0, *, pause_seconds: float = POLL_SECONDS) -> Found:
    """Return what looking gives as soon as it is true, not empty, not None.

    Args:
        look: Looks once. An assertion that fails inside means: not yet.
        seconds: How long to look; plenty, because nothing waits for it but a test that fails.
        pause_seconds: How long to wait between two looks; longer where a look costs much.

    Raises:
        AssertionError: It never became so; the text has what was seen last.
    """
    end = time.monotonic() + seconds
    seen: object = None
    while True:
        try:
            found = look()
            if found:
                return found
            seen = found
        except AssertionError as error:
            seen = error
        assert time.monotonic() < end, f"it never became so within {seconds:g} s; seen last: {seen!r}"
        time.sleep(pause_seconds)
