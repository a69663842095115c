"""Credentials from a folder: what is read, what is refused, and that nothing of them is shown."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from hpi_agent.models.sources.credentials import MAX_BYTES, Secret, read_credentials
from hpi_core.errors import HpiError, Refused, SourceFailed

SECRET = "s3cr3t-of-a-test"  # noqa: S105


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of Secrets with one Secret, laid as the kubelet lays it."""
    dated = tmp_path / "hub" / "..2026_11_27_12_00_00.123"
    dated.mkdir(parents=True)
    (tmp_path / "hub" / "..data").symlink_to(dated.name)
    for key, value in {"token": SECRET, "username": "me", "unknown": "left alone"}.items():
        (dated / key).write_text(value)
        (tmp_path / "hub" / key).symlink_to(f"..data/{key}")
    return tmp_path


def problem(root: Path | None, name: str) -> HpiError:
    with pytest.raises(HpiError) as caught:
        read_credentials(root, name)
    return caught.value


def a_secret(root: Path, key: str, data: bytes) -> None:
    (root / "made").mkdir()
    (root / "made" / key).write_bytes(data)


def test_keys_are_read_as_kubernetes_mounts_them(root: Path) -> None:
    credentials = read_credentials(root, "hub")

    assert credentials.require("token").reveal() == SECRET
    assert credentials.require("username").reveal() == "me"
    assert credentials.get("password") is None


def test_a_key_that_is_needed_and_not_there_is_named(root: Path) -> None:
    with pytest.raises(Refused, match="'hub' have no password; they have"):
        read_credentials(root, "hub").require("password")


def test_a_key_that_is_none_cannot_be_asked_for(root: Path) -> None:
    with pytest.raises(KeyError):
        read_credentials(root, "hub").get("unknown")


def test_nothing_of_a_secret_is_shown_copied_or_pickled(root: Path) -> None:
    credentials = read_credentials(root, "hub")
    secret = credentials.require("token")

    assert SECRET not in f"{credentials!r} {credentials} {secret!r} {secret} {vars(credentials)}"
    for write in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            write(secret)


@pytest.mark.parametrize("written", [SECRET + "\n", SECRET + "\r\n"])
def test_the_end_of_the_line_is_no_part_of_a_secret(written: str, root: Path) -> None:
    a_secret(root, "token", written.encode())

    assert read_credentials(root, "made").require("token").reveal() == SECRET


@pytest.mark.parametrize(
    "data", [b"", b"\n", SECRET.encode() + b"\n\n", b"a\x00" + SECRET.encode(), SECRET.encode() + b"\xff"]
)
def test_what_no_header_can_carry_is_refused_and_not_shown(data: bytes, root: Path) -> None:
    a_secret(root, "token", data)

    error = problem(root, "made")

    assert isinstance(error, Refused)
    assert "must hold one line of text in UTF-8, and not be empty" in str(error)
    assert SECRET not in str(error)
    assert error.__context__ is None


def test_certificates_keep_their_lines(root: Path) -> None:
    a_secret(root, "ca.crt", b"-----BEGIN\nabc\n-----END\n")

    assert read_credentials(root, "made").require("ca.crt").reveal() == "-----BEGIN\nabc\n-----END\n"


@pytest.mark.parametrize(("size", "works"), [(MAX_BYTES, True), (MAX_BYTES + 1, False)])
def test_a_key_has_a_largest_size(size: int, works: bool, root: Path) -> None:
    a_secret(root, "token", b"a" * size)

    if works:
        assert len(read_credentials(root, "made").require("token").reveal()) == size
    else:
        assert "is larger than" in str(problem(root, "made"))


@pytest.mark.parametrize("name", ["", ".", "..", "../hub", "hub/..", "Hub", "a_b", "/etc", "a" * 254, "hub\n"])
def test_what_is_no_name_of_a_secret_is_refused(name: str, root: Path) -> None:
    assert isinstance(problem(root, name), Refused)


def test_a_link_out_of_its_secret_is_refused(root: Path) -> None:
    (root / "made").mkdir()
    (root / "made" / "token").symlink_to(root / "hub" / "token")

    assert "leads out of its folder" in str(problem(root, "made"))


def test_links_in_a_circle_are_no_secret(root: Path) -> None:
    (root / "made").mkdir()
    (root / "made" / "token").symlink_to("token")

    assert isinstance(problem(root, "made"), SourceFailed)


def test_without_a_folder_of_secrets_it_is_said_how_to_name_one() -> None:
    assert str(problem(None, "hub")) == (
        "credentials 'hub': no folder of credentials is known here; name one with --credentials DIR or "
        "$HPI_CREDENTIALS that has a sub-folder hub with one file for each key"
    )


@pytest.mark.parametrize("make", [True, False], ids=["empty", "missing"])
def test_a_secret_without_keys_says_which_there_could_be(make: bool, root: Path) -> None:
    if make:
        (root / "made").mkdir()

    error = problem(root, "made")

    assert isinstance(error, SourceFailed)
    assert "token, username, password, accessKeyId, secretAccessKey, sessionToken" in str(error)


def test_a_secret_shows_its_text_when_it_is_asked_by_name() -> None:
    assert Secret(SECRET).reveal() == SECRET
