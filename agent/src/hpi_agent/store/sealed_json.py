"""JSON documents of the store that carry the digest of their own content, so that a changed bit shows."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from typing import Any, Final

from hpi_agent.store.files import Unsound, open_file, read_whole
from hpi_core.digest import digest_of_json

DIGEST: Final = "digest"
"""The field that holds the digest of all the others, in canonical JSON."""


def sealed_json(document: Mapping[str, Any]) -> bytes:
    """Return a document with its digest, for people as well as for programs."""
    sealed = {**document, DIGEST: digest_of_json(dict(document))}
    return json.dumps(sealed, indent=1, ensure_ascii=False).encode("utf-8")


def read_sealed_json(name: str, directory: int, owners: Collection[int], max_bytes: int) -> dict[str, Any]:
    """Return a sealed document without its digest.

    Args:
        name: Of the file.
        directory: Descriptor of its directory.
        owners: Users whose file it may be.
        max_bytes: Largest file that is read.

    Raises:
        Unsound: The file is missing, somebody else's, too large, malformed, or not what was sealed.
    """
    descriptor = open_file(name, directory, owners)
    try:
        size_bytes = os.fstat(descriptor).st_size
        if size_bytes > max_bytes:
            raise Unsound(f"{name} has {size_bytes} bytes, at most {max_bytes} are read")
        content, _ = read_whole(name, descriptor, size_bytes)
    finally:
        os.close(descriptor)
    return _opened(name, content)


def _opened(name: str, content: bytes) -> dict[str, Any]:
    try:
        sealed: Any = json.loads(content)
        if not isinstance(sealed, dict):
            raise Unsound(f"{name} cannot be read: it holds {type(sealed).__name__}, not an object")
        document = {field: value for field, value in sealed.items() if field != DIGEST}
        digest = digest_of_json(document)
    except (ValueError, TypeError, RecursionError) as error:
        raise Unsound(f"{name} cannot be read: {error}") from error
    if sealed.get(DIGEST) != digest:
        raise Unsound(f"{name} has {digest}, it says {sealed.get(DIGEST)!r}")
    return document
