"""Images as OCI archives: one made of a few files, and what the index of any says.

A library would be a builder of images; an image of one static program is two JSON documents beside a tar.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_core.errors import Refused

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
NAME: Final = "org.opencontainers.image.ref.name"
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
MAX_INDEX_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Indexed:
    """The one image of an archive."""

    digest: str
    """Of the manifest: `sha256:…`."""
    name: str | None
    """What the archive calls it, where it does."""


def write_archive(path: Path, name: str, programs: Mapping[str, Path], command: Sequence[str]) -> Indexed:
    """Write an image of some programs; the same programs give the same digest.

    Args:
        path: The archive.
        name: What the archive calls the image: `node.test/pod:1`.
        programs: Files by their absolute paths in the image; all may be executed by everyone.
        command: What a container runs unless told otherwise; its first word is the entry point.
    """
    layer = _tar({place.lstrip("/"): source.read_bytes() for place, source in sorted(programs.items())}, 0o755)
    config = _json(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": list(command[:1]), "Cmd": list(command[1:]), "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            "history": [{"created_by": "a test"}],
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": [_descriptor(LAYER, layer)],
        }
    )
    entry = {**_descriptor(MANIFEST, manifest), "annotations": {NAME: name}}
    files = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}),
        **{f"blobs/sha256/{_digest(blob).partition(':')[2]}": blob for blob in (layer, config, manifest)},
    }
    path.write_bytes(_tar(files, 0o644))
    return Indexed(_digest(manifest), name)


def read_archive(path: Path) -> Indexed:
    """Return what the index of an OCI archive says.

    Raises:
        Refused: It is no OCI archive, or holds none or several images.
    """
    try:
        with tarfile.open(path) as archive:
            member = next(one for one in archive if one.name.removeprefix("./") == "index.json")
            stream = archive.extractfile(member)
            if stream is None or member.size > MAX_INDEX_BYTES:
                raise Refused(f"index.json in {path} is no file of at most {MAX_INDEX_BYTES} bytes")
            entries = json.load(stream)["manifests"]
            found = [Indexed(entry["digest"], entry.get("annotations", {}).get(NAME)) for entry in entries]
    except (OSError, tarfile.TarError, StopIteration, ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"{path} is no OCI archive ({type(error).__name__}: {error}); `buildah push NAME oci-archive:FILE` or "
            "`docker buildx build --output type=oci,dest=FILE` writes one"
        ) from error
    if len(found) != 1:
        raise Refused(f"{path} holds {len(found)} images; the node imports archives of one")
    return found[0]


def _tar(files: Mapping[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
