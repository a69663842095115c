"""Versions and constraints on them, compared as people mean them."""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(r"[0-9]+|[A-Za-z]+")
_CONSTRAINT: Final = re.compile(r"^(==|!=|>=|<=|>|<|~=)(.+)$")

Sortable = tuple[tuple[int, int, str], ...]


def sortable(version: str) -> Sortable:
    """Return what versions are compared by: numbers as numbers, words before numbers: 8.0.RC3 comes before 8.0.0.

    Zeros at the end do not count: 8.0 is 8.0.0.
    """
    parts = [(1, int(part), "") if part.isdigit() else (-1, 0, part.lower()) for part in _PART.findall(version)]
    while parts and parts[-1] == (1, 0, ""):
        parts.pop()
    # The end stands between a word and a number: 8.0.RC3 < 8.0 < 8.0.1.
    return (*parts, (0, 0, ""))


def satisfies(version: str, constraint: str) -> bool:
    """Return whether a version satisfies every part of a constraint such as `>=1.2,<2`.

    `~=1.2.3` means `>=1.2.3` and the same leading parts but the last: PEP 440, "Compatible release".

    Raises:
        ValueError: The constraint is malformed.
    """
    return all(_satisfies(version, part.strip()) for part in constraint.split(","))


def _satisfies(version: str, part: str) -> bool:
    match = _CONSTRAINT.match(part)
    if match is None:
        raise ValueError(f"{part!r} is no constraint on a version; write it like '>=1.2'")
    operator, wanted = match.groups()
    ours, theirs = sortable(version), sortable(wanted)
    if operator == "~=":
        leading = wanted.split(".")[:-1]
        return ours >= theirs and version.split(".")[: len(leading)] == leading
    return {
        "==": ours == theirs,
        "!=": ours != theirs,
        ">=": ours >= theirs,
        "<=": ours <= theirs,
        ">": ours > theirs,
        "<": ours < theirs,
    }[operator]
