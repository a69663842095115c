"""Sources of this machine: which files an address names, and what is said when it names none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpi_agent.models.sources.files import MAX_LISTED, MAX_MODEL_BYTES, ModelDirectory, WeightsFile
from hpi_agent.models.sources.local import locate
from hpi_core.errors import Refused, SourceFailed


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python package `lent_models`, installed for one test, with one model in it; its code must not run."""
    folder = tmp_path / "site" / "lent_models"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('the package was imported')")
    (folder / "models" / "det.onnx").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


def a_model_directory(folder: Path) -> Path:
    """Return a folder with the two files that PaddleX needs."""
    folder.mkdir(parents=True)
    (folder / "inference.onnx").write_bytes(b"weights")
    (folder / "inference.yml").write_text("Global: {model_name: det}\n")
    return folder


def refusal(source: str) -> str:
    with pytest.raises(Refused) as caught:
        locate(source)
    return str(caught.value)


def failure(source: str) -> str:
    with pytest.raises(SourceFailed) as caught:
        locate(source)
    return str(caught.value)


@pytest.mark.parametrize("name", ["PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"])
def test_the_models_of_the_sample_come_out_of_the_real_wheel(name: str) -> None:
    found = locate(f"package://rapidocr/models/{name}")

    assert isinstance(found, WeightsFile)
    assert found.path.name == name
    assert found.path.stat().st_size > 1_000_000


def test_a_file_is_found_in_a_package_without_running_the_package(package: Path) -> None:
    found = locate("package://lent_models/models/det.onnx")

    assert found == WeightsFile(package / "models" / "det.onnx")


def test_an_escaped_character_of_a_path_is_that_character(package: Path) -> None:
    (package / "models" / "a model #1?.onnx").write_bytes(b"weights")

    found = locate("package://lent_models/models/a%20model%20%231%3F.onnx")

    assert found == WeightsFile(package / "models" / "a model #1?.onnx")


def test_a_link_inside_a_package_that_stays_inside_is_followed(package: Path) -> None:
    (package / "models" / "latest.onnx").symlink_to("det.onnx")

    found = locate("package://lent_models/models/latest.onnx")

    assert found == WeightsFile(package / "models" / "det.onnx")


@pytest.mark.parametrize(
    "path", ["../secret.onnx", "models/../../secret.onnx", "%2e%2e/secret.onnx", "..%2fsecret.onnx", "link.onnx"]
)
def test_a_path_that_leaves_its_package_is_refused(path: str, package: Path) -> None:
    secret = package.parent / "secret.onnx"
    secret.write_bytes(b"weights")
    (package / "link.onnx").symlink_to(secret)

    assert refusal(f"package://lent_models/{path}").endswith("leaves the package 'lent_models'")


def test_links_in_a_circle_are_a_source_that_cannot_be_read(package: Path) -> None:
    (package / "a.onnx").symlink_to("b.onnx")
    (package / "b.onnx").symlink_to("a.onnx")

    assert failure("package://lent_models/a.onnx").startswith("source 'package://lent_models/a.onnx'")


@pytest.mark.parametrize("name", ["not_installed_here", "sys", "six", "__main__"])
def test_a_package_that_is_not_installed_is_named(name: str) -> None:
    assert failure(f"package://{name}/x.onnx") == (
        f"source 'package://{name}/x.onnx': there is no installed Python package '{name}'; install it"
    )


def test_a_file_that_is_not_there_is_answered_with_those_that_are(package: Path) -> None:
    (package / "models" / "rec.onnx").write_bytes(b"weights")

    assert failure("package://lent_models/models/dett.onnx") == (
        "source 'package://lent_models/models/dett.onnx': lent_models has no such file; "
        "there are ['det.onnx', 'rec.onnx']"
    )


def test_at_most_twenty_files_are_listed(package: Path) -> None:
    for number in range(30):
        (package / "models" / f"{number}.onnx").touch()

    assert failure("package://lent_models/models/x.onnx").count(".onnx'") == MAX_LISTED + 1


@pytest.mark.parametrize("path", ["models", "nowhere/det.onnx", "models/det.onnx/det.onnx"])
def test_what_is_no_file_of_a_package_is_not_found(path: str, package: Path) -> None:
    assert "lent_models has no such file" in failure(f"package://lent_models/{path}")


@pytest.mark.parametrize(
    "source",
    [
        "package://user:word@lent_models/x.onnx",
        "package://lent_models:80/x.onnx",
        "package://lent_models:99999/x.onnx",
        "package://lent_models:x/x.onnx",
        "package://[lent_models/x.onnx",
        "package://lent_models/x.onnx?y",
        "package://lent_models/x.onnx#y",
        "package://lent_models/x\ny.onnx",
        "package://lent_models/x%00y.onnx",
        "package://lent_models/\ud800",
        "file:///a%00b",
        "file:///a\x7fb",
    ],
)
def test_an_address_with_more_than_a_path_or_with_control_characters_is_refused(source: str) -> None:
    assert refusal(source) == (
        f"source {source!r} must be a plain address without user, port, ?, # and control characters"
    )


