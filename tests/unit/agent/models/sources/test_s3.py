"""`s3://`: objects of a real service that checks signatures, cut and changed by a proxy before it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.files import ModelDirectory, WeightsFile
from hpi_agent.models.sources.http_client import HttpClient, read_endpoint
from hpi_agent.models.sources.s3 import Bucket, S3Origin
from hpi_core.digest import digest_of_bytes
from hpi_core.errors import HpiError, Refused, SourceFailed
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.fetching import Fetcher, weights
from support.loopback_server import Answer
from support.s3_service import PAGE, S3Service, running

WEIGHTS = weights()
SOURCE = "s3://models/ocr/det"
MODEL = {"inference.onnx": WEIGHTS, "inference.yml": b"Global: {model_name: det}\n"}
LISTING = Answer(200, {}, b"<html>a page of some portal</html>")


@pytest.fixture(scope="module")
def started() -> Iterator[S3Service]:
    """A service with one model, for all tests."""
    with running() as service:
        for name, content in {**MODEL, "scaler.pkl": b"a program", "old/inference.onnx": b"older"}.items():
            service.put(f"ocr/det/{name}", content)
        yield service


@pytest.fixture
def proxy(started: S3Service) -> Iterator[FaultyProxy]:
    """A proxy before the service."""
    with faulty_proxy(started.url) as proxy:
        yield proxy


@pytest.fixture
def s3(fetcher: Fetcher, started: S3Service, tmp_path: Path) -> Fetcher:
    """A store, and the Secret of a user who may read."""
    fetcher.settings["credentials"] = started.secret(tmp_path / "secrets")
    return fetcher


def failure(fetcher: Fetcher, source: str, credentials: str | None, endpoint: str, digest: str | None = None) -> str:
    with pytest.raises(SourceFailed) as caught:
        fetcher.fetch(source, digest, credentials=credentials, endpoint=endpoint)
    return str(caught.value)


@pytest.mark.parametrize("source", [SOURCE, f"{SOURCE}/"])
def test_of_a_folder_the_files_of_a_model_come(source: str, s3: Fetcher, proxy: FaultyProxy) -> None:
    fetched = s3.fetch(source, credentials="s3", endpoint=proxy.url)

    assert isinstance(fetched.located, ModelDirectory)
    assert s3.files(fetched) == MODEL
    assert not proxy.server.asked("scaler.pkl")


def test_one_object_is_a_weights_file(s3: Fetcher, proxy: FaultyProxy) -> None:
    fetched = s3.fetch(f"{SOURCE}/inference.onnx", credentials="s3", endpoint=proxy.url)

    assert isinstance(fetched.located, WeightsFile)
    assert s3.files(fetched) == {"inference.onnx": WEIGHTS}


def test_a_name_with_every_kind_of_character_is_signed_rightly(
    s3: Fetcher, started: S3Service, proxy: FaultyProxy
) -> None:
    started.put("a b+c/ü=&~/m.onnx", WEIGHTS)

    fetched = s3.fetch("s3://models/a b+c/ü=&~/m.onnx", credentials="s3", endpoint=proxy.url)

    assert s3.files(fetched) == {"inference.onnx": WEIGHTS}


def test_an_object_that_is_cut_is_resumed_where_it_ended(s3: Fetcher, proxy: FaultyProxy) -> None:
    proxy.change("ocr/det/inference.onnx", lambda answer: answer, times=1)
    proxy.cut("ocr/det/inference.onnx", 70_000)

    fetched = s3.fetch(SOURCE, credentials="s3", endpoint=proxy.url)

    assert s3.files(fetched) == MODEL
    ranges = [one.headers.get("range") for one in proxy.server.asked("ocr/det/inference.onnx")]
    assert ranges == ["bytes=0-0", None, "bytes=70000-"]


def test_an_object_that_changes_between_cut_and_resume_comes_as_it_is_now(
    s3: Fetcher, started: S3Service, proxy: FaultyProxy
) -> None:
    started.put("changing/m.onnx", WEIGHTS)
    other = weights(seed=2)

    def change(answer: Answer) -> Answer:
        from support.loopback_server import cut

        started.put("changing/m.onnx", other)
        return cut(answer, 70_000)

    # The first request asks for one byte.
    proxy.change("changing/m.onnx", lambda answer: answer, times=1)
    proxy.change("changing/m.onnx", change, times=1)

    fetched = s3.fetch("s3://models/changing/m.onnx", credentials="s3", endpoint=proxy.url)

    assert s3.files(fetched) == {"inference.onnx": other}


def test_a_warm_start_lists_and_fetches_nothing(s3: Fetcher, proxy: FaultyProxy) -> None:
    first = s3.fetch(SOURCE, credentials="s3", endpoint=proxy.url)
    proxy.server.requests.clear()

    again = s3.fetch(SOURCE, credentials="s3", endpoint=proxy.url)

    assert again.located == first.located
    assert {one.headers.get("range") for one in proxy.server.requests} == {None, "bytes=0-0"}
    assert len(proxy.server.requests) == 1 + len(MODEL)


def test_with_a_digest_nobody_is_asked_again(s3: Fetcher, proxy: FaultyProxy) -> None:
    s3.fetch(SOURCE, credentials="s3", endpoint=proxy.url)
    proxy.server.requests.clear()

    s3.fetch(SOURCE, digest_of_bytes([WEIGHTS]), credentials="s3", endpoint=proxy.url)

    assert proxy.server.requests == []


def test_a_wrong_digest_is_refused_and_nothing_is_published(s3: Fetcher, proxy: FaultyProxy) -> None:
    with pytest.raises(Refused, match="the manifest demands sha256:0000"):
        s3.fetch(SOURCE, "sha256:" + "0" * 64, credentials="s3", endpoint=proxy.url)

    assert (s3.entries(), s3.left_over()) == ([], [])


def test_a_wrong_secret_is_really_refused_and_not_shown(
    s3: Fetcher, started: S3Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "wr0ng-secret-that-nobody-may-see-0000000"
    started.secret(tmp_path / "secrets", "wrong", secretAccessKey=wrong)

    said = failure(s3, SOURCE, "wrong", started.url)

    assert said == (
        f"source '{SOURCE}': the service refuses it (SignatureDoesNotMatch) with credentials 'wrong'; it must allow "
        "s3:GetObject, and s3:ListBucket for a folder"
    )
    assert wrong not in caplog.text


def test_an_unknown_access_key_is_refused(s3: Fetcher, started: S3Service, tmp_path: Path) -> None:
    started.secret(tmp_path / "secrets", "unknown", accessKeyId="AKIAUNKNOWN000000000")

    assert "(InvalidAccessKeyId)" in failure(s3, SOURCE, "unknown", started.url)


def test_a_user_who_may_not_list_is_told_which_right_is_missing(
    s3: Fetcher, started: S3Service, tmp_path: Path
) -> None:
    started.secret(tmp_path / "secrets", "getter", user="getter")

    assert "(AccessDenied) with credentials 'getter'" in failure(s3, SOURCE, "getter", started.url)
    fetched = s3.fetch(f"{SOURCE}/inference.onnx", credentials="getter", endpoint=started.url)
    assert s3.files(fetched) == {"inference.onnx": WEIGHTS}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("s3://models/nothing", "has none of inference.yml"),
        ("s3://models/nothing.onnx", "there is nothing (NoSuchKey)"),
        ("s3://no-such-bucket/x.onnx", "there is nothing (NoSuchBucket)"),
    ],
)
def test_what_is_not_there_is_said(source: str, said: str, s3: Fetcher, started: S3Service) -> None:
    assert said in failure(s3, source, "s3", started.url)


def test_a_folder_of_more_objects_than_one_page_is_listed_to_its_end(
    s3: Fetcher, started: S3Service, proxy: FaultyProxy
) -> None:
    for number in range(2 * PAGE):
        started.put(f"many/{number:04d}", b"x")
    for name, content in MODEL.items():
        started.put(f"many/{name}", content)

    fetched = s3.fetch("s3://models/many", credentials="s3", endpoint=proxy.url)

    assert s3.files(fetched) == MODEL
    assert len(proxy.server.asked("continuation-token")) == 2


@pytest.mark.parametrize("body", [LISTING.body, b"", b"<a", b"<ListBucketResult><Contents/></ListBucketResult>"])
def test_what_is_no_list_of_objects_is_said_to_be_none(body: bytes, s3: Fetcher, proxy: FaultyProxy) -> None:
    proxy.replace("list-type=2", Answer(200, {}, body))

    said = failure(s3, SOURCE, "s3", proxy.url)

    assert "no list of objects" in said or "has none of" in said


def test_entities_that_grow_do_not_fill_the_memory(s3: Fetcher, proxy: FaultyProxy) -> None:
    entities = "".join(f'<!ENTITY e{level + 1} "{f"&e{level};" * 10}">' for level in range(12))
    bomb = f'<!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><x>&e12;</x>'.encode()
    proxy.replace("list-type=2", Answer(200, {}, bomb))

    assert "no list of objects (ParseError)" in failure(s3, SOURCE, "s3", proxy.url)


def test_a_service_that_is_slowing_down_is_asked_again(s3: Fetcher, proxy: FaultyProxy) -> None:
    proxy.replace("list-type=2", Answer(503, {}, b"<Error><Code>SlowDown</Code></Error>"), times=1)

    assert s3.files(s3.fetch(SOURCE, credentials="s3", endpoint=proxy.url)) == MODEL
    assert s3.clock.slept == [1.0]


def test_a_service_that_does_not_say_its_region_lets_one_be_named(s3: Fetcher, proxy: FaultyProxy) -> None:
    body = b"<Error><Code>AuthorizationHeaderMalformed</Code></Error>"
    proxy.replace("list-type=2", Answer(400, {}, body))

    assert "it was asked for in us-east-1, name another one in the key region" in failure(s3, SOURCE, "s3", proxy.url)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(301, {"x-amz-bucket-region": "eu-central-1"}),
        Answer(
            400,
            {},
            b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>wrong</Message><Region>eu-central-1</Region></Error>",
        ),
    ],
)
def test_a_bucket_of_another_region_says_which(answer: Answer, s3: Fetcher, proxy: FaultyProxy) -> None:
    proxy.replace("list-type=2", answer)

    assert "the bucket lies in eu-central-1, it was asked for in us-east-1" in failure(s3, SOURCE, "s3", proxy.url)


def test_a_signed_request_is_never_redirected(s3: Fetcher, proxy: FaultyProxy) -> None:
    with faulty_proxy(proxy.upstream) as elsewhere:
        proxy.redirect("list-type=2", f"{elsewhere.url}/models/")

        assert "answers 307" in failure(s3, SOURCE, "s3", proxy.url)

        assert elsewhere.server.requests == []


def test_an_object_that_is_stored_compressed_is_refused(s3: Fetcher, proxy: FaultyProxy) -> None:
    proxy.change(
        "ocr/det/inference.yml", lambda answer: Answer(200, {**answer.headers, "Content-Encoding": "gzip"}, answer.body)
    )

    assert "is stored compressed; store it as it is" in failure(s3, SOURCE, "s3", proxy.url)


def test_the_settings_of_amazons_own_clients_are_not_looked_at(
    fetcher: Fetcher, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: S3Service
) -> None:
    access, secret = started.keys["reader"]
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(
        f"[default]\naws_access_key_id={access}\naws_secret_access_key={secret}\n"
    )
    for name, value in {"HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}.items():
        monkeypatch.setenv(name, value)
    fetcher.patience["attempts"] = 1

    failure(fetcher, SOURCE, None, proxy.url)

    assert {one.headers.get("authorization") for one in proxy.server.requests} == {None}


@pytest.mark.parametrize(
    "source",
    [
        "s3://",
        "s3:///x",
        "s3://A/x",
        "s3://ab/x",
        "s3://a..",
        "s3://me:pw@models/x",
        "s3://models/x?y",
        "s3://models/x#y",
    ],
)
def test_an_address_that_names_no_bucket_is_refused(source: str, fetcher: Fetcher) -> None:
    with pytest.raises(Refused):
        fetcher.fetch(source, endpoint="http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("name", "endpoint", "region", "base", "obtained"),
    [
        ("models", None, None, "https://models.s3.us-east-1.amazonaws.com/", "us-east-1"),
        ("models", None, "eu-central-1", "https://models.s3.eu-central-1.amazonaws.com/", "eu-central-1"),
        ("my.models", None, "eu-west-1", "https://s3.eu-west-1.amazonaws.com/my.models/", "eu-west-1"),
        ("models", "https://minio.example:9000", None, "https://minio.example:9000/models/", "us-east-1"),
        ("models", "https://gate.example/s3/", "here", "https://gate.example/s3/models/", "here"),
        (
            "models",
            "https://s3.ap-south-1.amazonaws.com",
            None,
            "https://s3.ap-south-1.amazonaws.com/models/",
            "ap-south-1",
        ),
    ],
)
def test_a_bucket_has_an_address_and_a_region(
    name: str, endpoint: str | None, region: str | None, base: str, obtained: str
) -> None:
    credentials = None if region is None else Credentials("s3", {"region": Secret(region)})
    url = None if endpoint is None else read_endpoint(endpoint)

    bucket = Bucket.at(f"s3://{name}", name, url, credentials)

    assert (str(bucket.base), bucket.region) == (base, obtained)


def test_plain_http_to_another_machine_needs_a_digest_here_too() -> None:
    keys = {"accessKeyId": Secret("a"), "secretAccessKey": Secret("b")}
    credentials = Credentials("s3", keys)
    bucket = Bucket.at("s3://models", "models", read_endpoint("http://minio.example:9000"), credentials)

    with pytest.raises(Refused, match="plain http can be changed on its way"):
        S3Origin("s3://models", bucket, "", HttpClient(), credentials).resolve()


def test_nothing_of_the_keys_is_shown_written_or_told(
    s3: Fetcher, started: S3Service, proxy: FaultyProxy, tmp_path: Path
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    session = "sess1on-token-that-nobody-may-see"
    started.secret(tmp_path / "secrets", "session", sessionToken=session)
    said = []
    try:
        for name in ("s3", "session"):
            try:
                said.append(repr(s3.fetch(SOURCE, credentials=name, endpoint=proxy.url)))
            except HpiError as error:
                said.append(repr(error))
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(logging.WARNING)
    written = [path.read_bytes().decode("latin-1") for path in s3.root.rglob("*") if path.is_file()]

    secrets = [started.keys["reader"][1], session, "Signature="]
    assert [one for one in secrets if any(one in text for text in [*said, *written, stream.getvalue()])] == []
    assert proxy.server.requests[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
