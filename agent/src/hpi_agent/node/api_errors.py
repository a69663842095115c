"""What the API server's answers mean to the agent."""

from __future__ import annotations

import re
from typing import Final

from hpi_core.errors import Refused, Retry


class Answered(Refused):
    """The API server refused a request.

    Attributes:
        code: Status of the answer.
    """

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


class NotThere(Answered):
    """There is no such object."""


class Conflict(Answered):
    """The object is another than the request was made for: changed since, replaced, or there already."""


class Away(Retry):
    """The API server does not answer, or not now.

    Attributes:
        after_seconds: When it wants to be asked again, as far as it says.
    """

    def __init__(self, message: str, after_seconds: float | None = None) -> None:
        self.after_seconds = after_seconds
        super().__init__(message)


FORBIDDEN: Final = 403

_LACKING: Final = re.compile(r'User ".*" cannot (\w+) resource "([^"]+)" in API group "([^"]*)"')


def missing_right(message: str) -> str | None:
    """Return the right that the API server misses in whoever asked: `patch hpinodes/status.hpi.paddlex.io`.

    None: it refuses for another reason, such as a policy.
    """
    found = _LACKING.search(message)
    if found is None:
        return None
    return f"{found[1]} {found[2]}{'.' if found[3] else ''}{found[3]}"


PASSING = frozenset({408, 410, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed. 410 ends a watch, which is begun anew."""


def problem_of(what: str, code: int, message: str, after_seconds: float | None) -> Answered | Away:
    """Return the error of an answer."""
    text = f"{what}: {code} {message}"
    if code in PASSING:
        return Away(text, after_seconds)
    kinds: dict[int, type[Answered]] = {404: NotThere, 409: Conflict}
    return kinds.get(code, Answered)(text, code)