@pytest.mark.parametrize(
    "source", ["package://lent_models", "package://lent_models/", "package:///x", "package://a.b/x"]
)
def test_a_package_address_needs_one_package_and_a_path(source: str) -> None:
    assert (
        refusal(source) == f"source {source!r} must be package://PACKAGE/PATH with one import name and a path inside it"
    )


@pytest.mark.parametrize(
    ("source", "scheme"), [("", "none"), ("/models/det", "none"), ("https://a/b", "https"), ("hub://a", "hub")]
)
def test_an_unknown_scheme_is_answered_with_the_known_ones(source: str, scheme: str) -> None:
    assert refusal(source) == (
        f"source {source!r} has the scheme {scheme!r}; of this machine are ['package', 'file', 'pvc']"
    )


@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_model_directory_is_used_where_it_lies(host: str, tmp_path: Path) -> None:
    directory = a_model_directory(tmp_path / "my model")

    found = locate(f"file://{host}{tmp_path}/my%20model")

    assert found == ModelDirectory(directory)


def test_a_model_directory_may_be_a_link_and_may_hold_links(tmp_path: Path) -> None:
    directory = a_model_directory(tmp_path / "versions" / "1")
    (tmp_path / "current").symlink_to(directory)
    (directory / "inference.onnx").rename(tmp_path / "weights")
    (directory / "inference.onnx").symlink_to(tmp_path / "weights")

    assert locate(f"file://{tmp_path}/current") == ModelDirectory(tmp_path / "current")


@pytest.mark.parametrize("source", ["file:relative", "file://elsewhere/models", "file://."])
def test_a_directory_address_needs_an_absolute_path_of_this_machine(source: str) -> None:
    assert refusal(source) == f"source {source!r} must be file:///DIRECTORY with an absolute path"


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert failure(f"file://{tmp_path}/nowhere").endswith(f"there is no directory {tmp_path}/nowhere")


def test_a_file_in_place_of_a_directory_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert failure(f"file://{tmp_path}/file").endswith(f"there is no directory {tmp_path}/file")


@pytest.mark.parametrize(
    ("missing", "seen"),
    [("inference.onnx", ["inference.yml"]), ("inference.yml", ["inference.onnx"])],
)
def test_an_incomplete_model_directory_is_answered_with_what_is_missing_and_seen(
    missing: str, seen: list[str], tmp_path: Path
) -> None:
    (a_model_directory(tmp_path / "model") / missing).unlink()

    assert failure(f"file://{tmp_path}/model").endswith(f"missing: ['{missing}'], seen: {seen}")


def test_a_directory_with_an_offline_model_of_ascend_needs_no_other_format(tmp_path: Path) -> None:
    directory = a_model_directory(tmp_path / "model")
    (directory / "inference.onnx").rename(directory / "inference.om")

    assert locate(f"file://{directory}") == ModelDirectory(directory)


@pytest.mark.parametrize("program", ["inference.json", "inference.pdmodel"])
def test_a_directory_with_a_model_in_paddles_format_needs_no_onnx_file(program: str, tmp_path: Path) -> None:
    directory = a_model_directory(tmp_path / "model")
    (directory / "inference.onnx").unlink()
    (directory / program).write_bytes(b"program")
    (directory / "inference.pdiparams").write_bytes(b"weights")

    assert locate(f"file://{directory}") == ModelDirectory(directory)


@pytest.mark.parametrize("place", ["file:///" + "a" * 256, "package://lent_models/" + "a" * 256])
def test_a_name_that_no_file_system_takes_cannot_be_read(place: str, package: Path) -> None:
    assert failure(place) == f"source {place!r} cannot be read: File name too long"


@pytest.mark.parametrize("size", [1, MAX_MODEL_BYTES])
def test_weights_of_an_allowed_size_are_taken(size: int, package: Path) -> None:
    with (package / "sparse.onnx").open("wb") as file:
        file.truncate(size)

    assert locate("package://lent_models/sparse.onnx") == WeightsFile(package / "sparse.onnx")


@pytest.mark.parametrize("size", [0, MAX_MODEL_BYTES + 1])
def test_weights_of_no_bytes_or_too_many_are_no_model(size: int, package: Path) -> None:
    with (package / "sparse.onnx").open("wb") as file:
        file.truncate(size)

    assert failure("package://lent_models/sparse.onnx").endswith(
        f"sparse.onnx has {size} bytes; 1 to {MAX_MODEL_BYTES} are allowed"
    )


def test_empty_weights_in_a_model_directory_are_no_model(tmp_path: Path) -> None:
    directory = a_model_directory(tmp_path / "model")
    (directory / "inference.onnx").write_bytes(b"")

    assert "inference.onnx has 0 bytes" in failure(f"file://{directory}")
