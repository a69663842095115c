"""Reading below one root: bounded, regular files only, never out of the root, nothing that a terminal obeys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.discovery import detect
from hpi_agent.discovery.host_files import MAX_FILE_BYTES, HostFiles, printable, quoted
from hpi_core.errors import Refused, TooLarge
from support.host_trees import host_tree


@pytest.mark.parametrize("target", ["/etc/hostname", "../../outside", "../../../../../../../../etc/hostname"])
def test_a_link_out_of_the_root_is_refused_and_both_ends_are_named(tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").write_text("MemTotal: 1 kB\n", encoding="utf-8")
    root = host_tree(tmp_path, "hybrid-v1-unlimited", {"/proc/meminfo": None})
    (root / "proc/meminfo").symlink_to(target)

    with pytest.raises(Refused, match=r"proc/meminfo leads out of the host root to /.*(outside|hostname)"):
        detect(root)


def test_a_linked_directory_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "hybrid-v1-unlimited")
    (root / "sys/fs/cgroup/memory").rename(tmp_path / "memory")
    (root / "sys/fs/cgroup/memory").symlink_to(tmp_path / "memory")

    with pytest.raises(Refused, match="leads out of the host root"):
        detect(root)


def test_a_link_inside_the_root_is_followed(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "hybrid-v1-unlimited")
    (root / "proc/self").rename(root / "proc/4711")
    (root / "proc/self").symlink_to("4711")

    machine = detect(root)

    assert machine.allowance.affinity_cpus == (0, 1)


def test_a_root_that_is_itself_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(host_tree(tmp_path, "hybrid-v1-unlimited"))

    assert detect(tmp_path / "link").allowance.whole_cores == 2


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * MAX_FILE_BYTES)

    text = HostFiles(tmp_path).read("/file")

    assert text is not None
    assert len(text) == MAX_FILE_BYTES


def test_a_file_one_byte_larger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (MAX_FILE_BYTES + 1))

    with pytest.raises(TooLarge, match=f"more than the {MAX_FILE_BYTES} bytes allowed"):
        HostFiles(tmp_path).read("/file")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["named pipe", "directory"])
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / "thing")

    with pytest.raises(Refused, match="thing is not a regular file"):
        HostFiles(tmp_path).read("/thing")


def test_a_file_that_loops_is_absent_and_noted(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    files = HostFiles(tmp_path)

    text = files.read("/loop")

    assert text is None
    assert len(files.notes) == 1
    assert "loop cannot be read" in files.notes[0]


def test_a_zero_byte_in_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="zero byte"):
        HostFiles(tmp_path).read("/a\0b")


@pytest.mark.parametrize("name", ["absent", "file"])
def test_a_root_that_is_no_directory_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(Refused, match=f"{name} is not a directory"):
        HostFiles(tmp_path / name)


@given(st.text())
def test_printable_text_is_ascii_without_control_characters(text: str) -> None:
    shown = printable(text)

    assert shown.isascii()
    assert shown == "" or shown.isprintable()


@pytest.mark.parametrize(("length", "dots"), [(80, False), (81, True)])
def test_a_long_quotation_is_cut_and_says_so(length: int, dots: bool) -> None:
    text = quoted("a" * length)

    assert (text.count("a"), text.endswith("...")) == (80, dots)
