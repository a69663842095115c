"""Canonical JSON and SHA-256, the way every key and digest of the project is written."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Final

PREFIX: Final = "sha256:"
PATTERN: Final = re.compile(r"^sha256:[0-9a-f]{64}$")


def canonical_json(value: Any) -> bytes:
    """Return the one spelling of a JSON value: sorted keys, no spaces, UTF-8, no NaN or infinity.

    Raises:
        ValueError: The value holds NaN or infinity, or text that is not Unicode (half of a surrogate pair).
        TypeError: The value is not made of JSON types; keys must be strings.
    """
    _refuse_keys_that_are_not_text(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")


def _refuse_keys_that_are_not_text(value: Any) -> None:
    # The json module writes the keys 1, True and None as text: {1: x} and {"1": x} would share one digest.
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"keys of canonical JSON must be strings, got {key!r}")
            _refuse_keys_that_are_not_text(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_keys_that_are_not_text(inner)


def digest_of_bytes(chunks: Iterable[bytes]) -> str:
    """Return `sha256:<hex>` of the concatenation of the chunks."""
    state = hashlib.sha256()
    for chunk in chunks:
        state.update(chunk)
    return PREFIX + state.hexdigest()


def digest_of_json(value: Any) -> str:
    """Return `sha256:<hex>` of the canonical JSON of a value."""
    return digest_of_bytes([canonical_json(value)])
