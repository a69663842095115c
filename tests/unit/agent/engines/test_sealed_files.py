from __future__ import annotations

from pathlib import Path

from hpi_agent.engines.sealed_files import remove_unsealed_files, seal_files

PATTERN = "*.blob"


def write(directory: Path, name: str, content: bytes) -> Path:
    path = directory / name
    path.write_bytes(content)
    return path


def test_a_sealed_file_stays(tmp_path: Path) -> None:
    path = write(tmp_path, "a.blob", b"kernels")
    seal_files(tmp_path, PATTERN)

    assert remove_unsealed_files(tmp_path, PATTERN) == []
    assert path.read_bytes() == b"kernels"


def test_a_file_without_a_seal_goes(tmp_path: Path) -> None:
    path = write(tmp_path, "a.blob", b"half a ker")

    assert remove_unsealed_files(tmp_path, PATTERN) == [path]
    assert list(tmp_path.iterdir()) == []


def test_a_file_changed_after_its_seal_goes_with_it(tmp_path: Path) -> None:
    path = write(tmp_path, "a.blob", b"kernels")
    seal_files(tmp_path, PATTERN)
    path.write_bytes(b"kernelS")

    assert remove_unsealed_files(tmp_path, PATTERN) == [path]
    assert list(tmp_path.iterdir()) == []


def test_a_seal_is_never_written_over(tmp_path: Path) -> None:
    path = write(tmp_path, "a.blob", b"kernels")
    seal_files(tmp_path, PATTERN)
    path.write_bytes(b"damaged")

    seal_files(tmp_path, PATTERN)

    assert remove_unsealed_files(tmp_path, PATTERN) == [path]


def test_a_seal_of_garbage_is_no_seal(tmp_path: Path) -> None:
    path = write(tmp_path, "a.blob", b"kernels")
    write(tmp_path, "a.blob.sha256", b"\xff\xfe")

    assert remove_unsealed_files(tmp_path, PATTERN) == [path]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    other = write(tmp_path, "README", b"hello")

    assert remove_unsealed_files(tmp_path, PATTERN) == []
    assert list(tmp_path.iterdir()) == [other]
