"""The Hugging Face Hub: against a double of it that the hub's own client takes for the hub."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.files import ModelDirectory, WeightsFile
from hpi_agent.models.sources.http_client import HttpClient
from hpi_agent.models.sources.hugging_face import HuggingFaceOrigin
from hpi_agent.models.sources.protocol import RemoteFile
from hpi_agent.models.sources.settings import SourceSettings
from hpi_core.digest import digest_of_bytes
from hpi_core.errors import HpiError, Overloaded, Refused, Retry, SourceFailed
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.fetching import Fetcher, weights
from support.hub_repository import HubRepository
from support.hugging_face_server import SIGNATURE, HuggingFaceHub, hugging_face_hub
from support.loopback_server import Answer

READER = "hf_of-somebody-who-may"
STRANGER = "hf_of-somebody-else"
NOBODY = "hf_of-nobody"
WEIGHTS = weights()
OTHER = weights(seed=2)
MODEL = {"inference.yml": b"Global: {model_name: det}\n", "inference.onnx": WEIGHTS}
SOURCE = "hf://PaddlePaddle/det"


@pytest.fixture
def hub() -> Iterator[HuggingFaceHub]:
    """A hub with two accounts."""
    with hugging_face_hub(READER, STRANGER) as hub:
        yield hub


@pytest.fixture
def repository(hub: HuggingFaceHub) -> HubRepository:
    """A repository that everybody may read, with one commit."""
    repository = hub.add(HubRepository("PaddlePaddle", "det"))
    repository.commit({**MODEL, "README.md": b"words", "fp16/inference.onnx": OTHER})
    return repository


@pytest.fixture
def store_proxy(hub: HuggingFaceHub) -> Iterator[FaultyProxy]:
    """What stands between clients and the store of large files."""
    assert hub.store is not None
    with faulty_proxy(hub.store.url) as proxy:
        hub.store_url = proxy.url
        yield proxy


@pytest.fixture
def api_proxy(hub: HuggingFaceHub) -> Iterator[FaultyProxy]:
    """What stands between clients and the hub itself."""
    with faulty_proxy(hub.url) as proxy:
        yield proxy


def origin(endpoint: str, source: str = SOURCE, token: str | None = None) -> HuggingFaceOrigin:
    """Return the origin of a source."""
    credentials = None if token is None else Credentials("hub", {"token": Secret(token)})
    return HuggingFaceOrigin.at(source, endpoint, credentials, HttpClient())


def failure(endpoint: str, source: str = SOURCE, token: str | None = None) -> str:
    """Return the words with which resolving fails for good."""
    with pytest.raises(SourceFailed) as caught:
        origin(endpoint, source, token).resolve()
    assert READER not in str(caught.value)
    return str(caught.value)


def read(found: HuggingFaceOrigin, file: RemoteFile, offset: int = 0) -> tuple[int, bytes]:
    """Return where the body of a file begins, and the body."""
    with found.open(file, offset) as body:
        return body.offset, b"".join(body.chunks)


def test_the_hubs_own_client_takes_the_double_for_the_hub(
    hub: HuggingFaceHub, repository: HubRepository, tmp_path: Path
) -> None:
    from huggingface_hub import snapshot_download

    snapshot_download(
        "PaddlePaddle/det", endpoint=hub.url, token=False, cache_dir=tmp_path / "cache", local_dir=tmp_path / "got"
    )

    assert (tmp_path / "got/inference.onnx").read_bytes() == WEIGHTS
    assert (tmp_path / "got/inference.yml").read_bytes() == MODEL["inference.yml"]


def test_what_is_resolved_is_what_the_hubs_own_client_reads(hub: HuggingFaceHub, repository: HubRepository) -> None:
    from huggingface_hub import HfApi, hf_hub_url

    told = HfApi(endpoint=hub.url, token=False).model_info("PaddlePaddle/det", revision="main", files_metadata=True)
    theirs = {one.rfilename: one for one in told.siblings or []}
    resolved = origin(hub.url).resolve()

    by_client, by_us = hub.api.asked("/api/models/") if hub.api else []
    assert by_client.target == by_us.target
    assert resolved.revision == told.sha == repository.branches["main"]
    [yml, onnx] = resolved.files
    large = theirs["inference.onnx"].lfs
    assert large is not None
    assert (onnx.size_bytes, onnx.digest) == (large.size, f"sha256:{large.sha256}")
    assert (yml.size_bytes, yml.identity) == (theirs["inference.yml"].size, f"git:{theirs['inference.yml'].blob_id}")
    asked_before = len(hub.api.requests) if hub.api else 0
    read(origin(hub.url), yml)
    assert hub.api is not None
    assert hub.url + hub.api.requests[asked_before].target == hf_hub_url(
        "PaddlePaddle/det", "inference.yml", revision=told.sha, endpoint=hub.url
    )


def test_a_model_directory_comes_into_the_store_byte_for_byte(
    hub: HuggingFaceHub, repository: HubRepository, fetcher: Fetcher
) -> None:
    fetched = fetcher.fetch(SOURCE, endpoint=hub.url)

    assert isinstance(fetched.located, ModelDirectory)
    assert fetcher.files(fetched) == MODEL


def test_one_onnx_file_of_a_folder_comes_alone(
    hub: HuggingFaceHub, repository: HubRepository, fetcher: Fetcher
) -> None:
    fetched = fetcher.fetch(f"{SOURCE}/fp16/inference.onnx", endpoint=hub.url)

    assert isinstance(fetched.located, WeightsFile)
    assert fetcher.files(fetched) == {"inference.onnx": OTHER}


def test_a_branch_with_a_slash_is_one_part_of_the_address(hub: HuggingFaceHub, repository: HubRepository) -> None:
    commit = repository.commit({"inference.onnx": OTHER}, branch="refs/pr/1")

    resolved = origin(hub.url, f"{SOURCE}@refs%2Fpr%2F1").resolve()

    assert resolved.revision == commit


def test_a_commit_that_was_fetched_is_not_asked_for_again(
    hub: HuggingFaceHub, repository: HubRepository, fetcher: Fetcher
) -> None:
    source = f"{SOURCE}@{repository.branches['main']}"
    fetcher.fetch(source, endpoint=hub.url)
    assert hub.api is not None
    hub.api.requests.clear()

    fetcher.fetch(source, endpoint=hub.url)

    assert hub.api.requests == []


def test_a_branch_that_moves_is_fetched_anew(hub: HuggingFaceHub, repository: HubRepository, fetcher: Fetcher) -> None:
    fetcher.fetch(SOURCE, endpoint=hub.url)
    repository.commit({**MODEL, "inference.onnx": OTHER})

    fetched = fetcher.fetch(SOURCE, endpoint=hub.url)

    assert fetcher.files(fetched)["inference.onnx"] == OTHER


def test_a_commit_that_leaves_the_model_alone_fetches_nothing(
    hub: HuggingFaceHub, repository: HubRepository, fetcher: Fetcher
) -> None:
    fetcher.fetch(SOURCE, endpoint=hub.url)
    repository.commit({**MODEL, "README.md": b"other words"})
    assert hub.store is not None
    hub.store.requests.clear()

    fetcher.fetch(SOURCE, endpoint=hub.url)

    assert hub.store.requests == []


def test_a_branch_that_moves_after_it_was_resolved_still_gives_what_was_resolved(
    hub: HuggingFaceHub, repository: HubRepository
) -> None:
    found = origin(hub.url)
    [yml, onnx] = found.resolve().files
    repository.commit({"inference.yml": b"other", "inference.onnx": OTHER})

    assert read(found, onnx) == (0, WEIGHTS)
    assert read(found, yml) == (0, MODEL["inference.yml"])


def test_a_large_file_that_is_cut_is_resumed_where_it_ended(
    hub: HuggingFaceHub, repository: HubRepository, store_proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    store_proxy.cut("/", 70_000)

    fetched = fetcher.fetch(SOURCE, endpoint=hub.url)

    assert [request.headers.get("range") for request in store_proxy.server.requests] == [None, "bytes=70000-"]
    assert fetcher.files(fetched) == MODEL


def test_a_small_file_is_read_from_its_beginning_whatever_the_offset(
    hub: HuggingFaceHub, repository: HubRepository
) -> None:
    found = origin(hub.url)
    [yml, _] = found.resolve().files

    assert read(found, yml, 5) == (0, MODEL["inference.yml"])


def test_large_bytes_that_the_hub_does_not_state_are_never_published(
    hub: HuggingFaceHub, repository: HubRepository, store_proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    store_proxy.damage("/")

    with pytest.raises(SourceFailed, match="the origin states sha256:"):
        fetcher.fetch(SOURCE, endpoint=hub.url)
    assert fetcher.entries() == []


def test_small_bytes_that_differ_from_gits_digest_are_never_published(
    repository: HubRepository, api_proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    api_proxy.damage("/resolve-cache/")

    with pytest.raises(SourceFailed, match="came with Git's digest"):
        fetcher.fetch(SOURCE, endpoint=api_proxy.url)
    assert fetcher.entries() == []


def test_small_bytes_that_were_damaged_once_come_right_the_next_time(
    repository: HubRepository, api_proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    api_proxy.damage("/resolve-cache/", times=1)

    fetched = fetcher.fetch(SOURCE, endpoint=api_proxy.url)

    assert fetcher.files(fetched) == MODEL


def test_redirects_in_a_circle_end(repository: HubRepository, api_proxy: FaultyProxy, fetcher: Fetcher) -> None:
    api_proxy.redirect("/resolve/", f"{api_proxy.url}/PaddlePaddle/det/resolve/x")

    with pytest.raises(SourceFailed, match="circle of redirects"):
        fetcher.fetch(SOURCE, endpoint=api_proxy.url)


def test_a_redirect_to_a_metadata_service_is_refused(repository: HubRepository, api_proxy: FaultyProxy) -> None:
    api_proxy.redirect("/api/", "http://169.254.169.254/latest/meta-data/")

    with pytest.raises(Refused):
        origin(api_proxy.url).resolve()


def test_the_token_goes_to_the_hub_and_not_to_the_store_of_large_files(
    hub: HuggingFaceHub, repository: HubRepository, fetcher: Fetcher, tmp_path: Path
) -> None:
    repository.readers = frozenset({READER})
    (tmp_path / "secrets/hub").mkdir(parents=True)
    (tmp_path / "secrets/hub/token").write_text(READER)
    fetcher.settings["credentials"] = tmp_path / "secrets"

    fetched = fetcher.fetch(SOURCE, endpoint=hub.url, credentials="hub")

    assert fetcher.files(fetched) == MODEL
    assert hub.api is not None
    assert hub.store is not None
    assert {request.headers.get("authorization") for request in hub.api.requests} == {f"Bearer {READER}"}
    assert [request.headers.get("authorization") for request in hub.store.requests] == [None]


def test_the_token_is_never_logged_raised_or_kept(
    hub: HuggingFaceHub,
    repository: HubRepository,
    store_proxy: FaultyProxy,
    fetcher: Fetcher,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    repository.readers = frozenset({READER})
    (tmp_path / "secrets/hub").mkdir(parents=True)
    (tmp_path / "secrets/hub/token").write_text(READER)
    fetcher.settings["credentials"] = tmp_path / "secrets"
    store_proxy.cut("/", 70_000)
    store_proxy.cut("/", 0, times=100)

    with pytest.raises(SourceFailed) as caught:
        fetcher.fetch(SOURCE, endpoint=hub.url, credentials="hub")

    shown = caplog.text + "".join(traceback.format_exception(caught.value)) + repr(origin(hub.url, token=READER))
    assert READER not in shown
    assert SIGNATURE not in shown
    for path in fetcher.root.rglob("*"):
        assert not path.is_file() or READER.encode() not in path.read_bytes()


def test_no_token_file_or_variable_of_the_machine_is_used(
    hub: HuggingFaceHub, repository: HubRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(READER)
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login x password {READER}\n")
    (tmp_path / ".netrc").chmod(0o600)
    for name, value in {
        "HF_HOME": str(tmp_path),
        "HF_TOKEN": READER,
        "HOME": str(tmp_path),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "1",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }.items():
        monkeypatch.setenv(name, value)

    origin(hub.url).resolve()

    assert hub.api is not None
    assert [request.headers.get("authorization") for request in hub.api.requests] == [None]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".netrc", "token"]


def test_a_repository_that_is_not_there_or_private_says_what_to_do(
    hub: HuggingFaceHub, repository: HubRepository
) -> None:
    repository.readers = frozenset({READER})

    assert "answers 401: there is no repository 'PaddlePaddle/det', or it is private" in failure(hub.url)
    assert "no token is given: put one that may read it into key token of the Secret" in failure(hub.url)
    assert "answers 404: there is no repository" in failure(hub.url, token=STRANGER)
    assert "have the rights of the token in credentialsSecretRef corrected" in failure(hub.url, token=STRANGER)


def test_what_the_store_of_large_files_refuses_is_not_taken_for_words_of_the_hub(
    hub: HuggingFaceHub, repository: HubRepository, store_proxy: FaultyProxy
) -> None:
    store_proxy.replace("/", Answer(401))
    found = origin(hub.url)
    [_, onnx] = found.resolve().files

    with pytest.raises(SourceFailed) as caught:
        read(found, onnx)

    assert f"{store_proxy.url}/" in str(caught.value)
    assert "there is no repository" not in str(caught.value)


def test_a_token_that_is_nobodys_is_said_to_be_invalid(hub: HuggingFaceHub, repository: HubRepository) -> None:
    assert "answers 401: the token is not valid" in failure(hub.url, token=NOBODY)


@pytest.mark.parametrize(("token", "status"), [(None, 401), (STRANGER, 403)])
def test_a_gated_repository_names_the_page_where_its_licence_is_accepted(
    token: str | None, status: int, hub: HuggingFaceHub, repository: HubRepository
) -> None:
    repository.readers, repository.is_gated = frozenset({READER}), True
    found = origin(hub.url, token=token)
    [yml, _] = found.resolve().files

    with pytest.raises(SourceFailed) as caught:
        read(found, yml)

    assert f"answers {status}: the repository is gated" in str(caught.value)
    assert f"{hub.url}/PaddlePaddle/det" in str(caught.value)


def test_a_revision_that_is_not_there_is_named(hub: HuggingFaceHub, repository: HubRepository) -> None:
    assert "there is no branch, tag or commit 'v9'; correct what follows @" in failure(hub.url, f"{SOURCE}@v9")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"RateLimit": '"api";r=0;t=55'}, 56),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "7"}, 7),
    ],
)
def test_a_hub_that_is_asked_too_often_says_when_to_come_again(
    headers: dict[str, str], seconds: int, repository: HubRepository, api_proxy: FaultyProxy
) -> None:
    api_proxy.replace("/api/", Answer(429, headers))

    with pytest.raises(Overloaded) as caught:
        origin(api_proxy.url).resolve()

    assert caught.value.retry_after_seconds == seconds


def test_a_hub_that_fails_now_is_asked_again(
    repository: HubRepository, api_proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    api_proxy.replace("/api/", Answer(503), times=2)

    fetched = fetcher.fetch(SOURCE, endpoint=api_proxy.url)

    assert fetcher.files(fetched) == MODEL


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"sha": "main", "siblings": []}', b'{"sha": "' + b"0" * 40 + b'"}']
)
def test_an_endpoint_that_is_no_hub_is_named(body: bytes, repository: HubRepository, api_proxy: FaultyProxy) -> None:
    api_proxy.replace("/api/", Answer(200, {}, body))

    assert "must answer with a repository" in failure(api_proxy.url)


def test_a_list_of_files_that_never_ends_is_left(repository: HubRepository, api_proxy: FaultyProxy) -> None:
    api_proxy.replace("/api/", Answer(200, {}, b" " * (16 * 2**20 + 1)))

    assert "answers with more than 16777216 bytes" in failure(api_proxy.url)


def test_a_mirror_that_answers_with_another_commit_is_refused(
    repository: HubRepository, api_proxy: FaultyProxy
) -> None:
    wanted, other = repository.branches["main"], repository.commit({"inference.onnx": OTHER})
    api_proxy.replace("/api/", Answer(200, {}, f'{{"sha": "{other}", "siblings": []}}'.encode()))

    assert f"answers with the commit {other}" in failure(api_proxy.url, f"{SOURCE}@{wanted}")


def test_a_mirror_that_states_no_sizes_and_digests_still_serves(
    repository: HubRepository, api_proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    siblings = '[{"rfilename": "inference.yml"}, {"rfilename": "inference.onnx"}]'
    body = f'{{"sha": "{repository.branches["main"]}", "siblings": {siblings}}}'
    api_proxy.replace("/api/models/", Answer(200, {}, body.encode()))

    fetched = fetcher.fetch(SOURCE, endpoint=api_proxy.url)

    assert fetcher.files(fetched) == MODEL


def test_paths_of_a_list_that_lead_out_of_it_are_passed_over(repository: HubRepository, api_proxy: FaultyProxy) -> None:
    siblings = '[{"rfilename": "../inference.yml"}, {"rfilename": "/inference.om"}, {"rfilename": "inference.onnx"}]'
    body = f'{{"sha": "{repository.branches["main"]}", "siblings": {siblings}}}'
    api_proxy.replace("/api/models/", Answer(200, {}, body.encode()))

    assert [file.path for file in origin(api_proxy.url).resolve().files] == ["inference.onnx"]


def test_a_model_with_the_digest_that_is_wanted_comes_and_one_with_another_does_not(
    hub: HuggingFaceHub, repository: HubRepository, fetcher: Fetcher
) -> None:
    fetched = fetcher.fetch(SOURCE, digest_of_bytes([WEIGHTS]), endpoint=hub.url)

    assert fetcher.files(fetched) == MODEL
    with pytest.raises(Refused):
        fetcher.fetch(SOURCE, digest_of_bytes([OTHER]), endpoint=hub.url)


def test_credentials_without_a_token_are_refused_unless_they_hold_a_certificate() -> None:
    named = Credentials("hub", {"username": Secret("somebody")})

    with pytest.raises(Refused, match="have no token"):
        HuggingFaceOrigin.at(SOURCE, None, named, HttpClient())
    assert HuggingFaceOrigin.at(SOURCE, None, Credentials("hub", {"ca.crt": Secret("PEM")}), HttpClient()).token is None


def test_the_public_hub_is_asked_where_no_endpoint_is_given() -> None:
    found = HuggingFaceOrigin.at(SOURCE, None, None, HttpClient())

    assert found.endpoint.text == "https://huggingface.co/"
    assert READER not in repr(origin("https://huggingface.co", token=READER))


def test_the_same_address_at_another_endpoint_is_another_source() -> None:
    assert origin("https://a.example").key != origin("https://b.example").key


def test_nothing_but_errors_of_the_project_comes_out_when_nobody_listens() -> None:
    with pytest.raises(Retry) as caught:
        origin("http://127.0.0.1:9").resolve()

    assert isinstance(caught.value, HpiError)


def test_a_mirror_of_the_site_is_asked_where_the_pipeline_names_no_endpoint(
    hub: HuggingFaceHub, repository: HubRepository, fetcher: Fetcher
) -> None:
    settings = SourceSettings.read({"HPI_HF_ENDPOINT": hub.url, "HF_ENDPOINT": "http://127.0.0.1:9"})
    fetcher.settings["endpoints"] = settings.endpoints

    assert fetcher.files(fetcher.fetch(SOURCE)) == MODEL
    with hugging_face_hub() as other:
        other.add(HubRepository("PaddlePaddle", "det")).commit({"inference.onnx": OTHER})
        assert fetcher.files(fetcher.fetch(SOURCE, endpoint=other.url)) == {"inference.onnx": OTHER}
