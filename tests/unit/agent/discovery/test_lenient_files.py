"""Files whose absence, size or content must not stop detection."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.discovery.host_files import MAX_FILE_BYTES, HostFiles
from hpi_agent.discovery.lenient_files import MAX_WORD_CHARACTERS, LenientFiles, is_inside, word


@pytest.fixture
def files(tmp_path: Path) -> LenientFiles:
    return LenientFiles(HostFiles(tmp_path))


def test_an_absent_file_is_none_and_no_note(files: LenientFiles) -> None:
    assert (files.text("/absent"), files.names("/absent"), files.has("/absent"), files.fields("/absent", "=")) == (
        None,
        [],
        False,
        {},
    )
    assert files.files.notes == []


@pytest.mark.parametrize(("size", "notes"), [(MAX_FILE_BYTES, 0), (MAX_FILE_BYTES + 1, 1)])
def test_a_file_that_is_too_large_is_left_out_and_said(tmp_path: Path, size: int, notes: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)
    files = LenientFiles(HostFiles(tmp_path))

    text = files.text("/file")

    assert (text is None, len(files.files.notes)) == (notes == 1, notes)


def test_a_link_out_of_the_root_is_no_file(tmp_path: Path, files: LenientFiles) -> None:
    (tmp_path / "away").symlink_to("/etc")

    assert (files.text("/away"), files.names("/away"), files.has("/away"), files.resolved_name("/away")) == (
        None,
        [],
        False,
        "",
    )
    assert all(note.endswith("; it is left out") for note in files.files.notes)


def test_a_link_inside_the_root_resolves_to_the_name_of_its_end(tmp_path: Path, files: LenientFiles) -> None:
    (tmp_path / "lib.so.2.1").write_text("", encoding="utf-8")
    (tmp_path / "lib.so").symlink_to("lib.so.2.1")

    assert files.resolved_name("/lib.so") == "lib.so.2.1"


def test_of_fields_with_one_name_the_first_counts(tmp_path: Path, files: LenientFiles) -> None:
    (tmp_path / "file").write_text("a = 1\nno field\n b=2=3\na=4\n", encoding="utf-8")

    assert files.fields("/file", "=") == {"a": "1", "b": "2=3"}


@pytest.mark.parametrize("version", ["24.1.rc2", "8.0.RC3", "7.1.0.5.220", "550.54.15", "1" * 64])
def test_a_version_is_taken(files: LenientFiles, version: str) -> None:
    assert (files.version("/f", version), files.files.notes) == (version, [])


@pytest.mark.parametrize("value", ["", "v1", "1.0 beta", "1\x1b", "1" * 65, "$(id)", "../1"])
def test_what_is_no_version_is_left_out_and_said(files: LenientFiles, value: str) -> None:
    assert files.version("/f", value) is None
    assert len(files.files.notes) == 1


@pytest.mark.parametrize(
    ("written", "value"),
    [(b"A=1\0B=2\0", "2"), (b"AB=1\0B=\0", ""), (b"B\0XB=2\0", None), (b"", None), (b"B=a=b\0B=c\0", "a=b")],
)
def test_a_variable_is_found_by_its_whole_name(tmp_path: Path, written: bytes, value: str | None) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/environ").write_bytes(written)

    assert LenientFiles(HostFiles(tmp_path)).environment("B") == value


@given(st.text())
def test_a_word_is_short_and_harmless_or_none(text: str) -> None:
    got = word(text)

    assert got is None or (got.isascii() and got.isprintable() and 0 < len(got) <= MAX_WORD_CHARACTERS)


@pytest.mark.parametrize(
    ("path", "inside"),
    [("/opt/x", True), ("/", True), ("opt", False), ("", False), ("/a/../b", False), ("/a..b", True), ("/a\0", False)],
)
def test_a_path_is_inside_when_it_is_whole_and_never_goes_up(path: str, inside: bool) -> None:
    assert is_inside(path) is inside
