"""The files that Paddle writes for TensorRT, as the bytes of a built form and as files again.

Never beside the model: PaddleX keeps them there under names that say nothing of weights, shapes, precision or device,
and takes whatever lies there.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.sealed_bytes import Unsealed, seal, unseal
from hpi_core.errors import EngineFailed

KIND: Final = "paddle tensorrt files"
CACHE_OF_OTHERS: Final = ".cache"
MAX_FILES: Final = 4096
_NAME: Final = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", re.ASCII)
"""A file, at most one folder deep; no name begins with a dot."""

log: Final = logging.getLogger(__name__)


def pack(directory: Path, facts: dict[str, Any]) -> bytes:
    """Return all files of a directory, sealed under what they were made for.

    Raises:
        EngineFailed: There is none, or a name that is not expected.
    """
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    names = [str(path.relative_to(directory)) for path in paths]
    strange = [name for name in names if _NAME.fullmatch(name) is None]
    if not names or len(names) > MAX_FILES or strange:
        raise EngineFailed(f"paddle wrote {len(names)} files for TensorRT, of which {strange} are unknown; report this")
    contents = [path.read_bytes() for path in paths]
    files = [[name, len(content)] for name, content in zip(names, contents, strict=True)]
    return seal(KIND, {**facts, "files": files}, b"".join(contents))


def unpack(request: EngineRequest, wanted: dict[str, Any], directory: Path) -> None:
    """Write the files of a built form into an empty directory.

    Args:
        request: What is asked, with the built form.
        wanted: What it has to have been made for; see `facts_of`.
        directory: Of this process alone.

    Raises:
        EngineFailed: The built form is damaged, or was made for something else; the text names both.
    """
    assert request.built is not None  # noqa: S101 - the caller looked
    try:
        facts, content = unseal(KIND, request.built)
    except Unsealed as error:
        raise EngineFailed(f"the built form of {request.model_path} cannot be used: {error}; build it again") from error
    files = facts.pop("files", [])
    if facts != wanted:
        raise EngineFailed(
            f"the built form of {request.model_path} was made for {facts}, {wanted} is asked for; build it again"
        )
    start = 0
    for name, size in files:
        if _NAME.fullmatch(name) is None:
            raise EngineFailed(f"the built form of {request.model_path} holds a file {name!r}; build it again")
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content[start : start + size])
        start += size


def facts_of(request: EngineRequest, release: str) -> dict[str, Any]:
    """Return what files are made for, beside the model and the device, which the store's key names."""
    # Lists, as JSON gives them back.
    shapes = sorted([one.name, list(one.smallest), list(one.usual), list(one.largest)] for one in request.profiles)
    return {"release": release, "precision": request.precision, "profiles": shapes}


def say_what_is_left(program: Path) -> None:
    """Log that files of another program's cache beside a model are not used."""
    cache = program.parent / CACHE_OF_OTHERS
    if cache.is_dir():
        log.warning(
            "files beside the model are ignored: nothing says which weights, shapes, precision and device they are for",
            extra={"directory": str(cache)},
        )
