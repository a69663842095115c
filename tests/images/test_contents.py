"""What an image weighs and what it is made of, read from an OCI archive."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from hpi_core.digest import digest_of_bytes
from hpi_core.errors import Stop
from image_build.contents import read_contents, table_of
from image_build.oci_archive import read_archive

SITE = "opt/hpi/environment/lib/python3.11/site-packages"
CONVERTER = "opt/hpi/plugins/plugins/paddle2onnx-1-2/lib/python3.11/site-packages"
BASE: Mapping[str, bytes] = {"usr/bin/python3": b"x" * 5000, "etc/passwd": b"root"}
ADDED: Mapping[str, bytes] = {
    f"{SITE}/one/__init__.py": b"1" * 100,
    f"{SITE}/one/__pycache__/__init__.cpython-311.pyc": b"2" * 50,
    f"{SITE}/single.py": b"3" * 10,
    f"{SITE}/__pycache__/single.cpython-311.pyc": b"4" * 5,
    f"{SITE}/one-1.0.dist-info/RECORD": b"one/__init__.py,sha256=x,100\nsingle.py,,\none-1.0.dist-info/RECORD,,\n",
    f"{CONVERTER}/one/__init__.py": b"5" * 7,
    f"{CONVERTER}/one-1.0.dist-info/RECORD": b"one/__init__.py,,\n",
    "opt/hpi/environment/hpi-plugin.json": b'{"variant": "v", "lockDigest": "d"}',
    "usr/share/hpi/sbom.cdx.json": b"{}",
}


def a_tar(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def an_archive(path: Path, *layers: Mapping[str, bytes]) -> Path:
    """Write an OCI archive of some layers, the base's first."""
    blobs: dict[str, bytes] = {}

    def stored(content: bytes) -> dict[str, str]:
        digest = digest_of_bytes([content])
        blobs[f"blobs/sha256/{digest.removeprefix('sha256:')}"] = content
        return {"digest": digest}

    written = [stored(a_tar(layer)) for layer in layers]
    config = stored(json.dumps({"architecture": "amd64", "config": {"User": "1"}}).encode())
    manifest = stored(json.dumps({"config": config, "layers": written}).encode())
    path.write_bytes(a_tar({"index.json": json.dumps({"manifests": [manifest]}).encode(), **blobs}))
    return path


def test_an_archive_is_known_by_the_digest_of_its_manifest(tmp_path: Path) -> None:
    archive = read_archive(an_archive(tmp_path / "x.tar", BASE, ADDED))

    with tarfile.open(tmp_path / "x.tar") as tar:
        [entry] = json.load(tar.extractfile("index.json") or io.BytesIO())["manifests"]
    assert (archive.digest, archive.architecture, archive.config) == (entry["digest"], "amd64", {"User": "1"})


def test_what_the_base_has_is_not_counted(tmp_path: Path) -> None:
    archive = read_archive(an_archive(tmp_path / "x.tar", BASE, BASE, ADDED, {"etc/passwd": b"hpi"}))

    contents = read_contents(archive.added_files())

    assert contents.size_bytes == sum(len(one) for one in ADDED.values()) + 3


def test_a_package_weighs_its_files_and_what_was_compiled_of_them(tmp_path: Path) -> None:
    archive = read_archive(an_archive(tmp_path / "x.tar", BASE, ADDED))

    contents = read_contents(archive.added_files())

    record, other = (len(ADDED[f"{site}/one-1.0.dist-info/RECORD"]) for site in (SITE, CONVERTER))
    assert contents.sizes["one 1.0"] == 165 + record
    assert contents.sizes["converter: one 1.0"] == 7
    assert contents.sizes["/opt/hpi/plugins"] == other
    assert sum(contents.sizes.values()) == contents.size_bytes


def test_the_table_names_the_heaviest_and_sums_up_the_rest(tmp_path: Path) -> None:
    contents = read_contents(read_archive(an_archive(tmp_path / "x.tar", ADDED)).added_files())

    lines = table_of(contents, 1).splitlines()

    assert [line.split("MB  ")[1] for line in lines] == [
        "one 1.0",
        f"{len(contents.sizes) - 1} others",
        "beyond the base",
    ]


def test_what_an_environment_says_of_itself_is_read(tmp_path: Path) -> None:
    contents = read_contents(read_archive(an_archive(tmp_path / "x.tar", ADDED)).added_files())

    assert (contents.plugin, contents.sbom) == ({"variant": "v", "lockDigest": "d"}, b"{}")


def test_an_image_without_a_list_of_its_parts_is_not_published(tmp_path: Path) -> None:
    without = {path: content for path, content in ADDED.items() if "sbom" not in path}

    with pytest.raises(Stop, match=r"no /usr/share/hpi/sbom.cdx.json"):
        read_contents(read_archive(an_archive(tmp_path / "x.tar", without)).added_files())


def test_an_image_of_something_else_is_refused(tmp_path: Path) -> None:
    archive = read_archive(an_archive(tmp_path / "x.tar", BASE))

    with pytest.raises(Stop, match="nothing below /opt/hpi/"):
        list(archive.added_files())


@pytest.mark.parametrize("content", [b"", b"no tar", a_tar({"index.json": b"[]"}), a_tar({"other": b"{}"})])
def test_what_is_no_archive_is_said_to_be_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(content)

    with pytest.raises(Stop, match="cannot be read as an OCI archive"):
        read_archive(tmp_path / "x.tar")


def test_a_manifest_that_was_altered_is_noticed(tmp_path: Path) -> None:
    path = an_archive(tmp_path / "x.tar", ADDED)
    path.write_bytes(path.read_bytes().replace(b'"layers": [', b'"layers": ["', 1))

    with pytest.raises(Stop, match="another document than its name says"):
        read_archive(path)
