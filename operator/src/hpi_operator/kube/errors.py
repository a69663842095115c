"""What the API server may answer instead of what was asked, by who acts next.

Retry     Away: nobody answers, too many requests, an internal error; the same call may succeed later
          Conflict: somebody wrote in between; look again and decide anew
          Expired: the version to go on from is gone; list anew
Refused   NotThere: there is no such object, or no such API
          Invalid: the object is not well formed
          Taken: another writer owns a field that was to be stated
Stop      Forbidden: a right is missing; the text says which
"""

from __future__ import annotations

from hpi_core.errors import Refused, Retry, Stop


class Away(Retry):
    """The API server does not answer, or not now.

    Attributes:
        after_seconds: When it asked to be called again; None: it did not say.
    """

    def __init__(self, message: str, after_seconds: float | None = None) -> None:
        self.after_seconds = after_seconds
        super().__init__(message)


class Conflict(Retry):
    """The object has changed since it was read."""


class Expired(Retry):
    """The resource version or the continue token is gone."""


class NotThere(Refused):
    """There is no such object or API."""


class Invalid(Refused):
    """The API server does not take the object."""


class Taken(Refused):
    """Server-side apply met fields that other writers own.

    Attributes:
        owners: The other writers' field managers, sorted.
    """

    def __init__(self, message: str, owners: tuple[str, ...]) -> None:
        self.owners = owners
        super().__init__(message)


class Forbidden(Stop):
    """The operator has no right to do this; the text names verb, resource and namespace as the API server does."""
