"""Publishing in a store: what is kept, what is found damaged and replaced, and what stops it."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hpi_agent.store.directory import (
    MANIFEST,
    Store,
    default_store_max_bytes,
    default_store_root,
    digest_of_file,
    find_damage,
)
from hpi_core.errors import Bug, Refused, SourceFailed, Stop
from support.publishing import FILES, KEY, content_of, write_model


def never(directory: Path) -> None:
    """Fail the test: nothing may be written."""
    raise AssertionError(f"{directory} was written")


def published(root: Path) -> Path:
    """Return a directory that was published in a store."""
    return Store(root).publish("models", KEY, write_model, about={"model": "det"})


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


def exchange_files(directory: Path) -> None:
    (directory / "inference.onnx").rename(directory / "third")
    (directory / "inference.yml").rename(directory / "inference.onnx")
    (directory / "third").rename(directory / "inference.yml")


def replace_by_a_pipe(directory: Path) -> None:
    (directory / "inference.yml").unlink()
    os.mkfifo(directory / "inference.yml")


def change_about(directory: Path) -> None:
    manifest = directory / MANIFEST
    manifest.write_text(manifest.read_text().replace('"model": "det"', '"model": "rec"'))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (flip_a_bit, "inference.onnx has sha256:"),
    "a truncated file": (
        lambda d: os.truncate(d / "inference.onnx", 7),
        "inference.onnx has 7 bytes, the manifest says 4000",
    ),
    "an empty file": (
        lambda d: os.truncate(d / "inference.yml", 0),
        "inference.yml has 0 bytes, the manifest says 110",
    ),
    "an extra file": (lambda d: (d / "extra").touch(), "holds ['extra', 'inference.onnx', 'inference.yml']"),
    "a missing file": (lambda d: (d / "inference.yml").unlink(), "holds ['inference.onnx'], the manifest lists"),
    "a symbolic link": (replace_by_a_link("inference.onnx"), "inference.onnx is not a regular file"),
    "a directory": (replace_by_a_directory, "inference.yml is not a regular file"),
    "no manifest": (lambda d: (d / MANIFEST).unlink(), "manifest.json is missing"),
    "an empty manifest": (lambda d: os.truncate(d / MANIFEST, 0), "manifest.json cannot be read"),
    "a manifest of bytes": (lambda d: (d / MANIFEST).write_bytes(b"\xff\xfe"), "manifest.json cannot be read"),
    "a manifest that is a list": (lambda d: (d / MANIFEST).write_text("[]"), "manifest.json cannot be read"),
    "a manifest without files": (lambda d: (d / MANIFEST).write_text("{}"), "manifest.json has sha256:"),
    "a manifest nested deep": (lambda d: (d / MANIFEST).write_text("[" * 100_000), "manifest.json cannot be read"),
    "a linked manifest": (replace_by_a_link(MANIFEST), "manifest.json is not a regular file"),
    "a linked directory": (replace_all_by_a_link, "is a symbolic link"),
    "a file in its place": (replace_all_by_a_file, "is not a directory"),
    "a changed word of the maker": (change_about, "manifest.json has sha256:"),
    "a file too many of them can write": (lambda d: (d / "inference.yml").chmod(0o666), "inference.yml can be written"),
    "a directory everybody can write": (lambda d: d.chmod(0o777), "can be written by everybody (mode 777)"),
    "two files exchanged": (exchange_files, "inference.onnx has 110 bytes, the manifest says 4000"),
    "a named pipe": (replace_by_a_pipe, "inference.yml is not a regular file"),
    "an empty directory": (empty, "manifest.json is missing"),
}


def test_a_published_directory_holds_what_was_written_and_a_manifest_of_it(tmp_path: Path) -> None:
    directory = published(tmp_path)

    assert directory == tmp_path / "models" / KEY.removeprefix("sha256:")
    assert content_of(directory) == FILES
    assert find_damage(directory) is None


def test_a_sound_directory_is_found_again_without_writing_anything_but_its_use(tmp_path: Path) -> None:
    directory = published(tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.glob("[!u]*/**")}

    assert Store(tmp_path).publish("models", KEY, never) == directory

    assert {path: path.lstat().st_mtime_ns for path in tmp_path.glob("[!u]*/**")} == before


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
        "put that right, or name another directory with --store DIR or $HPI_STORE"
    )


def test_a_full_device_stops_with_the_kernels_words_and_leaves_no_trace(tmp_path: Path) -> None:
    def fill(directory: Path) -> None:
        (directory / "small").write_bytes(b"small")
        # The kernel's own full device: every write to it fails for lack of space, whoever writes.
        Path("/dev/full").write_bytes(b"large")

    with pytest.raises(
        Stop, match=r"the store .* cannot be used: No space left on device; make room there \(hpi-agent"
    ):
        Store(tmp_path).publish("models", KEY, fill)

    assert not (tmp_path / "models").exists()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_kernel_file_system_that_takes_no_directories_stops_with_advice() -> None:
    with pytest.raises(Stop, match=r"the store /proc/store cannot be used: .*name another directory with --store DIR"):
        published(Path("/proc/store"))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_published_is_sound_whatever_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        directory = published(tmp_path)
    finally:
        os.umask(before)

    assert find_damage(directory) is None
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755 & ~umask


def test_an_entry_that_lies_under_the_name_of_another_is_damaged(tmp_path: Path) -> None:
    directory = published(tmp_path)
    other = directory.with_name("cd" * 32)

    directory.rename(other)

    damage = find_damage(other)
    assert damage == f"manifest.json belongs to models {KEY}, this is models sha256:{other.name}"


def test_files_of_a_user_who_is_not_trusted_are_damage(tmp_path: Path) -> None:
    directory = published(tmp_path)

    damage = find_damage(directory, owners=frozenset({os.geteuid() + 1}))

    assert damage == f"{directory.name} belongs to user {os.geteuid()}, trusted are [{os.geteuid() + 1}]"


@pytest.mark.parametrize(
    ("kind", "key", "says"),
    [
        ("models", "ab" * 32, "a key of the store is sha256: and 64 hexadecimal digits"),
        ("models", "sha256:../../../etc", "a key of the store is sha256: and 64 hexadecimal digits"),
        ("models", "sha256:" + "AB" * 32, "a key of the store is sha256: and 64 hexadecimal digits"),
        ("models", KEY + "\n", "a key of the store is sha256: and 64 hexadecimal digits"),
        ("plugins", "../outside", "a name in the store begins with a letter or digit"),
        ("plugins", "..", "a name in the store begins with a letter or digit"),
        ("plugins", "n" * 201, "a name in the store begins with a letter or digit"),
        ("plugins", "", "a name in the store begins with a letter or digit"),
    ],
)
def test_a_key_that_is_none_is_refused_and_touches_nothing(kind: str, key: str, says: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    with pytest.raises(Refused, match=says):
        store.pin(kind, key)

    assert not store.root.exists()


def test_a_kind_that_the_store_does_not_have_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(
        Bug, match=r"the store has no kind 'tmp', it has \['sources', 'models', 'converted', 'engines', 'plugins'\]"
    ):
        Store(tmp_path).publish("tmp", KEY, never)


def test_what_is_said_about_an_entry_must_be_json(tmp_path: Path) -> None:
    with pytest.raises(Bug, match=r"what is said about sha256:abab.* must be JSON"):
        Store(tmp_path).publish("models", KEY, write_model, about={"path": tmp_path})

    assert not (tmp_path / "models").exists()


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


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [(None, 20 * 2**30), ("", 20 * 2**30), ("0", 0), ("1000", 1000), ("10GiB", 10 * 2**30), ("1.5 kB", 1500)],
)
def test_the_size_of_the_store_is_what_the_environment_says(text: str | None, size_bytes: int) -> None:
    environment = {} if text is None else {"HPI_STORE_MAX_BYTES": text}

    assert default_store_max_bytes(environment) == size_bytes


@pytest.mark.parametrize("text", ["much", "-1", "10 gib", "1e9", "1.2345GiB", "GiB", "9" * 16])
def test_a_size_of_the_store_that_is_none_is_refused_by_the_name_of_its_variable(text: str) -> None:
    with pytest.raises(Refused, match=r"^\$HPI_STORE_MAX_BYTES: a size is a number with one of .*, got"):
        default_store_max_bytes({"HPI_STORE_MAX_BYTES": text})
