"""Images for a node: an archive says what it holds, and a name is whole."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from hpi_core.errors import Refused
from support.node.containerd import split_name
from support.node.oci_archive import read_archive, write_archive


def a_program(tmp_path: Path, content: bytes = b"program") -> Path:
    path = tmp_path / "program"
    path.write_bytes(content)
    return path


def an_index(path: Path, *digests: str, name: str = "index.json") -> Path:
    document = json.dumps({"manifests": [{"digest": digest} for digest in digests]}).encode()
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(document)
        archive.addfile(member, io.BytesIO(document))
    return path


def test_an_archive_tells_the_digest_and_the_name_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"

    written = write_archive(path, "node.test/pod:1", {"/pod": a_program(tmp_path)}, ["/pod"])

    assert read_archive(path) == written
    assert written.name == "node.test/pod:1"


def test_every_blob_is_called_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "image.tar"
    write_archive(path, "node.test/pod:1", {"/pod": a_program(tmp_path)}, ["/pod"])

    with tarfile.open(path) as archive:
        blobs = {
            member.name.rpartition("/")[2]: archive.extractfile(member)
            for member in archive
            if member.name.startswith("blobs/sha256/")
        }
        contents = {name: stream.read() for name, stream in blobs.items() if stream is not None}

    assert len(contents) == 3
    assert {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()} == {
        name: name for name in contents
    }


@pytest.mark.parametrize(("content", "same"), [(b"program", True), (b"another", False)])
def test_the_digest_is_that_of_what_is_in_the_image(tmp_path: Path, content: bytes, same: bool) -> None:
    first = write_archive(tmp_path / "1.tar", "a", {"/pod": a_program(tmp_path)}, ["/pod"])

    second = write_archive(tmp_path / "2.tar", "b", {"/pod": a_program(tmp_path, content)}, ["/pod"])

    assert (first.digest == second.digest) is same


@pytest.mark.parametrize("digests", [(), ("sha256:1", "sha256:2")], ids=["none", "two"])
def test_an_archive_of_another_number_of_images_is_refused(tmp_path: Path, digests: tuple[str, ...]) -> None:
    path = an_index(tmp_path / "image.tar", *digests)

    with pytest.raises(Refused, match=f"holds {len(digests)} images; the node imports archives of one"):
        read_archive(path)


def test_the_archive_of_another_format_is_refused_with_how_to_write_one(tmp_path: Path) -> None:
    path = an_index(tmp_path / "image.tar", name="manifest.json")

    with pytest.raises(Refused, match=r"is no OCI archive .*buildah push NAME oci-archive:FILE"):
        read_archive(path)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is no OCI archive"):
        read_archive(a_program(tmp_path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("registry.example/agent:1", ("registry.example/agent", "1")),
        ("registry.example/some/agent", ("registry.example/some/agent", None)),
        ("localhost/agent:1", ("localhost/agent", "1")),
        ("registry:5000/agent", ("registry:5000/agent", None)),
        ("registry.example/agent:1@sha256:0", ("registry.example/agent", "1")),
    ],
)
def test_a_name_has_a_path_and_perhaps_a_tag(name: str, expected: tuple[str, str | None]) -> None:
    assert split_name(name, Path("image.tar")) == expected


@pytest.mark.parametrize("name", ["", "agent", "agent:1", "hpi/agent:1"])
def test_a_name_without_a_host_is_refused(name: str) -> None:
    with pytest.raises(Refused, match=r"name it HOST/PATH:TAG, registry.example/agent:1 say"):
        split_name(name, Path("image.tar"))
