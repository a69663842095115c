"""The table of `configs/knowledge`, from its parsed file; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hpi_agent.select.knowledge import Borrowing, Defect, Knowledge
from hpi_core.errors import Bug
from hpi_core.formats import DEVICE_KINDS

KNOWLEDGE_FORMAT: Final = 1

SECTIONS: Final = (
    "format",
    "source",
    "environments",
    "letters",
    "fails_on",
    "beyond",
    "unknown",
    "borrowed",
    "fails_with",
    "defects",
    "models",
)

NO_ROW: Final = "-"
"""Stands in a row for an environment that the table says nothing about."""


def read_knowledge(document: Mapping[str, Any]) -> Knowledge:
    """Return the table of a parsed file.

    Raises:
        Bug: The file, which ships with the project, is malformed; the text names the place.
    """
    if set(document) != set(SECTIONS):
        raise Bug(f"the knowledge table must have exactly the keys {list(SECTIONS)}, got {list(document)}")
    if document["format"] != KNOWLEDGE_FORMAT:
        raise Bug(f"the knowledge table must have format {KNOWLEDGE_FORMAT}, got {document['format']!r}")
    letters = _words("letters", document["letters"])
    flags = _words("fails_on", document["fails_on"])
    environments = _texts("environments", document["environments"])
    ways = {*letters.values(), *_texts("beyond", document["beyond"])}
    rows: dict[str, tuple[tuple[str, ...] | None, ...]] = {}
    fails_on: dict[str, tuple[str, ...]] = {}
    groups: dict[str, str] = {}
    for group, models in _mapping("models", document["models"]).items():
        for name, written in _mapping(f"models.{group}", models).items():
            place = f"models.{group}.{name}"
            if name in rows:
                raise Bug(f"{place}: the model has a row in models.{groups[name]} already")
            orders, failures = _row(place, written, len(environments))
            rows[name] = tuple(_order(place, order, letters) for order in orders)
            fails_on[name] = tuple(_named(place, flag, flags) for flag in failures)
            groups[name] = group
    return Knowledge(
        environments=environments,
        rows=rows,
        fails_on=fails_on,
        unknown=_unknown(document["unknown"], ways),
        source=str(document["source"]),
        groups=groups,
        defects=_defects(document["defects"], ways, set(groups.values())),
        borrowed=_borrowed(document["borrowed"], ways, set(environments)),
        fails_with=_fails_with(document["fails_with"], letters, set(rows)),
    )


def _row(place: str, written: Any, width: int) -> tuple[list[str], str]:
    if not isinstance(written, list) or len(written) not in (width, width + 1):
        raise Bug(f"{place}: must be a list of {width} orders and perhaps what it fails on, got {written!r}")
    if not all(isinstance(cell, str) and cell for cell in written):
        raise Bug(f"{place}: every order must be text that is not empty, got {written!r}")
    return written[:width], "".join(written[width:])


def _order(place: str, written: str, letters: Mapping[str, str]) -> tuple[str, ...] | None:
    if written == NO_ROW:
        return None
    if len(set(written)) != len(written):
        raise Bug(f"{place}: {written!r} names a backend twice")
    return tuple(_named(place, letter, letters) for letter in written)


def _unknown(written: Any, backends: set[str]) -> dict[str, tuple[str, ...]]:
    orders = {key: _texts(f"unknown.{key}", order) for key, order in _mapping("unknown", written).items()}
    if "aarch64" not in orders:
        raise Bug("unknown: the order of aarch64 is missing, which counts for every architecture that is not named")
    for architecture, order in orders.items():
        for backend in order:
            _known(f"unknown.{architecture}", backend, backends)
    return orders


def _defects(written: Any, backends: set[str], groups: set[str]) -> tuple[Defect, ...]:
    if not isinstance(written, list):
        raise Bug(f"defects: must be a list, got {written!r}")
    return tuple(_defect(f"defects[{index}]", one, backends, groups) for index, one in enumerate(written))


def _defect(place: str, written: Any, backends: set[str], groups: set[str]) -> Defect:
    found = _mapping(place, written)
    if set(found) != {"backend", "versions", "groups", "reason"}:
        raise Bug(f"{place}: must have exactly the keys backend, versions, groups and reason, got {list(found)}")
    named = _texts(f"{place}.groups", found["groups"])
    for group in named:
        _known(f"{place}.groups", group, groups)
    _known(f"{place}.backend", found["backend"], backends)
    return Defect(found["backend"], _texts(f"{place}.versions", found["versions"]), named, str(found["reason"]))


def _borrowed(written: Any, backends: set[str], environments: set[str]) -> tuple[Borrowing, ...]:
    if not isinstance(written, list):
        raise Bug(f"borrowed: must be a list, got {written!r}")
    return tuple(_borrowing(f"borrowed[{index}]", one, backends, environments) for index, one in enumerate(written))


def _borrowing(place: str, written: Any, backends: set[str], environments: set[str]) -> Borrowing:
    found = _mapping(place, written)
    if set(found) != {"environment", "from", "backends", "reason"}:
        raise Bug(f"{place}: must have exactly the keys environment, from, backends and reason, got {list(found)}")
    for key in ("environment", "from"):
        _known(f"{place}.{key}", found[key], environments)
    named = _texts(f"{place}.backends", found["backends"])
    for backend in named:
        _known(f"{place}.backends", backend, backends)
    return Borrowing(found["environment"], found["from"], named, str(found["reason"]))


def _fails_with(written: Any, letters: Mapping[str, str], models: set[str]) -> dict[str, Mapping[str, frozenset[str]]]:
    found: dict[str, Mapping[str, frozenset[str]]] = {}
    for device, failing in _mapping("fails_with", written).items():
        place = f"fails_with.{device}"
        _known(place, device, set(DEVICE_KINDS))
        named = {
            _named(place, letter, letters): frozenset(_texts(f"{place}.{letter}", names))
            for letter, names in _mapping(place, failing).items()
        }
        for name in frozenset[str]().union(*named.values()):
            _known(place, name, models)
        found[device] = named
    return found


def _named(place: str, letter: str, names: Mapping[str, str]) -> str:
    _known(place, letter, set(names))
    return names[letter]


def _known(place: str, value: Any, allowed: set[str]) -> None:
    if value not in allowed:
        raise Bug(f"{place}: {value!r} is none of {sorted(allowed)}")


def _mapping(place: str, written: Any) -> Mapping[str, Any]:
    if not isinstance(written, Mapping) or not all(isinstance(key, str) for key in written):
        raise Bug(f"{place}: must be a mapping with text as keys, got {written!r}")
    return written


def _words(place: str, written: Any) -> dict[str, str]:
    words = dict(_mapping(place, written))
    if not all(len(letter) == 1 and isinstance(word, str) for letter, word in words.items()):
        raise Bug(f"{place}: must name one word for each letter, got {written!r}")
    return words


def _texts(place: str, written: Any) -> tuple[str, ...]:
    if (
        not isinstance(written, Sequence)
        or isinstance(written, str)
        or not all(isinstance(one, str) for one in written)
    ):
        raise Bug(f"{place}: must be a list of texts, got {written!r}")
    return tuple(written)
