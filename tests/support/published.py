"""Compare a double with what a release of the runtime publishes: calls, their parameters, properties, enumerations."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

PUBLISHED: Final = Path(__file__).parents[1] / "doubles" / "published"


def releases_of(runtime: str) -> list[Path]:
    """Return the recorded releases of a runtime: `tensorrt`, `cuda`, `acl`."""
    return sorted(PUBLISHED.glob(f"{runtime}*.json"))


def read_release(path: Path) -> Mapping[str, Any]:
    """Return what a release publishes."""
    release: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {"properties": {}, "members": {}, **release}


def differences(double: Any, release: Mapping[str, Any], positions_alone: bool = False) -> list[str]:
    """Return what a double has that the runtime has not, or has otherwise; empty for an honest one.

    Args:
        double: A module or a namespace; its public names count.
        release: What the runtime publishes.
        positions_alone: Whether the runtime takes arguments by their position alone.
    """
    found = []
    for name, thing in vars(double).items():
        if not name.startswith("_"):
            found += list(_differences_of(name, thing, release, positions_alone))
    return found


def _differences_of(name: str, thing: Any, release: Mapping[str, Any], positions_alone: bool) -> Iterator[str]:
    if inspect.isclass(thing) and issubclass(thing, IntEnum):
        yield from _differences_of_members(name, thing, release)
    elif inspect.isclass(thing):
        for member_name, member in vars(thing).items():
            yield from _differences_of_member(name, member_name, member, release)
    elif inspect.isfunction(thing):
        yield from _differences_of_call(name, thing, release, positions_alone)


def _differences_of_members(name: str, thing: type[IntEnum], release: Mapping[str, Any]) -> Iterator[str]:
    if name in release["members"]:
        published = release["members"][name]
        yield from (f"{name}.{one.name} = {one.value}" for one in thing if published.get(one.name) != one.value)


def _differences_of_member(owner: str, name: str, member: Any, release: Mapping[str, Any]) -> Iterator[str]:
    full = f"{owner}.{name}"
    if isinstance(member, property):
        access = release["properties"].get(full, "")
        if "r" not in access or (member.fset is not None and "w" not in access):
            yield f"{full} is a property, published is {access or 'nothing'}"
    # What a program never makes itself has no constructor that would be published.
    elif inspect.isfunction(member) and (full in release["calls"] or not name.startswith("_")):
        yield from _differences_of_call(full, member, release, False)


def _differences_of_call(name: str, function: Any, release: Mapping[str, Any], positions_alone: bool) -> Iterator[str]:
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    names = [one.name for one in parameters]
    published = release["calls"].get(name)
    if published is None or names not in published:
        yield f"{name}({', '.join(names)}), published is {published}"
    if positions_alone and any(one.kind is not one.POSITIONAL_ONLY for one in parameters):
        yield f"{name} takes names, the runtime takes positions alone"
