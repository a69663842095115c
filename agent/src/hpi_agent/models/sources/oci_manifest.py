"""What lies in an OCI artifact: which manifest of an index, which layers of a manifest, and what file each one is.

    layer with org.opencontainers.image.title           one file of that name (ORAS)
        … and unpack "true", or a type with tar+gzip    a folder of that name, as a tar archive (ORAS)
    layer with org.cncf.model.filepath                  one file of that name, or a tar archive with it (ModelPack)
    layer without a name, of a type of archives         a tar archive (images of containers)

Source: OCI Image Specification 1.1.1 (manifest, image index, annotations); CNCF ModelPack, media types of version 1.
"""

from __future__ import annotations

import platform
import re
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from hpi_agent.models.sources.archive import is_archive
from hpi_agent.models.sources.files import MAX_LISTED, MODEL_FILES, OM, ONNX
from hpi_agent.models.sources.protocol import RemoteFile
from hpi_core.errors import SourceFailed

INDEX_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)

MAX_MANIFEST_BYTES: Final = 4 * 2**20
"""Largest manifest that is read: registries must take as much (Distribution Specification, "Pushing manifests")."""

TITLE: Final = "org.opencontainers.image.title"
UNPACK: Final = "io.deis.oras.content.unpack"
FILE_PATHS: Final = ("org.cncf.model.filepath", "org.cnai.model.filepath")
"""Annotations of ModelPack; the second is what they were called before 2025-06."""
MODEL_PACK: Final = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.([a-z.]+)\.v1\.(raw|tar|tar\+gzip|tar\+zstd)")
WEIGHTS: Final = ("weight", "weight.config", "layer")
"""Kinds of ModelPack's layers with files of a model; the others are doc, code and dataset."""

ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""Names of architectures in indexes."""

_ARCHIVE: Final = re.compile(r"[.+]tar(?:[.+](?:gzip|zstd))?$")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")

Digest = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]


class Platform(BaseModel):
    """For which machines one manifest of an index is."""

    architecture: Annotated[str, Field(max_length=64)] = ""
    os: Annotated[str, Field(max_length=64)] = ""


class Descriptor(BaseModel):
    """Something that has a digest: a layer, or a manifest of an index."""

    mediaType: Annotated[str, Field(max_length=256)]
    digest: Digest
    size: Annotated[int, Field(ge=0)]
    annotations: dict[str, str] | None = None
    platform: Platform | None = None

    def annotation(self, *names: str) -> str | None:
        """Return the first of some annotations that is there."""
        return next((value for name in names if (value := (self.annotations or {}).get(name))), None)


class Manifest(BaseModel):
    """An image manifest, or an index of some."""

    schemaVersion: Literal[2]
    mediaType: str | None = None
    artifactType: str | None = None
    layers: Annotated[list[Descriptor], Field(max_length=1_000)] | None = None
    manifests: Annotated[list[Descriptor], Field(max_length=1_000)] | None = None


def choose_manifest(source: str, manifests: list[Descriptor], machine: str | None = None) -> Descriptor:
    """Return the manifest of an index that is meant.

    One alone is; of several, the one for Linux on this machine's architecture. Attestations are none.

    Args:
        source: For people.
        manifests: Of the index.
        machine: As `platform.machine()` tells it; None: this one.

    Raises:
        SourceFailed: None is, or several are.
    """
    there = [one for one in manifests if "vnd.docker.reference.type" not in (one.annotations or {})]
    machine = machine or platform.machine()
    wanted = ("linux", ARCHITECTURES.get(machine, machine))
    fitting = [one for one in there if one.platform and (one.platform.os, one.platform.architecture) == wanted]
    for found in (there, fitting):
        if len(found) == 1:
            return found[0]
    shown = [f"{one.digest} {_platform(one)}".rstrip() for one in there[:MAX_LISTED]]
    raise SourceFailed(
        f"source {source!r} is an index of {len(there)} manifests, {len(fitting)} of them for {'/'.join(wanted)}; name "
        f"one with @DIGEST: {shown}"
    )


def files_of(source: str, layers: list[Descriptor]) -> tuple[RemoteFile, ...]:
    """Return the layers that files of a model come from.

    Args:
        source: For people.
        layers: Of the manifest.

    Raises:
        SourceFailed: No layer is one, a name leads out of its folder, or the files are of several models.
    """
    chosen = [found for number, layer in enumerate(layers) if (found := _file_of(source, number, layer)) is not None]
    folders = {folder for folder, file in chosen if not is_archive(file.path)}
    names = [file.path for _, file in chosen]
    if len(folders) > 1 or len(set(names)) < len(names):
        raise SourceFailed(
            f"source {source!r} holds files of several models: {sorted(set(names))} in {sorted(folders)}; push one "
            "model as one artifact"
        )
    if not chosen:
        seen = [layer.annotation(TITLE, *FILE_PATHS) or layer.mediaType for layer in layers[:MAX_LISTED]]
        raise SourceFailed(
            f"source {source!r} has no layer that is one of {', '.join(MODEL_FILES)} by its annotation {TITLE}, and no "
            f"tar archive; its layers: {seen}. Push the files by name: oras push REGISTRY/REPOSITORY:TAG FILE…"
        )
    return tuple(file for _, file in chosen)


def _file_of(source: str, number: int, layer: Descriptor) -> tuple[str, RemoteFile] | None:
    """Return folder and file of a layer, or None when it holds nothing of a model."""
    packed = MODEL_PACK.fullmatch(layer.mediaType)
    if packed is not None and packed[1] not in WEIGHTS:
        return None
    title = layer.annotation(TITLE, *FILE_PATHS)
    folder, name = _split(source, title) if title is not None else ("", "")
    known = _known_name(name)
    if _is_archive_layer(layer, title, known):
        if layer.mediaType.endswith("zstd"):
            raise SourceFailed(
                f"source {source!r}: layer {number + 1} is compressed by zstd, which is not read here; push it as tar "
                "or tar+gzip"
            )
        name = f"layer-{number + 1}.tar{'.gz' if layer.mediaType.endswith('gzip') else ''}"
        return "", _remote_file(name, layer)
    return None if known is None else (folder, _remote_file(known, layer))


def _known_name(name: str) -> str | None:
    """Return the name under which a file of a model is kept, or None when it is none."""
    if name in MODEL_FILES or is_archive(name):
        return name
    return ONNX if name.endswith(".onnx") else OM if name.endswith(".om") else None


def _is_archive_layer(layer: Descriptor, title: str | None, known: str | None) -> bool:
    packed = MODEL_PACK.fullmatch(layer.mediaType)
    if packed is not None:
        return packed[2] != "raw"
    if layer.annotation(UNPACK) == "true":
        return True
    # ORAS gives files the media type of tar archives too, unless it is told another; a file's title decides.
    if known is not None or (title is not None and layer.mediaType.endswith("tar")):
        return False
    return _ARCHIVE.search(layer.mediaType) is not None


def _split(source: str, title: str) -> tuple[str, str]:
    parts = title.removeprefix("./").split("/")
    if _CONTROL.search(title) or len(title) > 1_024 or any(part in ("", ".", "..") for part in parts):
        raise SourceFailed(
            f"source {source!r}: a layer is called {title[:200]!r}; names are relative, without '.', '..', backslashes "
            "and control characters. Push it again under another name"
        )
    return "/".join(parts[:-1]), parts[-1]


def _remote_file(name: str, layer: Descriptor) -> RemoteFile:
    return RemoteFile(name, layer.size, layer.digest, None, layer.digest)


def _platform(manifest: Descriptor) -> str:
    return f"({manifest.platform.os}/{manifest.platform.architecture})" if manifest.platform else ""
