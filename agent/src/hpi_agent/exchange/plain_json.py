"""JSON that has a digest: what came over the wire and is to be kept or compared must be spelled in one way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from hpi_core.digest import canonical_json

Value = TypeVar("Value", bound=dict[str, Any])

MAX_DEPTH: Final = 64
"""Deepest nesting: decisions and settings have ten levels, and what digests them recurses."""


def plain(value: Value) -> Value:
    """Return a JSON value as it is.

    Raises:
        ValueError: It has no canonical spelling: it holds NaN, half of a surrogate pair, or is nested too deeply.
    """
    level: Iterable[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            break
    else:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    try:
        canonical_json(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"it has no canonical spelling: {error}") from error
    return value


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
