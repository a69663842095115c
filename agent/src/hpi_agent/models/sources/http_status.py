"""What the status of an answer means, and who acts next."""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import Final

from hpi_agent.models.sources.http_client import Answer
from hpi_core.errors import Overloaded, Retry, SourceFailed

BUSY: Final = (408, 425, 429, 500, 502, 503, 504)
"""Answers that say: not now."""

MAX_RETRY_AFTER_SECONDS: Final = 86_400


def raise_for_status(answer: Answer) -> None:
    """Raise what an answer other than a success means.

    Raises:
        Overloaded: The server asks to come again later.
        Retry: It fails now.
        SourceFailed: It refuses, or has nothing there.
    """
    status, place = answer.status, str(answer.url)
    if 200 <= status < 300:
        return
    if status in BUSY:
        seconds = retry_after(answer.headers)
        if seconds is not None:
            raise Overloaded(f"{place} answers {status} and asks to wait {seconds} s", seconds)
        raise Retry(f"{place} answers {status}")
    if status in (401, 403):
        raise SourceFailed(
            f"{place} answers {status}: it wants other credentials, or none that it was given may read this; name a "
            "Secret in credentialsSecretRef, or have its rights corrected"
        )
    if status in (404, 410):
        raise SourceFailed(f"{place} answers {status}: there is nothing; correct the source")
    raise SourceFailed(f"{place} answers {status}, which is neither a file nor a redirect; correct the source")


def retry_after(headers: Mapping[str, str]) -> int | None:
    """Return how many seconds an answer asks to wait, at least 1, or None when it does not say."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return min(max(1, int(text[:9])), MAX_RETRY_AFTER_SECONDS)
    # Imported where a server is busy: it takes longer than all the rest of this module.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return min(max(1, round(date.timestamp() - time())), MAX_RETRY_AFTER_SECONDS)
