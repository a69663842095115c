"""Artifacts for the registry of the tests: blobs and files go there with ORAS, odd manifests beside it."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
TAR: Final = "application/vnd.oci.image.layer.v1.tar"
TAR_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"


@dataclass(frozen=True)
class Layer:
    """One layer of a manifest."""

    content: bytes
    type: str
    annotations: Mapping[str, str] = field(default_factory=dict)

    def descriptor(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        known = {"mediaType": self.type, "digest": digest_of(self.content), "size": len(self.content)}
        return {**known, "annotations": dict(self.annotations)} if self.annotations else known


def digest_of(content: bytes) -> str:
    """Return `sha256:<hex>`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tar_of(files: Mapping[str, bytes], *, compressed: bool = False, links: Mapping[str, str] | None = None) -> bytes:
    """Return a tar archive with files, and symbolic links to paths."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    content = stream.getvalue()
    return gzip.compress(content, mtime=0) if compressed else content


def push_files(authority: str, name: str, files: Mapping[str, bytes], folder: str | None = None) -> str:
    """Push files with `oras push`, or one folder with all of them; return the manifest's digest.

    Args:
        authority: HOST:PORT of the registry.
        name: REPOSITORY:TAG.
        files: Content by file name.
        folder: Name of the folder that is pushed in place of the files, or None.
    """
    with _client(authority) as client, tempfile.TemporaryDirectory() as made:
        directory = Path(made, folder or "")
        directory.mkdir(exist_ok=True)
        for file, content in files.items():
            (directory / file).write_bytes(content)
        pushed = [str(directory)] if folder else [str(directory / file) for file in files]
        answer = client.push(f"{authority}/{name}", files=pushed, disable_path_validation=True, quiet=True)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["Docker-Content-Digest"])


def push_layers(authority: str, name: str, layers: Sequence[Layer], **manifest: Any) -> str:
    """Push layers as they are, under a manifest with them; return its digest.

    Args:
        authority: HOST:PORT of the registry.
        name: REPOSITORY:TAG, or REPOSITORY@DIGEST of the very manifest.
        layers: In order.
        manifest: Other fields of the manifest.
    """
    config = Layer(b"{}", EMPTY)
    for layer in (config, *layers):
        push_blob(authority, name, layer)
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), **manifest}
    return push_manifest(authority, name, {**body, "layers": [layer.descriptor() for layer in layers]})


def push_blob(authority: str, name: str, layer: Layer) -> None:
    """Push one blob."""
    with _client(authority) as client, tempfile.NamedTemporaryFile() as file:
        file.write(layer.content)
        file.flush()
        answer = client.upload_blob(file.name, f"{authority}/{name}", layer.descriptor())
        assert answer.status_code in (200, 201), answer.text


def push_manifest(authority: str, name: str, manifest: Mapping[str, Any]) -> str:
    """Push a manifest or an index as it is; return its digest."""
    content = json.dumps(manifest).encode("utf-8")
    repository, _, tag = name.partition(":")
    with _client(authority) as client:
        url = f"http://{authority}/v2/{repository}/manifests/{tag or digest_of(content)}"
        headers = {"Content-Type": str(manifest["mediaType"])}
        answer = client.do_request(url, "PUT", data=content, headers=headers)
        assert answer.status_code == 201, answer.text
    return digest_of(content)


@contextlib.contextmanager
def _client(authority: str) -> Iterator[Any]:
    # Half a second, and only the tests of registries need it.
    from oras.client import OrasClient

    client = OrasClient(hostname=authority, insecure=True)
    try:
        yield client
    finally:
        client.session.close()
