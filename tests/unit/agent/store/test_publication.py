"""Publishing in a store: what is kept, what is found damaged and replaced, and what stops it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hpi_agent.store.directory import MANIFEST, Store, default_store_root, digest_of_file, find_damage
from hpi_core.errors import Bug, Refused, SourceFailed, Stop
from support.publishing import FILES, KEY, content_of, write_model


def never(directory: Path) -> None:
    """Fail the test: nothing may be written."""
    raise AssertionError(f"{directory} was written")


def published(root: Path) -> Path:
    """Return a directory that was published in a store."""
    return Store(root).publish("models", KEY, write_model)


def flip_a_bit(directory: Path) -> None:
    data = bytearray((directory / "inference.onnx").read_bytes())
    data[len(data) // 2] ^= 0x10
    (directory / "inference.onnx").write_bytes(data)


def replace_by_a_link(name: str) -> Callable[[Path], None]:
    """Return a damage that leaves the same bytes under the same name, behind a symbolic link."""

    def damage(directory: Path) -> None:
        shutil.move(directory / name, directory.parent / name)
        (directory / name).symlink_to(directory.parent / name)

    return damage


def replace_all_by_a_file(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.touch()


def empty(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()


def replace_by_a_directory(directory: Path) -> None:
    (directory / "inference.yml").unlink()
    (directory / "inference.yml").mkdir()


def replace_all_by_a_link(directory: Path) -> None:
    shutil.move(directory, directory.parent / "elsewhere")
    directory.symlink_to(directory.parent / "elsewhere")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (flip_a_bit, "inference.onnx has sha256:"),
    "a truncated file": (lambda d: os.truncate(d / "inference.onnx", 7), "inference.onnx has sha256:"),
    "an empty file": (lambda d: os.truncate(d / "inference.yml", 0), "inference.yml has sha256:"),
    "an extra file": (lambda d: (d / "extra").touch(), "holds ['extra', 'inference.onnx', 'inference.yml']"),
    "a missing file": (lambda d: (d / "inference.yml").unlink(), "holds ['inference.onnx'], the manifest lists"),
    "a symbolic link": (replace_by_a_link("inference.onnx"), "inference.onnx is not a regular file"),
    "a directory": (replace_by_a_directory, "inference.yml is not a regular file"),
    "no manifest": (lambda d: (d / MANIFEST).unlink(), "the manifest cannot be read"),
    "an empty manifest": (lambda d: os.truncate(d / MANIFEST, 0), "the manifest cannot be read"),
    "a manifest of bytes": (lambda d: (d / MANIFEST).write_bytes(b"\xff\xfe"), "the manifest cannot be read"),
    "a manifest that is a list": (lambda d: (d / MANIFEST).write_text("[]"), "the manifest cannot be read"),
    "a manifest without files": (lambda d: (d / MANIFEST).write_text("{}"), "the manifest cannot be read"),
    "a manifest nested deep": (lambda d: (d / MANIFEST).write_text("[" * 100_000), "the manifest cannot be read"),
    "a linked manifest": (replace_by_a_link(MANIFEST), "manifest.json is a symbolic link"),
    "a linked directory": (replace_all_by_a_link, "is a symbolic link"),
    "a file in its place": (replace_all_by_a_file, "the manifest cannot be read"),
    "an empty directory": (empty, "the manifest cannot be read"),
}


def test_a_published_directory_holds_what_was_written_and_a_manifest_of_it(tmp_path: Path) -> None:
    directory = published(tmp_path)

    assert directory == tmp_path / "models" / KEY.removeprefix("sha256:")
    assert content_of(directory) == FILES
    assert find_damage(directory) is None


def test_a_sound_directory_is_found_again_without_writing_anything(tmp_path: Path) -> None:
    directory = published(tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}

    assert Store(tmp_path).publish("models", KEY, never) == directory

    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_two_keys_get_two_directories(tmp_path: Path) -> None:
    first = published(tmp_path)

    second = Store(tmp_path).publish("models", "sha256:" + "cd" * 32, write_model)

    assert first != second
    assert find_damage(first) is find_damage(second) is None


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_directory_goes_to_quarantine_with_the_reason_and_is_made_again(
    damage: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    directory = published(tmp_path)
    damage(directory)

    again = published(tmp_path)

    assert again == directory
    assert content_of(again) == FILES
    assert find_damage(again) is None
    kept, note = sorted((tmp_path / "quarantine").iterdir())
    assert note.name == f"{kept.name}.reason"
    assert reason in note.read_text()


def test_a_failing_source_leaves_no_trace_and_its_error_is_the_answer(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_bytes(b"half")
        raise SourceFailed("the source is gone")

    with pytest.raises(SourceFailed, match="the source is gone"):
        Store(tmp_path).publish("models", KEY, fail)

    assert not (tmp_path / "models").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_model_that_brings_a_file_named_as_the_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"manifest\.json is the store's own name"):
        Store(tmp_path).publish("models", KEY, lambda directory: (directory / MANIFEST).touch())

    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("irregular", [lambda path: path.mkdir(), lambda path: path.symlink_to("/etc/hostname")])
def test_only_regular_files_can_be_published(irregular: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(Bug, match=r"only regular files can be published, got \['odd'\]"):
        Store(tmp_path).publish("models", KEY, lambda directory: irregular(directory / "odd"))

    assert not (tmp_path / "models").exists()


def test_a_store_below_a_regular_file_stops_with_its_path_and_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(Stop) as stop:
        published(file / "store")

    assert str(stop.value) == (
        f"the store {file}/store cannot be used: Not a directory ({file}/store/locks); "
        "make room there, or name another directory with --store DIR or $HPI_STORE"
    )


def test_a_full_device_stops_with_the_kernels_words_and_leaves_no_trace(tmp_path: Path) -> None:
    def fill(directory: Path) -> None:
        (directory / "small").write_bytes(b"small")
        # The kernel's own full device: every write to it fails for lack of space, whoever writes.
        Path("/dev/full").write_bytes(b"large")

    with pytest.raises(Stop, match=r"the store .* cannot be used: No space left on device; make room there, or name"):
        Store(tmp_path).publish("models", KEY, fill)

    assert not (tmp_path / "models").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_kernel_file_system_that_takes_no_directories_stops_with_advice() -> None:
    with pytest.raises(Stop, match=r"the store /proc/store cannot be used: .*name another directory with --store DIR"):
        published(Path("/proc/store"))


def test_a_compile_cache_is_one_directory_per_key(tmp_path: Path) -> None:
    first = Store(tmp_path).compile_cache(KEY)

    again = Store(tmp_path).compile_cache(KEY)

    assert first == again == tmp_path / "compiled" / KEY.removeprefix("sha256:")
    assert first.is_dir()


def test_a_compile_cache_that_cannot_be_made_stops_with_advice(tmp_path: Path) -> None:
    (tmp_path / "compiled").touch()

    with pytest.raises(Stop, match=r"the store .* cannot be used: .*--store DIR"):
        Store(tmp_path).compile_cache(KEY)


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1])
def test_the_digest_of_a_file_is_that_of_its_bytes_at_every_chunk_boundary(size: int, tmp_path: Path) -> None:
    data = (bytes(range(256)) * 4097)[:size]
    (tmp_path / "file").write_bytes(data)

    assert digest_of_file(tmp_path / "file") == f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize(
    ("environment", "root"),
    [
        ({"HPI_STORE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"HPI_STORE": "", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/hpi"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/c"}, "/c/.cache/hpi"),
        ({"HOME": "/c"}, "/c/.cache/hpi"),
        ({}, "/.cache/hpi"),
    ],
    ids=["HPI_STORE", "XDG_CACHE_HOME", "relative XDG_CACHE_HOME", "HOME", "nothing"],
)
def test_the_store_is_where_the_environment_says(environment: dict[str, str], root: str) -> None:
    assert default_store_root(environment) == Path(root)
