"""Sources of this machine: a file of an installed package, a directory, a directory of a mounted claim."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from hpi_agent.models.sources.files import (
    MAX_LISTED,
    Located,
    ModelDirectory,
    WeightsFile,
    checked_size,
    located,
    model_directory,
)
from hpi_core.errors import Refused, SourceFailed

SCHEMES: Final = ("package", "file", "pvc")

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_CLAIM: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def locate(source: str, claims: Path | None = None) -> Located:
    """Return the files that a source names; nothing is copied or changed.

    Args:
        source: `package://PACKAGE/PATH`, `file:///DIRECTORY` or `pvc://CLAIM/PATH`.
        claims: Folder below which claims are mounted, each under its name; None: there is none.

    Raises:
        Refused: The scheme is unknown, or the address is malformed or leaves its root.
        SourceFailed: The package, file, claim or directory is not there, or is no model.
    """
    try:
        parts = urlsplit(source)
        plain = not (parts.query or parts.fragment or parts.username or parts.port)
    except ValueError:
        plain = False
    if not plain or _CONTROL.search(unquote(source)):
        raise Refused(f"source {source!r} must be a plain address without user, port, ?, # and control characters")
    path = unquote(parts.path)
    try:
        if parts.scheme == "package":
            return _in_package(source, parts.netloc, path.lstrip("/"))
        if parts.scheme == "file":
            return _directory(source, parts.netloc, path)
        if parts.scheme == "pvc":
            return _in_claim(source, parts.netloc, path.lstrip("/"), claims)
    except (OSError, RuntimeError) as error:
        # RuntimeError: symbolic links in a circle, before Python 3.13.
        raise SourceFailed(f"source {source!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    raise Refused(f"source {source!r} has the scheme {parts.scheme or 'none'!r}; of this machine are {list(SCHEMES)}")


def _in_package(source: str, package: str, path: str) -> WeightsFile:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", package) or not path:
        raise Refused(f"source {source!r} must be package://PACKAGE/PATH with one import name and a path inside it")
    # A top-level package is found without running any of its code.
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:
        # The module `__main__` has no spec.
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise SourceFailed(f"source {source!r}: there is no installed Python package {package!r}; install it")
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    file = (root / path).resolve()
    if not file.is_relative_to(root):
        raise Refused(f"source {source!r} leaves the package {package!r}")
    if not file.is_file():
        there = sorted(entry.name for entry in file.parent.glob("*.onnx"))[:MAX_LISTED]
        raise SourceFailed(f"source {source!r}: {package} has no such file" + (f"; there are {there}" if there else ""))
    return WeightsFile(checked_size(source, file))


def _directory(source: str, host: str, path: str) -> ModelDirectory:
    if host not in ("", "localhost") or not path.startswith("/"):
        raise Refused(f"source {source!r} must be file:///DIRECTORY with an absolute path")
    directory = Path(path)
    if not directory.is_dir():
        raise SourceFailed(f"source {source!r}: there is no directory {directory}")
    return model_directory(source, directory)


def _in_claim(source: str, claim: str, path: str, claims: Path | None) -> Located:
    """Return what lies in a claim; unlike a directory of the user's own it may not lead out by a link."""
    if not _CLAIM.fullmatch(claim):
        raise Refused(f"source {source!r} must be pvc://CLAIM/PATH with the name of a PersistentVolumeClaim")
    root = None if claims is None else claims / claim
    if root is None or not root.is_dir():
        raise SourceFailed(
            f"source {source!r}: the claim {claim!r} is not mounted at {root or '--claims DIR'}; a cluster mounts it "
            "there; on one machine name a folder with a sub-folder for each claim with --claims DIR or $HPI_CLAIMS"
        )
    root = root.resolve()
    place = (root / path).resolve()
    if not place.is_relative_to(root):
        raise Refused(f"source {source!r} leaves the claim {claim!r}")
    if place.is_file() and place.suffix == ".onnx":
        return WeightsFile(checked_size(source, place))
    if not place.is_dir():
        there = sorted(entry.name for entry in place.parent.iterdir())[:MAX_LISTED] if place.parent.is_dir() else []
        raise SourceFailed(f"source {source!r}: the claim has no such directory or .onnx file; beside it are {there}")
    found = located(source, place)
    for entry in place.iterdir():
        if not entry.resolve().is_relative_to(root):
            raise Refused(f"source {source!r}: {entry.name} is a link that leaves the claim {claim!r}")
    return found
