"""Bytes of a runtime under a header of ours: who made them, for what, and their digest.

What TensorRT reads it trusts: a plan of another release or another GPU may end the process. The header is read and
compared before any byte behind it reaches native code.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any, Final

MAGIC: Final = b"hpi sealed bytes 1\n"
MAX_HEADER_BYTES: Final = 2**20

_LENGTH: Final = struct.Struct("<I")


class Unsealed(ValueError):
    """The bytes are cut short, altered, or nothing that was sealed here."""


def seal(kind: str, facts: Mapping[str, Any], content: bytes | memoryview) -> bytes:
    """Return content under its header.

    Args:
        kind: What the content is, such as `tensorrt plan`.
        facts: What it was made for; JSON.
        content: What a runtime made.
    """
    header = json.dumps(
        {"kind": kind, "facts": dict(facts), "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        sort_keys=True,
    ).encode("utf-8")
    return b"".join((MAGIC, _LENGTH.pack(len(header)), header, content))


def unseal(kind: str, data: bytes) -> tuple[dict[str, Any], memoryview]:
    """Return the facts and the content, which is not copied.

    Raises:
        Unsealed: The bytes are not whole, or not of this kind.
    """
    start = len(MAGIC) + _LENGTH.size
    if not data.startswith(MAGIC) or len(data) < start:
        raise Unsealed("it does not begin with the header that is written here")
    (length,) = _LENGTH.unpack_from(data, len(MAGIC))
    if length > min(MAX_HEADER_BYTES, len(data) - start):
        raise Unsealed("it is cut short inside its header")
    try:
        header = json.loads(data[start : start + length])
        found, facts, size, digest = header["kind"], dict(header["facts"]), header["bytes"], header["sha256"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Unsealed(f"its header cannot be read: {error}") from error
    if found != kind:
        raise Unsealed(f"it holds a {found}, not a {kind}")
    content = memoryview(data)[start + length :]
    if len(content) != size or hashlib.sha256(content).hexdigest() != digest:
        raise Unsealed(f"its {len(content)} bytes are not the {size} that were sealed")
    return facts, content
