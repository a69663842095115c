"""Models in Paddle's format: which files make one, and what is said of half a model and of what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.models.paddle_files import (
    MAX_PIR_VERSION,
    MAX_PROGRAM_BYTES,
    PaddleModel,
    digest_of_paddle_files,
    find_paddle_model,
)
from hpi_core.errors import SourceFailed

PIR = b'{"base_code": {"magic": "pir", "version": 3}, "program": {}}'


def a_model(folder: Path, **files: bytes) -> Path:
    """Return a folder with files of a model by their suffixes."""
    for suffix, content in files.items():
        (folder / f"inference.{suffix}").write_bytes(content)
    return folder


def found(folder: Path) -> PaddleModel:
    model = find_paddle_model(folder)
    assert model is not None
    return model


def failure(folder: Path) -> str:
    with pytest.raises(SourceFailed) as caught:
        find_paddle_model(folder)
    return str(caught.value)


def test_a_program_of_pir_and_its_weights_are_a_model(tmp_path: Path) -> None:
    model = found(a_model(tmp_path, json=PIR, pdiparams=b"weights"))

    assert model == PaddleModel(
        tmp_path,
        tmp_path / "inference.json",
        tmp_path / "inference.pdiparams",
        "pir",
        3,
        digest_of_paddle_files(tmp_path / "inference.json", tmp_path / "inference.pdiparams"),
    )


def test_a_legacy_program_and_its_weights_are_a_model(tmp_path: Path) -> None:
    model = found(a_model(tmp_path, pdmodel=b"program", pdiparams=b"weights"))

    assert (model.program.name, model.generation, model.pir_version) == ("inference.pdmodel", "legacy", None)


def test_a_program_of_pir_is_preferred_as_paddlex_prefers_it(tmp_path: Path) -> None:
    model = found(a_model(tmp_path, json=PIR, pdmodel=b"program", pdiparams=b"weights"))

    assert model.program.name == "inference.json"


def test_a_directory_without_files_of_paddle_holds_no_model(tmp_path: Path) -> None:
    assert find_paddle_model(a_model(tmp_path, onnx=b"weights", yml=b"Global: {}")) is None


@pytest.mark.parametrize("changed", ["json", "pdiparams"])
def test_either_file_changes_the_digest(changed: str, tmp_path: Path) -> None:
    first = found(a_model(tmp_path, json=PIR, pdiparams=b"weights"))

    (tmp_path / f"inference.{changed}").write_bytes(PIR + b" ")

    assert found(tmp_path).digest != first.digest


def test_a_copy_has_the_same_digest(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()

    first, second = (found(a_model(place, json=PIR, pdiparams=b"w")) for place in (tmp_path, tmp_path / "copy"))

    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"json": PIR}, "['inference.json'] without inference.pdiparams"),
        ({"pdmodel": b"program"}, "['inference.pdmodel'] without inference.pdiparams"),
        ({"pdiparams": b"weights"}, "['inference.pdiparams'] without its program"),
    ],
)
def test_half_a_model_is_answered_with_what_is_there_and_what_makes_a_whole(
    files: dict[str, bytes], said: str, tmp_path: Path
) -> None:
    text = failure(a_model(tmp_path, **files))

    assert said in text
    assert "a whole one is inference.pdiparams beside inference.json or inference.pdmodel" in text


@pytest.mark.parametrize(
    "files", [{"json": PIR, "pdiparams": b""}, {"pdmodel": b"", "pdiparams": b"weights"}], ids=["weights", "program"]
)
def test_an_empty_file_is_no_half_of_a_model(files: dict[str, bytes], tmp_path: Path) -> None:
    text = failure(a_model(tmp_path, **files))

    assert "is empty" in text or "has 0 bytes" in text


def base(**changes: Any) -> bytes:
    return json.dumps({"base_code": {"magic": "pir", "version": 3, **changes}}).encode()


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b'{"base_code": 3}',
        base(magic="other"),
        base(version="3"),
        base(version=True),
        base(version=-1),
        base(version=MAX_PIR_VERSION + 1),
        b"[" * 1_000_000,
        b'{"base_code": {"magic": "pir", "version": 3}, "x": ' + b"[" * 1_000_000,
        PIR + b" " * MAX_PROGRAM_BYTES,
    ],
    ids=[
        "empty",
        "cut off",
        "a list",
        "no base_code",
        "not UTF-8",
        "base_code is a number",
        "another magic",
        "a text for a version",
        "a boolean for a version",
        "a version below 0",
        "a version too high",
        "1,000,000 levels",
        "1,000,000 levels inside",
        "too large",
    ],
)
def test_a_program_that_is_none_is_told_with_what_it_must_be(program: bytes, tmp_path: Path) -> None:
    text = failure(a_model(tmp_path, json=program, pdiparams=b"weights"))

    assert "inference.json must be JSON with base_code.magic 'pir' and a version from 0 to 1000: " in text
    assert len(text) < 1000


@pytest.mark.parametrize("version", [0, 1, 4, MAX_PIR_VERSION])
def test_the_version_of_a_program_is_read(version: int, tmp_path: Path) -> None:
    assert found(a_model(tmp_path, json=base(version=version), pdiparams=b"w")).pir_version == version


@pytest.mark.parametrize("size", [MAX_PROGRAM_BYTES, MAX_PROGRAM_BYTES + 1])
def test_a_legacy_program_has_a_largest_size(size: int, tmp_path: Path) -> None:
    with (a_model(tmp_path, pdiparams=b"weights") / "inference.pdmodel").open("wb") as file:
        file.truncate(size)

    if size > MAX_PROGRAM_BYTES:
        assert f"has {size} bytes; 1 to {MAX_PROGRAM_BYTES} are allowed" in failure(tmp_path)
    else:
        assert found(tmp_path).generation == "legacy"
