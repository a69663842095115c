"""Versions and constraints on them, compared as people mean them.

Ours because versions of drivers and toolkits (`550.54.15`, `23.0.rc3.b070`) do not keep to PEP 440, which `packaging`
reads.
"""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(r"\+|[0-9]+|[A-Za-z]+")
_CONSTRAINT: Final = re.compile(r"^(==|!=|>=|<=|>|<|~=)(.+)$")
_AFTER: Final = frozenset({"+", "post", "sp"})
"""What comes after the release that it follows; every other word comes before: dev first, then alpha, beta, rc."""

Sortable = tuple[tuple[int, int, str], ...]

_END: Final = (0, 0, "")
"""Stands between a word and a number: 8.0.RC3 < 8.0 < 8.0.1."""


def sortable(version: str) -> Sortable:
    """Return what versions are compared by: numbers as numbers, 8.0.RC3 before 8.0.0, 2.1.post1 after 2.1.

    Zeros at the end of the numbers do not count: 8.0 is 8.0.0, and 8.0.RC3 is 8.RC3.
    """
    parts: list[tuple[int, int, str]] = []
    for written in _PART.findall(version):
        if not written.isdigit():
            _drop_zeros(parts)
        parts.append(_part(written))
    _drop_zeros(parts)
    return (*parts, _END)


def _part(written: str) -> tuple[int, int, str]:
    if written.isdigit():
        return (2, int(written), "")
    word = written.lower()
    if word == "dev":
        return (-2, 0, word)
    return (1, 0, word) if word in _AFTER else (-1, 0, word)


def _drop_zeros(parts: list[tuple[int, int, str]]) -> None:
    while len(parts) > 1 and parts[-1] == (2, 0, ""):
        parts.pop()


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
        return ours >= theirs and sortable(".".join(version.split(".")[: len(leading)])) == sortable(".".join(leading))
    return {
        "==": ours == theirs,
        "!=": ours != theirs,
        ">=": ours >= theirs,
        "<=": ours <= theirs,
        ">": ours > theirs,
        "<": ours < theirs,
    }[operator]
