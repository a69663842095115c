"""An OCI archive as builders write it: its digest, its settings, and the files of its layers.

Read here with the standard library, because the clients of registries on PyPI talk to registries and read no archives.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from hpi_core.digest import PREFIX, digest_of_bytes
from hpi_core.errors import Stop

OURS: Final = "opt/hpi/"
"""The first layer that has it is the first that is not the base's."""
MAX_DOCUMENT_BYTES: Final = 4 * 2**20


@dataclass(frozen=True)
class LayerFile:
    """One regular file of a layer."""

    path: str
    """Without a slash at its beginning."""
    size_bytes: int
    mode: int
    read: Callable[[], bytes]
    """Returns its content; only while the iteration stands at this file."""


@dataclass(frozen=True)
class OciArchive:
    """One image in one archive."""

    path: Path
    digest: str
    """`sha256:<hex>` of the manifest: what `NAME@sha256:…` names."""
    architecture: str
    """`amd64`, `arm64`."""
    config: dict[str, Any]
    """What containers start with: `User`, `Entrypoint`, `Env`, `Labels`."""
    layers: tuple[str, ...]
    """Digests of the layers, the base's first."""

    def added_files(self) -> Iterator[LayerFile]:
        """Yield the files that the image has beyond its base.

        Raises:
            Stop: No layer has them.
        """
        found = False
        for layer in self.layers:
            for file in self._files(layer):
                found = found or file.path.startswith(OURS)
                if found:
                    yield file
        if not found:
            raise Stop(f"{self.path} holds nothing below /{OURS}; the Dockerfile copies it there")

    def _files(self, layer: str) -> Iterator[LayerFile]:
        with contextlib.ExitStack() as opened:
            outer = opened.enter_context(tarfile.open(self.path))
            inner = opened.enter_context(tarfile.open(fileobj=outer.extractfile(_member(layer)), mode="r|*"))
            for one in inner:
                if one.isreg():
                    yield LayerFile(one.name.removeprefix("./"), one.size, one.mode, partial(_content, inner, one))


def read_archive(path: Path) -> OciArchive:
    """Return what an archive holds.

    Raises:
        Stop: It is no OCI archive of one image, or a document in it is not what its digest says.
    """
    try:
        with tarfile.open(path) as archive:
            index = json.loads(_document(archive, "index.json"))
            [described] = index["manifests"]
            manifest = json.loads(_blob(archive, described["digest"]))
            settings = json.loads(_blob(archive, manifest["config"]["digest"]))
            layers = tuple(one["digest"] for one in manifest["layers"])
        return OciArchive(path, described["digest"], settings["architecture"], settings["config"], layers)
    except (tarfile.TarError, OSError, ValueError, KeyError, TypeError) as error:
        raise Stop(f"{path} cannot be read as an OCI archive of one image: {error!r}; build it anew") from error


def _blob(archive: tarfile.TarFile, digest: str) -> bytes:
    content = _document(archive, _member(digest))
    if digest_of_bytes([content]) != digest:
        raise ValueError(f"{digest} is another document than its name says")
    return content


def _document(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is no file")
    with file:
        return file.read(MAX_DOCUMENT_BYTES)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None  # noqa: S101 - it is a regular file
    return file.read()


def _member(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix(PREFIX)}"
