"""ModelScope: against a double of it that the hub's own client takes for the hub."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.files import ModelDirectory
from hpi_agent.models.sources.http_client import HttpClient
from hpi_agent.models.sources.modelscope import MAX_ENTRIES, ModelScopeOrigin
from hpi_agent.models.sources.protocol import Changed
from hpi_core.errors import Overloaded, Refused, SourceFailed
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.fetching import Fetcher, weights
from support.hub_repository import HubRepository
from support.loopback_server import Answer
from support.modelscope_server import SIGNATURE, ModelScopeHub, modelscope_hub

READER = "ms-of-somebody-who-may"
WEIGHTS = weights()
OTHER = weights(seed=2)
MODEL = {"inference.yml": b"Global: {model_name: det}\n", "inference.onnx": WEIGHTS}
SOURCE = "modelscope://PaddlePaddle/det"


@pytest.fixture
def hub() -> Iterator[ModelScopeHub]:
    """An empty hub."""
    with modelscope_hub() as hub:
        yield hub


@pytest.fixture
def repository(hub: ModelScopeHub) -> HubRepository:
    """A repository that everybody may read, with one commit."""
    repository = hub.add(HubRepository("PaddlePaddle", "det"))
    repository.commit({**MODEL, "README.md": b"words", "fp16/inference.onnx": OTHER})
    return repository


@pytest.fixture
def store_proxy(hub: ModelScopeHub) -> Iterator[FaultyProxy]:
    """What stands between clients and the store of large files."""
    assert hub.store is not None
    with faulty_proxy(hub.store.url) as proxy:
        hub.store_url = proxy.url
        yield proxy


@pytest.fixture
def api_proxy(hub: ModelScopeHub) -> Iterator[FaultyProxy]:
    """What stands between clients and the hub itself."""
    with faulty_proxy(hub.url) as proxy:
        yield proxy


def origin(endpoint: str, source: str = SOURCE, token: str | None = None) -> ModelScopeOrigin:
    """Return the origin of a source."""
    credentials = None if token is None else Credentials("hub", {"token": Secret(token)})
    return ModelScopeOrigin.at(source, endpoint, credentials, HttpClient())


def failure(endpoint: str, source: str = SOURCE, token: str | None = None) -> str:
    """Return the words with which resolving fails for good."""
    with pytest.raises(SourceFailed) as caught:
        origin(endpoint, source, token).resolve()
    assert READER not in str(caught.value)
    return str(caught.value)


def test_the_hubs_own_client_takes_the_double_for_the_hub(
    hub: ModelScopeHub, repository: HubRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    from modelscope_hub.api import HubApi
    from modelscope_hub.config import HubConfig

    config = HubConfig(endpoint=hub.url, cache_dir=tmp_path / "cache", config_dir=tmp_path / "config", token="")
    HubApi(config).download_repo("PaddlePaddle/det", "model", local_dir=tmp_path / "got")

    assert (tmp_path / "got/inference.onnx").read_bytes() == WEIGHTS
    assert (tmp_path / "got/fp16/inference.onnx").read_bytes() == OTHER
    assert hub.api is not None
    by_client = {request.path for request in hub.api.asked("/repo")}
    hub.api.requests.clear()
    found = origin(hub.url)
    for file in found.resolve().files:
        with found.open(file, 0) as body:
            list(body.chunks)
    assert {request.path for request in hub.api.requests} <= by_client


def test_a_model_directory_comes_into_the_store_byte_for_byte(
    hub: ModelScopeHub, repository: HubRepository, fetcher: Fetcher
) -> None:
    fetched = fetcher.fetch(SOURCE, endpoint=hub.url)

    assert isinstance(fetched.located, ModelDirectory)
    assert fetcher.files(fetched) == MODEL


def test_a_folder_of_a_repository_comes_alone(hub: ModelScopeHub, repository: HubRepository, fetcher: Fetcher) -> None:
    fetched = fetcher.fetch(f"{SOURCE}/fp16", endpoint=hub.url)

    assert fetcher.files(fetched) == {"inference.onnx": OTHER}


def test_what_was_fetched_is_not_fetched_again_while_the_hub_lists_the_same(
    hub: ModelScopeHub, repository: HubRepository, fetcher: Fetcher
) -> None:
    fetcher.fetch(SOURCE, endpoint=hub.url)
    repository.commit({**MODEL, "README.md": b"other words"})
    assert hub.api is not None
    hub.api.requests.clear()

    fetcher.fetch(SOURCE, endpoint=hub.url)

    assert [request.path.rpartition("/")[2] for request in hub.api.requests] == ["files"]


def test_a_commit_that_was_fetched_is_not_asked_for_again(
    hub: ModelScopeHub, repository: HubRepository, fetcher: Fetcher
) -> None:
    source = f"{SOURCE}@{repository.branches['main']}"
    fetcher.fetch(source, endpoint=hub.url)
    assert hub.api is not None
    hub.api.requests.clear()

    fetched = fetcher.fetch(source, endpoint=hub.url)

    assert hub.api.requests == []
    assert fetcher.files(fetched) == MODEL


def test_a_commit_is_told_as_the_revision_and_a_branch_is_not(hub: ModelScopeHub, repository: HubRepository) -> None:
    commit = repository.branches["main"]

    assert origin(hub.url, f"{SOURCE}@{commit}").resolve().revision == commit
    assert origin(hub.url).resolve().revision is None


def test_what_the_store_of_large_files_refuses_is_not_taken_for_words_of_the_hub(
    hub: ModelScopeHub, repository: HubRepository, store_proxy: FaultyProxy
) -> None:
    store_proxy.replace("/", Answer(403))
    found = origin(hub.url)
    [_, onnx] = found.resolve().files

    with pytest.raises(SourceFailed) as caught, found.open(onnx, 0):
        pass

    assert f"{store_proxy.url}/" in str(caught.value)
    assert "is private" not in str(caught.value)


def test_a_branch_that_moves_after_it_was_resolved_is_noticed_before_a_byte_is_taken(
    hub: ModelScopeHub, repository: HubRepository
) -> None:
    found = origin(hub.url)
    [_, onnx] = found.resolve().files
    repository.commit({**MODEL, "inference.onnx": OTHER})

    with pytest.raises(Changed), found.open(onnx, 0):
        pass


def test_a_branch_that_moves_while_it_is_fetched_comes_as_it_is_now(
    hub: ModelScopeHub, repository: HubRepository, store_proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    def move(answer: Answer) -> Answer:
        repository.commit({**MODEL, "inference.onnx": OTHER})
        return Answer(answer.status, answer.headers, answer.body[:70_000], len(answer.body))

    store_proxy.change("/", move, times=1)

    fetched = fetcher.fetch(SOURCE, endpoint=hub.url)

    assert fetcher.files(fetched)["inference.onnx"] == OTHER


def test_a_large_file_that_is_cut_is_resumed_where_it_ended(
    hub: ModelScopeHub, repository: HubRepository, store_proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    store_proxy.cut("/", 70_000)

    fetched = fetcher.fetch(SOURCE, endpoint=hub.url)

    assert [request.headers.get("range") for request in store_proxy.server.requests] == [None, "bytes=70000-"]
    assert fetcher.files(fetched) == MODEL


@pytest.mark.parametrize("part", ["inference.yml", "inference.onnx"])
def test_bytes_that_the_hub_does_not_state_are_never_published(
    part: str, repository: HubRepository, hub: ModelScopeHub, fetcher: Fetcher
) -> None:
    with faulty_proxy(hub.url) as api, faulty_proxy(hub.store_url) as store:
        hub.store_url = store.url
        (api if part.endswith("yml") else store).damage("FilePath" if part.endswith("yml") else "/")

        with pytest.raises(SourceFailed, match="the origin states sha256:"):
            fetcher.fetch(SOURCE, endpoint=api.url)

    assert fetcher.entries() == []


def test_redirects_in_a_circle_end(repository: HubRepository, api_proxy: FaultyProxy, fetcher: Fetcher) -> None:
    api_proxy.redirect("FilePath", f"{api_proxy.url}/x?FilePath=x")

    with pytest.raises(SourceFailed, match="circle of redirects"):
        fetcher.fetch(SOURCE, endpoint=api_proxy.url)


def test_the_token_goes_to_the_hub_and_not_to_the_store_of_large_files(
    hub: ModelScopeHub, repository: HubRepository, fetcher: Fetcher, tmp_path: Path
) -> None:
    repository.readers = frozenset({READER})
    (tmp_path / "secrets/hub").mkdir(parents=True)
    (tmp_path / "secrets/hub/token").write_text(READER)
    fetcher.settings["credentials"] = tmp_path / "secrets"

    fetched = fetcher.fetch(SOURCE, endpoint=hub.url, credentials="hub")

    assert fetcher.files(fetched) == MODEL
    assert hub.api is not None
    assert hub.store is not None
    seen = {(one.headers.get("authorization"), one.headers.get("cookie")) for one in hub.api.requests}
    assert seen == {(f"Bearer {READER}", f"m_session_id={READER}")}
    assert [one for one in hub.store.requests if READER in str(one)] == []
    assert len(hub.store.requests) == 1


def test_the_token_is_never_logged_raised_or_kept(
    hub: ModelScopeHub,
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


def test_no_token_or_endpoint_of_the_machine_is_used(
    hub: ModelScopeHub, repository: HubRepository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".modelscope/credentials").mkdir(parents=True)
    (tmp_path / ".modelscope/credentials/git_token").write_text(READER)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", READER)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "http://127.0.0.1:9")

    origin(hub.url).resolve()

    assert hub.api is not None
    assert not any(READER in str(request) for request in hub.api.requests)


@pytest.mark.parametrize(("token", "what"), [(None, "none is given"), ("ms-nobody", "has no right to it")])
def test_a_private_repository_says_what_to_do(
    token: str | None, what: str, hub: ModelScopeHub, repository: HubRepository
) -> None:
    repository.readers = frozenset({READER})

    words = failure(hub.url, token=token)

    assert "is private; put a token that may read it into key token of the Secret" in words
    assert what in words


@pytest.mark.parametrize("source", ["modelscope://o/nothing", f"{SOURCE}@v9", f"{SOURCE}/nowhere"])
def test_a_repository_revision_or_folder_that_is_not_there_is_named(
    source: str, hub: ModelScopeHub, repository: HubRepository
) -> None:
    assert "answers 404: there is no repository" in failure(hub.url, source)


def test_a_hub_that_is_asked_too_often_says_when_to_come_again(
    repository: HubRepository, api_proxy: FaultyProxy
) -> None:
    api_proxy.replace("/repo", Answer(429, {"Retry-After": "7"}))

    with pytest.raises(Overloaded) as caught:
        origin(api_proxy.url).resolve()

    assert caught.value.retry_after_seconds == 7


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"Data": null}', b'{"Data": {"Files": [{"Size": 1}]}}'])
def test_an_endpoint_that_is_no_hub_is_named(body: bytes, repository: HubRepository, api_proxy: FaultyProxy) -> None:
    api_proxy.replace("/repo", Answer(200, {}, body))

    assert "must answer with a list of files (Data.Files)" in failure(api_proxy.url)


def listing(entries: list[dict[str, object]]) -> Answer:
    """Return the hub's answer with some entries."""
    return Answer(200, {}, json.dumps({"Data": {"Files": entries}}).encode())


