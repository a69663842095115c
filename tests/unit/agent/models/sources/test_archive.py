"""Archives of models: what comes out of them, and what never does."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from hpi_agent.models.sources.archive import MAX_MEMBERS, SPARE_BYTES, unpack
from hpi_agent.models.sources.files import ModelDirectory
from hpi_core.errors import SourceFailed, TooLarge
from support.fetching import Fetcher, weights
from support.http_site import Site, cut_after

MODEL = {"inference.yml": b"Global: {}", "inference.json": b"program", "inference.pdiparams": b"weights of Paddle"}


def in_folder(folder: str, files: Mapping[str, bytes] = MODEL) -> dict[str, bytes]:
    return {f"{folder}/{name}": content for name, content in files.items()}


def tar(files: Mapping[str, bytes], *, mode: str = "w", links: Mapping[str, str] | None = None) -> bytes:
    """Return an archive of files, and of symbolic links."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o4777
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return stream.getvalue()


class Bench:
    """A folder where archives are unpacked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.target = folder / "target"
        self.target.mkdir()

    def unpack(self, *archives: bytes, max_bytes: int = 10**6, suffix: str = ".tar") -> dict[str, bytes]:
        paths = []
        for number, content in enumerate(archives):
            paths.append(self.folder / f"{number}{suffix}")
            paths[-1].write_bytes(content)
        unpack(paths, self.target, max_bytes)
        return {path.name: path.read_bytes() for path in self.target.iterdir()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("folder", ["PP-OCRv5_mobile_det_infer", "./PP-OCRv5_mobile_det_infer", ".", "a/b"])
def test_the_files_of_a_model_come_out_of_its_folder(folder: str, bench: Bench) -> None:
    assert bench.unpack(tar(in_folder(folder))) == MODEL


def test_the_files_of_a_model_may_lie_in_no_folder(bench: Bench) -> None:
    assert bench.unpack(tar(MODEL)) == MODEL


def test_a_compressed_archive_is_unpacked(bench: Bench) -> None:
    assert bench.unpack(tar(MODEL, mode="w:gz"), suffix=".tar.gz") == MODEL


def test_other_files_stay_in_the_archive(bench: Bench) -> None:
    held = {**in_folder("m"), "m/scaler.pkl": b"a program", "m/__MACOSX": b"", "README": b""}

    assert bench.unpack(tar(held)) == MODEL


def test_nothing_is_written_beside_the_folder_whatever_the_names(bench: Bench) -> None:
    hostile = ["../inference.yml", "/etc/inference.yml", "m/../../inference.yml"]

    for name in hostile:
        bench.unpack(tar({name: b"content"}))
        assert sorted(path.name for path in bench.folder.iterdir()) == ["0.tar", "target"]
        (bench.target / "inference.yml").unlink()


def test_a_file_of_an_archive_gets_no_mode_of_its_own(bench: Bench) -> None:
    bench.unpack(tar(MODEL))

    assert {path.stat().st_mode & 0o7111 for path in bench.target.iterdir()} == {0}


def test_links_are_never_made_nor_followed(bench: Bench, tmp_path: Path) -> None:
    links = {"inference.onnx": "/etc/passwd", "m/inference.yml": "../../secret"}

    assert bench.unpack(tar(MODEL, links=links)) == MODEL


def test_several_archives_make_one_model(bench: Bench) -> None:
    assert bench.unpack(*[tar({name: content}) for name, content in MODEL.items()]) == MODEL


@pytest.mark.parametrize("second", [in_folder("other"), MODEL], ids=["in another folder", "in the same folder"])
def test_files_of_several_models_are_refused(second: Mapping[str, bytes], bench: Bench) -> None:
    with pytest.raises(SourceFailed, match="holds files of several models"):
        bench.unpack(tar(MODEL), tar(second))


def test_an_archive_without_a_model_says_what_is_looked_for(bench: Bench) -> None:
    with pytest.raises(SourceFailed, match=r"0.tar: there is none of inference.yml, inference.onnx"):
        bench.unpack(tar({"README": b"words"}))


@pytest.mark.parametrize("damage", [b"no archive" * 100, tar(MODEL)[:600], b""])
def test_what_is_no_whole_archive_is_said_to_be_none(damage: bytes, bench: Bench) -> None:
    with pytest.raises(SourceFailed):
        bench.unpack(damage)


@pytest.mark.parametrize("cut", [10, 100, 150])
def test_a_compressed_archive_that_is_cut_is_said_to_be_none(cut: int, bench: Bench) -> None:
    with pytest.raises(SourceFailed, match="is no whole tar archive"):
        bench.unpack(tar({"inference.onnx": weights(5_000)}, mode="w:gz")[:cut], suffix=".tar.gz")


def test_a_compressed_archive_that_is_changed_is_said_to_be_none(bench: Bench) -> None:
    content = bytearray(tar({"inference.onnx": weights(50_000)}, mode="w:gz"))
    content[20_000] ^= 0xFF

    with pytest.raises(SourceFailed, match="is no whole tar archive"):
        bench.unpack(bytes(content), suffix=".tgz")


@pytest.mark.parametrize(("allowed", "works"), [(1_000, True), (999, False)])
def test_what_comes_out_has_a_largest_size(allowed: int, works: bool, bench: Bench) -> None:
    content = tar({"inference.yml": bytes(400), "inference.onnx": bytes(600)})

    if works:
        assert len(bench.unpack(content, max_bytes=allowed)) == 2
        return
    with pytest.raises(TooLarge):
        bench.unpack(content, max_bytes=allowed)


def test_an_archive_of_too_many_entries_is_not_read_to_its_end(bench: Bench) -> None:
    with pytest.raises(TooLarge, match=f"more than {MAX_MEMBERS} entries"):
        bench.unpack(tar(dict.fromkeys(map(str, range(MAX_MEMBERS + 1)), b"")))


def test_what_is_passed_over_may_not_grow_without_end(bench: Bench) -> None:
    content = tar({"ballast": bytes(SPARE_BYTES + 2_000_000), **MODEL}, mode="w:gz")

    with pytest.raises(TooLarge, match="has more bytes than allowed when it is unpacked"):
        bench.unpack(content, max_bytes=10**6, suffix=".tgz")


def test_an_archive_comes_from_a_server_as_a_model_directory(site: Site, fetcher: Fetcher) -> None:
    content = tar(in_folder("PP-OCRv5_mobile_det_infer", {**MODEL, "inference.pdiparams": weights()}))
    site.put("/PP-OCRv5_mobile_det_infer.tar", content)
    site.fail("/PP-OCRv5_mobile_det_infer.tar", cut_after(100_000))

    fetched = fetcher.fetch(f"{site.url}/PP-OCRv5_mobile_det_infer.tar")

    assert isinstance(fetched.located, ModelDirectory)
    assert fetcher.files(fetched) == {**MODEL, "inference.pdiparams": weights()}
    assert fetcher.left_over() == []


def test_an_archive_whose_compression_a_server_calls_a_coding_comes_as_it_is(site: Site, fetcher: Fetcher) -> None:
    site.put("/m.tar.gz", tar(MODEL, mode="w:gz"), headers={"Content-Encoding": "x-gzip"})

    assert fetcher.files(fetcher.fetch(f"{site.url}/m.tar.gz")) == MODEL


def test_a_broken_archive_publishes_nothing(site: Site, fetcher: Fetcher) -> None:
    site.put("/m.tar", tar(MODEL)[:700])

    with pytest.raises(SourceFailed):
        fetcher.fetch(f"{site.url}/m.tar")

    assert fetcher.entries() == []
