"""Which plugin variants there are, what each fits, and which list of locked wheels belongs to which Python."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hpi_agent.plugins.interpreters import Interpreter, version_tuple
from hpi_core.digest import digest_of_bytes, digest_of_json
from hpi_core.errors import Bug, Refused
from hpi_core.spelling import did_you_mean

TABLE: Final = Path("plugins", "variants.yml")
"""Below the folder `configs`."""
_PIN: Final = re.compile(r"^([a-z0-9][a-z0-9-]*)==([^\s\\]+)", re.MULTILINE)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    holds: str
    architectures: list[str]
    glibc: str
    diskBytes: int
    selfTest: str
    selfTestSeconds: int
    lists: list[str] = []
    features: dict[str, str] = {}


@dataclass(frozen=True)
class LockedList:
    """One list of configs/locks, or several that belong together: exact versions and the SHA-256 of every wheel."""

    paths: tuple[Path, ...]
    python: str
    """Such as `3.11`."""
    digest: str
    """`sha256:<hex>` of the list's bytes; of several, of their digests in order (canonical JSON)."""
    versions: dict[str, str]
    """Version of every package, by name."""

    @property
    def name(self) -> str:
        """Names of the files, for people."""
        return ", ".join(path.name for path in self.paths)


@dataclass(frozen=True)
class Variant:
    """One plugin variant."""

    name: str
    holds: str
    """What it is for, in a few words."""
    architectures: tuple[str, ...]
    glibc: str
    """The oldest GNU C library that it runs with."""
    disk_bytes: int
    self_test: Path
    self_test_seconds: int
    own: tuple[LockedList, ...]
    """What it holds without any feature: one per Python, the newest Python first."""
    features: Mapping[str, tuple[LockedList, ...]]
    """What each feature adds, one per Python, by the feature's name."""
    chosen: tuple[str, ...] = ()
    """Names of features, in the order of the table."""

    @property
    def lists(self) -> tuple[LockedList, ...]:
        """What it holds with the chosen features: one per Python that all of them have, the newest first."""
        added = [{one.python: one for one in self.features[name]} for name in self.chosen]
        return tuple(
            _joined([locked, *(lists[locked.python] for lists in added)])
            for locked in self.own
            if all(locked.python in lists for lists in added)
        )

    def with_features(self, names: Iterable[str]) -> Variant:
        """Return the variant with these features, each named once or more, in any order.

        Raises:
            Refused: It has no such feature, or no Python has all of them.
        """
        wanted = set(names)
        for name in sorted(wanted - self.features.keys()):
            known = ", ".join(self.features) or "none"
            raise Refused(f"the plugin variant {self.name} has no feature {name!r}; it has {known}")
        found = replace(self, chosen=tuple(name for name in self.features if name in wanted))
        if not found.lists:
            raise Refused(f"no Python has all of {', '.join(found.chosen)} for the plugin variant {self.name}")
        return found

    def with_any_features(self) -> Iterator[Variant]:
        """Yield the variant with every choice of its features."""
        for count in range(len(self.features) + 1):
            for names in itertools.combinations(self.features, count):
                yield replace(self, chosen=names)

    def list_for(self, interpreter: Interpreter) -> LockedList:
        """Return the list of an interpreter's Python version.

        Raises:
            Bug: It has none; `problem_with` was not asked.
        """
        for locked in self.lists:
            if locked.python == interpreter.feature_version:
                return locked
        raise Bug(f"{self.name} has no list for Python {interpreter.feature_version}")

    @property
    def pythons(self) -> tuple[str, ...]:
        """Python versions that it can be installed with, the newest first."""
        return tuple(locked.python for locked in self.lists)

    @property
    def needs(self) -> str:
        """What an interpreter must be, for people."""
        return (
            f"{self.name} needs CPython {_either(self.pythons[::-1])}, 64 bit, with its modules venv and ensurepip, on "
            f"Linux on {_either(self.architectures)} with the GNU C library {self.glibc} or later"
        )