@pytest.mark.parametrize(("count", "cut"), [(MAX_ENTRIES - 1, False), (MAX_ENTRIES, True)])
def test_a_list_that_the_hub_has_cut_is_not_taken_for_the_whole(
    count: int, cut: bool, repository: HubRepository, api_proxy: FaultyProxy
) -> None:
    entries: list[dict[str, object]] = [{"Path": "inference.onnx", "Size": 1}]
    api_proxy.replace("/repo", listing(entries + [{"Path": f"{n}.txt", "Size": 1} for n in range(count - 1)]))

    if cut:
        assert "the hub lists no more than that; name a smaller folder" in failure(api_proxy.url)
    else:
        assert len(origin(api_proxy.url).resolve().files) == 1


def test_paths_of_a_list_that_lead_out_of_it_are_passed_over(repository: HubRepository, api_proxy: FaultyProxy) -> None:
    paths = ["../inference.yml", "/inference.om", "a/../inference.json", "inference.onnx"]
    api_proxy.replace("/repo", listing([{"Path": path, "Size": 1} for path in paths]))

    assert [file.path for file in origin(api_proxy.url).resolve().files] == ["inference.onnx"]


def test_a_folder_with_the_name_of_a_file_is_none(repository: HubRepository, api_proxy: FaultyProxy) -> None:
    entries: list[dict[str, object]] = [{"Path": "inference.onnx", "Type": "tree"}, {"Path": "inference.om", "Size": 1}]
    api_proxy.replace("/repo", listing(entries))

    assert [file.path for file in origin(api_proxy.url).resolve().files] == ["inference.om"]


def test_a_token_is_not_sent_over_plain_http_to_another_machine() -> None:
    with pytest.raises(Refused, match="credentials are not sent over plain http"):
        origin("http://hub.example", token=READER).resolve()


def test_the_public_hub_is_asked_where_no_endpoint_is_given() -> None:
    found = ModelScopeOrigin.at(SOURCE, None, None, HttpClient())

    assert found.endpoint.text == "https://modelscope.cn/"
    assert READER not in repr(origin("https://modelscope.cn", token=READER))
