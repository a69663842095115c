"""What an entry of a store is on the wire: what its maker said of it, and digest and size of every file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from hpi_agent.exchange.plain_json import plain
from hpi_agent.store.manifest import MANIFEST, Seal
from hpi_agent.store.tree import PATHS
from hpi_core.api.base import ApiModel, JsonObject
from hpi_core.api.rules import Opaque
from hpi_core.api.v1alpha1.scalars import Bytes, Digest
from hpi_core.digest import digest_of_json

KINDS: Final[Mapping[str, str]] = {"engines": "engines", "converted": "converted", "models": "sources"}
"""Kind of an entry in the store, by its name on the wire. A model travels as it was fetched."""

MAX_FILES: Final = 64
FILE_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"
OWN_NAMES: Final = (MANIFEST, PATHS)

FileName = Annotated[str, Field(pattern=FILE_NAME)]


class ListedFile(ApiModel):
    """One file of an entry."""

    digest: Digest
    """Digest of its bytes; the name under which they travel."""

    bytes: Bytes
    """Its size. Unit: bytes."""


class EntryListing(ApiModel):
    """An entry of a store without its bytes."""

    about: Annotated[JsonObject, Opaque(), AfterValidator(plain)] = Field(default_factory=dict)
    """What its maker said of it."""

    files: Annotated[dict[FileName, ListedFile], Field(min_length=1, max_length=MAX_FILES)]
    """Its files by name."""

    @model_validator(mode="after")
    def _check_files(self) -> EntryListing:
        if any(name in OWN_NAMES for name in self.files):
            raise ValueError(f"files must not have a name of the store's own: {', '.join(OWN_NAMES)}")
        if len({(one.digest, one.bytes) for one in self.files.values()}) != len(self.blobs):
            raise ValueError("files of one digest must have one size")
        return self

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(one.bytes for one in self.files.values())

    @property
    def content_digest(self) -> str:
        """`sha256:<hex>` of names and digests of the files: what tells two entries of one key apart."""
        return digest_of_json({name: one.digest for name, one in self.files.items()})

    @property
    def blobs(self) -> dict[str, int]:
        """Size of each blob, by its digest."""
        return {one.digest: one.bytes for one in self.files.values()}


def listing_of(about: Mapping[str, object], files: Mapping[str, Seal]) -> EntryListing | None:
    """Return the listing of an entry; None: its files have names, or a number, that do not travel."""
    if not 1 <= len(files) <= MAX_FILES or not all(re.fullmatch(FILE_NAME, name) for name in files):
        return None
    listed = {name: ListedFile(digest=seal.digest, bytes=seal.size_bytes) for name, seal in files.items()}
    return EntryListing(about=dict(about), files=listed)