def read_variants(configs: Path) -> dict[str, Variant]:
    """Return all variants by name.

    Args:
        configs: The folder `configs`.

    Raises:
        Bug: The table or a list is missing or malformed: the package is installed incompletely.
    """
    try:
        rows = yaml.safe_load((configs / TABLE).read_text(encoding="utf-8"))
        return {name: _variant(name, _Row.model_validate(row), configs) for name, row in rows.items()}
    except (OSError, ValidationError, yaml.YAMLError) as error:
        raise Bug(f"the table of plugin variants {configs / TABLE} cannot be used: {error}") from error


def find_variant(name: str, configs: Path) -> Variant:
    """Return one variant.

    Raises:
        Refused: There is none of that name; the nearest one and all that are known are in the text.
    """
    variants = read_variants(configs)
    if name not in variants:
        near = did_you_mean(name, sorted(variants), [])
        raise Refused(f"no plugin variant is called {name!r}; known: {', '.join(sorted(variants))}{near}")
    return variants[name]


def problem_with(variant: Variant, interpreter: Interpreter) -> str | None:
    """Return why a variant cannot be installed with an interpreter, or None when it can."""
    found = f"is {interpreter.implementation} {interpreter.version}"
    if interpreter.implementation != "CPython" or interpreter.feature_version not in variant.pythons:
        return found
    if interpreter.free_threaded:
        return f"{found} without the GIL"
    if interpreter.platform != "linux" or interpreter.architecture not in variant.architectures:
        return f"{found} for {interpreter.platform} on {interpreter.architecture or 'an unknown machine'}"
    if interpreter.bits != 64:
        return f"{found} for {interpreter.bits} bit"
    if interpreter.glibc is None:
        return f"{found} with another C library than GNU's (musl, as on Alpine?)"
    if version_tuple(interpreter.glibc) < version_tuple(variant.glibc):
        return f"{found} with the GNU C library {interpreter.glibc}"
    if interpreter.lacks:
        return f"{found} without its module {interpreter.lacks}"
    return None


def _variant(name: str, row: _Row, configs: Path) -> Variant:
    parts = [{one.python: one for one in _read_lists(part, configs)} for part in row.lists or [name]]
    pythons = [python for python in parts[0] if all(python in lists for lists in parts)]
    own = tuple(_joined([lists[python] for lists in parts]) for python in pythons)
    features = {feature: _read_lists(part, configs) for feature, part in row.features.items()}
    self_test = configs / TABLE.parent / row.selfTest
    limits = (row.diskBytes, self_test, row.selfTestSeconds)
    return Variant(name, row.holds, tuple(row.architectures), row.glibc, *limits, own, features)


def _read_lists(purpose: str, configs: Path) -> tuple[LockedList, ...]:
    lists = [_read_list(path) for path in (configs / "locks").glob(f"{purpose}-py3*.txt")]
    if not lists:
        raise Bug(f"no list {purpose}-py3*.txt in {configs / 'locks'}")
    return tuple(sorted(lists, key=lambda locked: version_tuple(locked.python), reverse=True))


def _read_list(path: Path) -> LockedList:
    content = path.read_bytes()
    digits = path.stem.rpartition("-py")[2]
    versions = dict(_PIN.findall(content.decode("utf-8")))
    return LockedList((path,), f"{digits[0]}.{digits[1:]}", digest_of_bytes([content]), versions)


def _joined(lists: Sequence[LockedList]) -> LockedList:
    """Return several lists of one Python as one; one alone stays what it is, and keeps its digest."""
    if len(lists) == 1:
        return lists[0]
    versions = {name: version for locked in lists for name, version in locked.versions.items()}
    if len(versions) != sum(len(locked.versions) for locked in lists):
        raise Bug(f"{', '.join(locked.name for locked in lists)} are to be installed together and share a package")
    paths = tuple(path for locked in lists for path in locked.paths)
    return LockedList(paths, lists[0].python, digest_of_json([locked.digest for locked in lists]), versions)


def _either(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
