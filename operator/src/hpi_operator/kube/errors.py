"""What the API server may answer instead of what was asked, by who acts next.

Retry     Away: nobody answers, too many requests, an internal error; the same call may succeed later
          Unknown: it does not know who asks; the credentials are read again
          Conflict: somebody wrote in between; look again and decide anew
          Expired: the version to go on from is gone; list anew
          NotLeading: another operator may lead by now; nothing was sent
Refused   NotThere: there is no such object, or no such API
          Invalid: the object is not taken as it is
          Ending: the namespace is being deleted
          Taken: another writer owns a field that was to be stated
Stop      Forbidden: a right is missing; the text says which
"""

from __future__ import annotations

from dataclasses import dataclass

from hpi_core.errors import Refused, Retry, Stop


class Away(Retry):
    """The API server does not answer, or not now.

    Attributes:
        after_seconds: When it asked to be called again; None: it did not say.
    """

    def __init__(self, message: str, after_seconds: float | None = None) -> None:
        self.after_seconds = after_seconds
        super().__init__(message)


class Unknown(Retry):
    """The API server does not know who asks: a token has run out, or was replaced."""


class Conflict(Retry):
    """The object has changed since it was read."""


class Expired(Retry):
    """The resource version or the continue token is gone."""


class NotLeading(Retry):
    """The election is lost, or may be: nothing is written any more."""


class NotThere(Refused):
    """There is no such object or API."""


class Invalid(Refused):
    """The API server does not take the object."""


class Ending(Refused):
    """The namespace is being deleted: nothing new can be made in it."""


@dataclass(frozen=True, order=True)
class FieldOwner:
    """Another writer that owns a field."""

    manager: str
    """Name of the field manager."""
    applies: bool
    """Whether it states the field by server-side apply, and so means it for good; else it wrote it once."""


class Taken(Refused):
    """Server-side apply met fields that other writers own.

    Attributes:
        owners: The other writers, sorted.
        fields: What they own, as the API server names it: `.spec.replicas`; sorted.
    """

    def __init__(self, message: str, owners: tuple[FieldOwner, ...], fields: tuple[str, ...]) -> None:
        self.owners = owners
        self.fields = fields
        super().__init__(message)


class Forbidden(Stop):
    """The operator has no right to do this; the text names verb, resource and namespace as the API server does.

    Attributes:
        right: Verb and resource, `patch services`, `list deployments.apps`; None where the answer does not name them.
    """

    def __init__(self, message: str, right: str | None = None) -> None:
        self.right = right
        super().__init__(message)
