"""Model sources of one machine: a file inside an installed package, or a directory."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from hpi_agent.models.paddle_files import PROGRAMS, WEIGHTS
from hpi_core.errors import Refused, SourceFailed

ONNX: Final = "inference.onnx"
PADDLE_FILES: Final = (*(name for name, _ in PROGRAMS), WEIGHTS)

SCHEMES: Final = ("package", "file")
MAX_MODEL_BYTES: Final = 2**31 - 1
"""Largest ONNX file: protobuf messages end there, and larger models use external data, which is refused."""

MAX_LISTED: Final = 20
"""Most file names listed in a message."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class WeightsFile:
    """One ONNX file that needs an `inference.yml` beside it before PaddleX can use it."""

    path: Path


@dataclass(frozen=True)
class ModelDirectory:
    """A directory with `inference.yml` and, beside it, `inference.onnx`, a model in Paddle's format, or both."""

    path: Path


def locate(source: str) -> WeightsFile | ModelDirectory:
    """Return the files that a source names; nothing is copied or changed.

    Args:
        source: `package://PACKAGE/PATH` or `file:///DIRECTORY`.

    Raises:
        Refused: The scheme is unknown, or the address is malformed or leaves its root.
        SourceFailed: The package, file or directory is not there, or is no model.
    """
    try:
        parts = urlsplit(source)
        plain = not (parts.query or parts.fragment or parts.username or parts.port)
    except ValueError:
        plain = False
    if not plain or _CONTROL.search(unquote(source)):
        raise Refused(f"source {source!r} must be a plain address without user, port, ?, # and control characters")
    try:
        if parts.scheme == "package":
            return _in_package(source, parts.netloc, unquote(parts.path).lstrip("/"))
        if parts.scheme == "file":
            return _directory(source, parts.netloc, unquote(parts.path))
    except (OSError, RuntimeError) as error:
        # RuntimeError: symbolic links in a circle, before Python 3.13.
        raise SourceFailed(f"source {source!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    raise Refused(
        f"source {source!r} has the scheme {parts.scheme or 'none'!r}; this release knows package://PACKAGE/PATH "
        "and file:///DIRECTORY"
    )


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
    return WeightsFile(_checked_size(source, file))


def _directory(source: str, host: str, path: str) -> ModelDirectory:
    if host not in ("", "localhost") or not path.startswith("/"):
        raise Refused(f"source {source!r} must be file:///DIRECTORY with an absolute path")
    directory = Path(path)
    if not directory.is_dir():
        raise SourceFailed(f"source {source!r}: there is no directory {directory}")
    has_onnx = (directory / ONNX).is_file()
    missing = [] if has_onnx or any((directory / name).is_file() for name in PADDLE_FILES) else [ONNX]
    missing += [] if (directory / "inference.yml").is_file() else ["inference.yml"]
    if missing:
        seen = sorted(entry.name for entry in directory.iterdir())[:MAX_LISTED]
        raise SourceFailed(
            f"source {source!r}: a model directory must hold inference.yml, and {ONNX} or a model in Paddle's format "
            f"({WEIGHTS} beside {' or '.join(name for name, _ in PROGRAMS)}); missing: {missing}, seen: {seen}"
        )
    if has_onnx:
        _checked_size(source, directory / ONNX)
    return ModelDirectory(directory)


def _checked_size(source: str, file: Path) -> Path:
    size = file.stat().st_size
    if not 0 < size <= MAX_MODEL_BYTES:
        raise SourceFailed(f"source {source!r}: {file.name} has {size} bytes; 1 to {MAX_MODEL_BYTES} are allowed")
    return file
