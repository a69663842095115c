"""Where the store lies and how large it may become, when nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hpi_agent.store.size import bytes_of
from hpi_core.errors import Refused

DEFAULT_MAX_BYTES: Final = 20 * 2**30


def default_store_root(environment: Mapping[str, str]) -> Path:
    """Return `$HPI_STORE`, else `$XDG_CACHE_HOME/hpi`, else `~/.cache/hpi` (XDG Base Directory Specification 0.8)."""
    if environment.get("HPI_STORE"):
        return Path(environment["HPI_STORE"])
    cache = environment.get("XDG_CACHE_HOME")
    # The specification says that a relative path in the variable must be ignored.
    base = Path(cache) if cache and Path(cache).is_absolute() else Path(environment.get("HOME", "/")) / ".cache"
    return base / "hpi"


def default_store_max_bytes(environment: Mapping[str, str]) -> int:
    """Return `$HPI_STORE_MAX_BYTES` (a number of bytes, or such as `10GiB`), else 20 GiB.

    Raises:
        Refused: The variable holds anything else.
    """
    text = environment.get("HPI_STORE_MAX_BYTES")
    if not text:
        return DEFAULT_MAX_BYTES
    try:
        return bytes_of(text)
    except Refused as error:
        raise Refused(f"$HPI_STORE_MAX_BYTES: {error}") from error
