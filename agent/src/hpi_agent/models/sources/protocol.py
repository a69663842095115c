"""What every remote origin of model files can do; everything else is done once, by `hpi_agent.models.sources.download`.

    origin.resolve()             what would be read now: an identity that changes with the content, and the files
    origin.open(file, offset)    the bytes of exactly that file, from an offset on

An origin keeps nothing, writes nothing and tries nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from hpi_core.digest import digest_of_json
from hpi_core.errors import Retry


class Changed(Retry):
    """The server has other content now than when the origin was resolved; resolving it again may succeed."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of an origin."""

    path: str
    """One of `MODEL_FILES` (`hpi_agent.models.sources.files`), or the name of an archive; no folders."""
    size_bytes: int | None
    """None: the server does not say."""
    digest: str | None
    """`sha256:<hex>` that the origin itself states, or None."""
    identity: str | None
    """What the server changes when it changes the content (an ETag, a version, a digest); never a secret. None: it has
    nothing of the kind, so nothing can be resumed or remembered."""
    place: str = ""
    """Where the origin finds it; its own affair, and never shown."""


@dataclass(frozen=True)
class Resolved:
    """What an origin has now."""

    files: tuple[RemoteFile, ...]
    """At least one."""
    revision: str | None = None
    """An immutable name of all of it, such as a commit or the digest of a manifest, or None. It is part of the identity
    only where a file has none: a commit that leaves the files alone must not make them come again."""
    notes: tuple[str, ...] = ()
    """What a person should know, one sentence each."""

    @property
    def identity(self) -> str | None:
        """What changes with the content: a digest, or None where nothing tells."""
        listed = [[file.path, file.size_bytes, file.digest or file.identity or self.revision] for file in self.files]
        if any(identity is None for _, _, identity in listed):
            return None
        return digest_of_json(listed)


@dataclass(frozen=True)
class Body:
    """Bytes of one file."""

    offset: int
    """Where `chunks` begins: what was asked for, or 0 where the server knows no ranges. Unit: bytes."""
    chunks: Iterator[bytes]
    """The rest of the file. Raises Retry when it is cut."""


class Origin(Protocol):
    """One address and whatever is needed to read it."""

    @property
    def address(self) -> str:
        """The address for people: without any secret."""

    @property
    def key(self) -> str:
        """What tells this address from every other one; it is hashed and never shown, and holds no credential."""

    @property
    def is_immutable(self) -> bool:
        """Whether the address itself names content that never changes, such as one with a digest or a commit."""

    def resolve(self) -> Resolved:
        """Return what the origin has now.

        Raises:
            Retry: The server does not answer, or not now; `Overloaded` carries the seconds that it asks for.
            SourceFailed: It refuses, has nothing there, or nothing that is a model.
            Refused: The address or the credentials cannot be right.
        """

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Body]:
        """Return the bytes of a file as it was resolved.

        Args:
            file: One of `resolve().files`.
            offset: Of the first byte wanted, at least 0.

        Raises:
            Changed: The server has another file there now.
            Retry: The server does not answer, or not now; `Overloaded` carries the seconds that it asks for.
            SourceFailed: It refuses, or has nothing there.
        """
