"""Which images there are: what each is built from, and the digest of what it is locked to; pure but for the lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpi_agent.plugins.variants import LockedList, Variant, find_variant
from hpi_core.digest import digest_of_bytes, digest_of_json
from hpi_core.errors import Refused

OPERATOR: Final = "hpi-operator"
AGENT: Final = "hpi-agent"
RUNTIME: Final = "hpi-cpu"
NAMES: Final = (OPERATOR, AGENT, RUNTIME)
CONVERT: Final = "convert"
"""The feature of an environment of its own."""
CONVERTER: Final = "paddle2onnx"


@dataclass(frozen=True)
class Wish:
    """What a person wants built."""

    configs: Path
    """The folder `configs`."""
    base: str
    """Name of the base image."""
    python: str
    """Python of the base, such as `3.11`."""
    features: tuple[str, ...]
    """Of the runtime."""
    version: str
    revision: str
    """Commit of the sources; empty: not known."""


@dataclass(frozen=True)
class Image:
    """One image."""

    name: str
    dockerfile: str
    """Path below the root of the project."""
    arguments: Mapping[str, str]
    """Build arguments, without those that the wheels need."""
    lists: tuple[Path, ...]
    """Everything that is installed in it or for it, as lists of configs/locks."""
    lock_digest: str
    """`sha256:<hex>` of what is in it."""
    environment_digest: str | None
    """What the environment says of itself; None: it says nothing."""


def images_of(wish: Wish) -> tuple[Image, ...]:
    """Return all images in the order in which they are built, the smallest first.

    Raises:
        Refused: There are no lists for that Python, or the runtime has no such feature.
    """
    return _operator(wish), _agent(wish, AGENT, ()), _agent(wish, RUNTIME, wish.features)


def chosen_images(images: Sequence[Image], names: Sequence[str]) -> tuple[Image, ...]:
    """Return the images of these names, all where none is named.

    Raises:
        Refused: There is none of that name.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise Refused(f"no image is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return tuple(image for image in images if not names or image.name in names)


def _operator(wish: Wish) -> Image:
    path = _list_path(wish, "operator")
    digest = digest_of_bytes([path.read_bytes()])
    arguments = _arguments(wish, digest)
    return Image(OPERATOR, "images/operator/Dockerfile", arguments, (_tools(wish), path), digest, None)


def _agent(wish: Wish, name: str, features: Sequence[str]) -> Image:
    variant = find_variant(name, wish.configs)
    unknown = [one for one in features if one != CONVERT and one not in variant.features]
    if unknown:
        known = ", ".join([*variant.features, CONVERT])
        raise Refused(f"{name} has no feature {', '.join(unknown)}; it has {known}")
    own = _locked(variant.with_features(one for one in features if one != CONVERT), wish.python)
    digest, lists = own.digest, [_tools(wish), _list_path(wish, "agent"), *own.paths]
    if CONVERT in features:
        converter = _locked(find_variant(CONVERTER, wish.configs), wish.python)
        # Another converter is another runtime, though the engines are the same.
        digest, lists = digest_of_json([own.digest, converter.digest]), [*lists, *converter.paths]
    # In one order, so that the same features give the same image.
    ordered = [one for one in (*variant.features, CONVERT) if one in features]
    arguments = {**_arguments(wish, digest), "VARIANT": name, "FEATURES": " ".join(ordered)}
    return Image(name, "images/agent/Dockerfile", arguments, tuple(dict.fromkeys(lists)), digest, own.digest)


def _arguments(wish: Wish, digest: str) -> dict[str, str]:
    return {"BASE": wish.base, "VERSION": wish.version, "REVISION": wish.revision, "LOCK_DIGEST": digest}


def _locked(variant: Variant, python: str) -> LockedList:
    for locked in variant.lists:
        if locked.python == python:
            return locked
    raise Refused(f"{variant.name} has no list for Python {python}, it has some for {', '.join(variant.pythons)}")


def _tools(wish: Wish) -> Path:
    return _list_path(wish, "tools")


def _list_path(wish: Wish, purpose: str) -> Path:
    path = wish.configs / "locks" / f"{purpose}-py{wish.python.replace('.', '')}.txt"
    if not path.is_file():
        raise Refused(f"there is no list {path.name} in configs/locks: Python {wish.python} is not supported")
    return path
