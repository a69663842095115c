"""Fields of a decoded JSON document, read with their type checked; `path` names the field in every refusal.

An offending value is shown only when it is a scalar, and cut short: a list 1,000 deep has no printable form that is
safe to make, and an error text must not grow with the request.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Final

from hpi_core.errors import Refused, TooLarge

SHOWN_CHARACTERS: Final = 60
"""Longest part of a value from outside that an error text repeats."""

JSON_NAMES: Final[dict[type, str]] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "an integer",
    float: "a number with a fraction or exponent",
    bool: "true or false",
    type(None): "null",
}


def show(value: Any) -> str:
    """Return a value from outside for an error text: scalars cut to a length, containers by kind alone."""
    if isinstance(value, dict | list):
        return JSON_NAMES[type(value)]
    text = repr(value[: SHOWN_CHARACTERS + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` when one of the known words is close, else nothing."""
    close = difflib.get_close_matches(wrong[:SHOWN_CHARACTERS], list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def read_object(value: Any, path: str, known: tuple[str, ...]) -> dict[str, Any]:
    """Return an object without its null fields.

    Raises:
        Refused: The value is no object, or has a key that is not known.
    """
    if type(value) is not dict:
        raise Refused(f"{path} must be an object, got {show(value)}")
    for key in value:
        if key not in known:
            hint = suggest(key, known) or f"; known are {', '.join(known)}"
            raise Refused(f"{path} has the unknown key {show(key)}{hint}; own settings go into 'parameters'")
    return {key: field for key, field in value.items() if field is not None}


def read_list(value: Any, path: str, most: int) -> list[Any]:
    """Return an array of at most `most` items.

    Raises:
        Refused: The value is no array.
        TooLarge: It is longer than allowed.
    """
    if type(value) is not list:
        raise Refused(f"{path} must be an array, got {show(value)}")
    if len(value) > most:
        raise TooLarge(f"{path} has {len(value)} items; at most {most} are allowed")
    return value


def read_text(value: Any, path: str, most: int) -> str:
    """Return a string of 1 to `most` characters.

    Raises:
        Refused: The value is no string, or an empty one.
        TooLarge: It is longer than allowed.
    """
    if type(value) is not str or not value:
        raise Refused(f"{path} must be a string of 1 to {most} characters, got {show(value)}")
    if len(value) > most:
        raise TooLarge(f"{path} has {len(value)} characters; at most {most} are allowed")
    return value
