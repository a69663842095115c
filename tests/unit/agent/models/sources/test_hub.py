"""Addresses of model hubs, and which files of a repository are a model's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.models.sources.files import MODEL_FILES
from hpi_agent.models.sources.hub import HubAddress, below, read_hub_address
from hpi_agent.models.sources.protocol import RemoteFile
from hpi_agent.models.sources.url import read_url
from hpi_core.errors import Refused, SourceFailed

COMMIT = "0123456789abcdef0123456789abcdef01234567"

names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,30}[A-Za-z0-9])?", fullmatch=True).filter(
    lambda name: "--" not in name and ".." not in name
)


def chosen(source: str, *paths: str) -> dict[str, str]:
    """Return the files that are chosen, by the names that they get."""
    listed = [RemoteFile(path, 1, None, "tag", f"at {path}") for path in paths]
    return {file.path: file.place for file in read_hub_address(source).choose(listed)}


@pytest.mark.parametrize(
    ("source", "revision", "path"),
    [
        ("hf://PaddlePaddle/PP-OCRv5_server_det", None, ""),
        ("hf://PaddlePaddle/PP-OCRv5_server_det/", None, ""),
        ("hf://PaddlePaddle/PP-OCRv5_server_det@v1.0", "v1.0", ""),
        ("hf://PaddlePaddle/PP-OCRv5_server_det@refs%2Fpr%2F1/onnx/fp32", "refs/pr/1", "onnx/fp32"),
        ("modelscope://PaddlePaddle/PP-OCRv5_server_det/a%20folder/", None, "a folder"),
    ],
)
def test_an_address_names_repository_revision_and_path(source: str, revision: str | None, path: str) -> None:
    found = read_hub_address(source)

    assert found.repository == "PaddlePaddle/PP-OCRv5_server_det"
    assert (found.revision, found.path) == (revision, path)


@given(names, names, names, st.lists(names, max_size=3))
def test_what_is_written_into_an_address_is_what_is_read(owner: str, name: str, revision: str, path: list[str]) -> None:
    source = f"hf://{owner}/{name}@{revision}/{'/'.join(path)}"

    assert read_hub_address(source) == HubAddress(source, owner, name, revision, "/".join(path))


@pytest.mark.parametrize(
    ("revision", "immutable"), [(COMMIT, True), (COMMIT[1:], False), ("main", False), (COMMIT.upper(), False)]
)
def test_only_a_whole_commit_names_the_same_files_for_ever(revision: str, immutable: bool) -> None:
    assert read_hub_address(f"hf://o/n@{revision}").is_immutable is immutable


@pytest.mark.parametrize(
    "source",
    [
        "hf://o",
        "hf://o/",
        "hf:///n",
        "hf://o/n?x",
        "hf://o/n#x",
        "hf://o/n@",
        "hf://o@x/n",
        "hf://o/n@a@b",
        "hf://o/" + "n" * 1_024,
    ],
)
def test_an_address_of_another_shape_is_answered_with_the_right_one(source: str) -> None:
    with pytest.raises(Refused, match=r"must be hf://OWNER/NAME\[@REVISION\]\[/PATH\]"):
        read_hub_address(source)


@pytest.mark.parametrize(
    "source",
    ["hf://../n", "hf://o/a--b", "hf://o/a..b", "hf://-o/n", "hf://o/n%2Fm", "hf://o/n ", "hf://o/" + "n" * 97],
)
def test_a_name_that_no_hub_has_is_refused(source: str) -> None:
    with pytest.raises(Refused, match="OWNER and NAME are letters"):
        read_hub_address(source)


@pytest.mark.parametrize(
    "rest",
    ["/../x", "/a/../x", "/./x", "/a//x", "/%2e%2e/x", "/a%00", "/a%0d%0ab", "/a\\b", "@..", "@a%2F..%2Fb", "@%0a"],
)
def test_a_path_or_revision_that_two_readers_could_take_differently_is_refused(rest: str) -> None:
    with pytest.raises(Refused, match="REVISION and PATH must have no empty part"):
        read_hub_address(f"hf://o/n{rest}")


def test_of_a_folder_the_files_of_a_model_are_chosen_and_no_others() -> None:
    found = chosen(
        "hf://o/n/fp32",
        "inference.onnx",
        "fp32/inference.yml",
        "fp32/inference.onnx",
        "fp32/README.md",
        "fp32/x/inference.om",
    )

    assert found == {"inference.yml": "at fp32/inference.yml", "inference.onnx": "at fp32/inference.onnx"}


def test_one_onnx_file_may_have_any_name() -> None:
    assert chosen("hf://o/n/onnx/det.onnx", "onnx/det.onnx", "onnx/rec.onnx") == {"inference.onnx": "at onnx/det.onnx"}


def test_one_archive_keeps_its_name() -> None:
    assert chosen("hf://o/n/det_infer.tar", "det_infer.tar") == {"det_infer.tar": "at det_infer.tar"}


def test_a_folder_without_a_model_is_answered_with_what_is_there_and_what_to_write() -> None:
    with pytest.raises(SourceFailed) as caught:
        chosen("hf://o/n", "README.md", "det.onnx", "fp32/inference.onnx")

    assert "there are ['README.md', 'det.onnx']" in str(caught.value)
    assert "Name the folder of a model, or one ONNX file, in the address: OWNER/NAME/PATH" in str(caught.value)


def test_a_file_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(SourceFailed, match=r"no such file; there are \['det.onnx'\] in 'onnx'"):
        chosen("hf://o/n/onnx/rec.onnx", "onnx/det.onnx")


@given(
    st.lists(st.text(st.sampled_from("ab./\\\0%"), max_size=12).map(lambda text: text + "/inference.onnx"), max_size=5)
)
def test_whatever_paths_a_hub_lists_only_known_names_come_out(paths: list[str]) -> None:
    listed = [RemoteFile(path, 1, None, "tag") for path in [*paths, "inference.yml"]]

    found = read_hub_address("hf://o/n").choose(listed)

    assert {file.path for file in found} <= set(MODEL_FILES)


@pytest.mark.parametrize("endpoint", ["https://mirror.example/hub", "https://mirror.example/hub/"])
def test_an_endpoint_may_have_a_path_of_its_own(endpoint: str) -> None:
    url = below(read_url(endpoint), "/api/models/o/n", "blobs=true")

    assert url.text == "https://mirror.example/hub/api/models/o/n?blobs=true"
