"""What is known of models before anything is measured: the table of `configs/knowledge`; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hpi_core.errors import Bug

KNOWLEDGE_FORMAT: Final = 1

SECTIONS: Final = ("format", "source", "environments", "letters", "fails_on", "unknown", "defects", "models")

NO_ROW: Final = "-"
"""Stands in a row for an environment that the table says nothing about."""


@dataclass(frozen=True)
class Defect:
    """A version of a runtime that is known to fail on a group of models, whatever the row says."""

    pseudo_backend: str
    versions: tuple[str, ...]
    groups: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Row:
    """What is known of one model in one environment."""

    order: tuple[str, ...]
    """Pseudo-backends, fastest first: `paddle_mkldnn` is the backend paddle with oneDNN."""
    known: bool
    """Whether the table has the model; False: `order` is that of the architecture."""
    fails_on: tuple[str, ...] = ()
    """What the model is known to fail on, in words: `oneDNN`."""
    defects: tuple[Defect, ...] = ()
    """Versions of runtimes that are known to fail on such models."""


@dataclass(frozen=True)
class Knowledge:
    """The table."""

    environments: tuple[str, ...]
    rows: Mapping[str, tuple[tuple[str, ...] | None, ...]]
    """Orders by model and environment; None where the table says nothing."""
    fails_on: Mapping[str, tuple[str, ...]]
    unknown: Mapping[str, tuple[str, ...]]
    """Orders by architecture for what the table does not know."""
    source: str
    groups: Mapping[str, str]
    """PaddleX's module of each model, such as `text_detection`."""
    defects: tuple[Defect, ...]

    def row(self, model_name: str, environment: str, architecture: str | None) -> Row:
        """Return what is known of a model.

        Args:
            model_name: PaddleX's name.
            environment: Such as `cpu_x64`; one that the table does not have is unknown for every model.
            architecture: Decides the order of what is unknown; of one that the table does not name, all backends are
                tried in the order of `aarch64`.
        """
        fails_on = self.fails_on.get(model_name, ())
        group = self.groups.get(model_name)
        defects = tuple(defect for defect in self.defects if group in defect.groups)
        orders = self.rows.get(model_name)
        if orders is not None and environment in self.environments:
            order = orders[self.environments.index(environment)]
            if order is not None:
                return Row(order, True, fails_on, defects)
        return Row(self.unknown.get(architecture or "", self.unknown["aarch64"]), False, fails_on, defects)


def environment_of(architecture: str | None) -> str:
    """Return the table's name for the processors of a machine: `cpu_x64`; others have no column."""
    return "cpu_x64" if architecture == "x86_64" else f"cpu_{architecture}"


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
        unknown=_unknown(document["unknown"], set(letters.values())),
        source=str(document["source"]),
        groups=groups,
        defects=_defects(document["defects"], set(letters.values()), set(groups.values())),
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
