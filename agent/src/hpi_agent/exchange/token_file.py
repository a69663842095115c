"""The token that a kubelet mounts into a pod, read anew each time: it is replaced before it expires."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from hpi_core.errors import Refused

MAX_TOKEN_BYTES: Final = 16_384
"""Tokens of pods have 1 to 2 kB."""


def read_token(path: Path) -> str:
    """Return the token of a file.

    Raises:
        Refused: It cannot be read, or holds no token: one line of 1 to 16,384 printable ASCII characters.
    """
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN_BYTES + 1).strip().decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"the token {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isprintable():
        raise Refused(f"the token {path} must be one line of 1 to {MAX_TOKEN_BYTES} bytes, got {len(token)}")
    return token
