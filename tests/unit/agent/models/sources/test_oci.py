"""Artifacts of registries: against the real registry of the distribution project, and what may stand before it."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.files import ModelDirectory
from hpi_agent.models.sources.http_client import HttpClient
from hpi_agent.models.sources.oci import OciOrigin
from hpi_agent.models.sources.oci_manifest import MAX_MANIFEST_BYTES
from hpi_agent.models.sources.protocol import RemoteFile
from hpi_core.errors import HpiError, Overloaded, Refused, SourceFailed
from support.faulty_proxy import FaultyProxy, faulty_proxy
from support.fetching import Fetcher, weights
from support.loopback_server import Answer, LoopbackServer, Request, content_answer, serving
from support.oci_registry.artifacts import (
    INDEX,
    MANIFEST,
    TAR,
    TAR_GZIP,
    Layer,
    digest_of,
    push_files,
    push_layers,
    push_manifest,
    tar_of,
)
from support.oci_registry.server import PASSWORD, USER, OciRegistry, oci_registry, with_password
from support.oci_registry.tokens import TokenService, token_service

pytestmark = pytest.mark.slow

WEIGHTS = weights()
OTHER = weights(seed=2)
MODEL = {"inference.yml": b"Global: {model_name: det}\n", "inference.onnx": WEIGHTS}
NAME = "team/det:1"
TITLE = "org.opencontainers.image.title"
FILE_PATH = "org.cncf.model.filepath"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where registries of one test, one after the other, keep what was pushed."""
    folder = tmp_path / "registry"
    folder.mkdir()
    return folder


@pytest.fixture
def registry(folder: Path) -> Iterator[OciRegistry]:
    """A registry that is open to everybody."""
    with oci_registry(folder) as registry:
        yield registry


@pytest.fixture
def filled(folder: Path) -> Path:
    """The folder of a registry that has the model, for registries that nobody may push to."""
    with oci_registry(folder) as registry:
        push_files(registry.authority, NAME, MODEL)
    return folder


@pytest.fixture
def proxy(registry: OciRegistry) -> Iterator[FaultyProxy]:
    """What stands between clients and the registry."""
    with faulty_proxy(registry.url) as proxy:
        yield proxy


def source(at: OciRegistry | LoopbackServer, name: str = NAME) -> str:
    """Return the source of an artifact."""
    return f"oci://{at.authority}/{name}"


def login(**more: str) -> Credentials:
    """Return the credentials of the one account, and other keys."""
    keys = {"username": USER, "password": PASSWORD, **more}
    return Credentials("registry", {name: Secret(value) for name, value in keys.items()})


def origin(at: OciRegistry | LoopbackServer, name: str = NAME, credentials: Credentials | None = None) -> OciOrigin:
    """Return the origin of an artifact."""
    return OciOrigin.at(source(at, name), credentials, HttpClient())


def failure(found: OciOrigin) -> str:
    """Return the words with which resolving fails for good."""
    with pytest.raises(SourceFailed) as caught:
        found.resolve()
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def read(found: OciOrigin, file: RemoteFile, offset: int = 0) -> tuple[int, bytes]:
    """Return where the body of a file begins, and the body."""
    with found.open(file, offset) as body:
        return body.offset, b"".join(body.chunks)


def pushed_layers(registry: OciRegistry, *layers: Layer) -> str:
    """Push an artifact of some layers and return its source."""
    push_layers(registry.authority, NAME, layers)
    return source(registry)


# What artifacts look like.


def test_files_pushed_by_oras_come_into_the_store_byte_for_byte(registry: OciRegistry, fetcher: Fetcher) -> None:
    push_files(registry.authority, NAME, {**MODEL, "README.md": b"words"})

    fetched = fetcher.fetch(source(registry))

    assert isinstance(fetched.located, ModelDirectory)
    assert fetcher.files(fetched) == MODEL


def test_a_folder_pushed_by_oras_is_unpacked(registry: OciRegistry, fetcher: Fetcher) -> None:
    push_files(registry.authority, NAME, {**MODEL, "README.md": b"words"}, folder="det")

    assert fetcher.files(fetcher.fetch(source(registry))) == MODEL


def test_a_folder_marked_for_unpacking_is_unpacked_whatever_its_type(registry: OciRegistry, fetcher: Fetcher) -> None:
    marks = {TITLE: "det", "io.deis.oras.content.unpack": "true"}
    packed = tar_of({f"det/{name}": content for name, content in MODEL.items()})

    assert fetcher.files(fetcher.fetch(pushed_layers(registry, Layer(packed, TAR, marks)))) == MODEL


@pytest.mark.parametrize("kind", ["raw", "tar", "tar+gzip"])
@pytest.mark.parametrize("vendor", ["cncf", "cnai"])
def test_an_artifact_of_the_model_format_specification_comes_whole(
    vendor: str, kind: str, registry: OciRegistry, fetcher: Fetcher
) -> None:
    def layer(path: str, content: bytes, role: str) -> Layer:
        held = content if kind == "raw" else tar_of({path: content}, compressed=kind.endswith("gzip"))
        return Layer(held, f"application/vnd.{vendor}.model.{role}.v1.{kind}", {f"org.{vendor}.model.filepath": path})

    push_layers(
        registry.authority,
        NAME,
        [
            layer("inference.onnx", WEIGHTS, "weight"),
            layer("inference.yml", MODEL["inference.yml"], "weight.config"),
            layer("README.md", b"words", "doc"),
        ],
        artifactType=f"application/vnd.{vendor}.model.manifest.v1+json",
    )

    assert fetcher.files(fetcher.fetch(source(registry))) == MODEL


@pytest.mark.parametrize("compressed", [False, True])
def test_an_image_gives_the_model_in_its_layers(compressed: bool, registry: OciRegistry, fetcher: Fetcher) -> None:
    inside = {f"models/det/{name}": content for name, content in MODEL.items()}
    layers = [tar_of({"etc/passwd": b"root"}, compressed=compressed), tar_of(inside, compressed=compressed)]

    found = pushed_layers(registry, *(Layer(one, TAR_GZIP if compressed else TAR) for one in layers))

    assert fetcher.files(fetcher.fetch(found)) == MODEL


def test_an_image_of_docker_is_read_as_well(registry: OciRegistry, fetcher: Fetcher) -> None:
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    packed = Layer(tar_of(MODEL, compressed=True), "application/vnd.docker.image.rootfs.diff.tar.gzip")
    config = Layer(b"{}", "application/vnd.docker.container.image.v1+json")
    push_layers(registry.authority, "team/det:blobs", [packed, config])
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config.descriptor(), "layers": [packed.descriptor()]}
    push_manifest(registry.authority, NAME, manifest)

    assert fetcher.files(fetcher.fetch(source(registry))) == MODEL


def test_links_and_names_of_archives_lead_nowhere(registry: OciRegistry, fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    packed = tar_of({"../../inference.onnx": WEIGHTS}, links={"../../inference.yml": str(tmp_path / "secret")})

    fetched = fetcher.fetch(pushed_layers(registry, Layer(packed, TAR)))

    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}


@pytest.mark.parametrize(
    "title", ["../inference.onnx", "/etc/inference.onnx", "a/../../inference.onnx", "a\\inference.onnx"]
)
def test_a_title_that_leads_out_of_its_folder_is_refused(title: str, registry: OciRegistry) -> None:
    pushed_layers(registry, Layer(WEIGHTS, TAR, {TITLE: title}))

    assert "names are relative, without '.', '..', backslashes" in failure(origin(registry))


def test_layers_compressed_by_zstd_are_refused_in_words(registry: OciRegistry) -> None:
    pushed_layers(registry, Layer(b"(\xb5/\xfd", f"{TAR}+zstd"))

    assert "layer 1 is compressed by zstd, which is not read here" in failure(origin(registry))


def test_an_artifact_without_a_model_is_answered_with_its_layers(registry: OciRegistry) -> None:
    push_files(registry.authority, NAME, {"README.md": b"words"})

    words = failure(origin(registry))

    assert "its layers: ['README.md']" in words
    assert "oras push" in words


def test_an_index_with_one_manifest_is_that_manifest(registry: OciRegistry, fetcher: Fetcher) -> None:
    push_index(registry, {"architecture": "unknown", "os": "unknown"})

    assert fetcher.files(fetcher.fetch(source(registry, "team/det:all"))) == MODEL


def push_index(registry: OciRegistry, *platforms: dict[str, str] | None) -> str:
    """Push an index, tagged `all`, that names the model once for each platform, and an attestation."""
    digest = push_files(registry.authority, NAME, MODEL)
    one = {"mediaType": MANIFEST, "digest": digest, "size": registry.blob_path(digest).stat().st_size}
    entries = [one if platform is None else {**one, "platform": platform} for platform in platforms]
    attestation = {**one, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*entries, attestation]}
    return push_manifest(registry.authority, "team/det:all", index)


# What is remembered.


def test_an_artifact_named_by_its_digest_is_not_asked_for_again(
    registry: OciRegistry, proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    digest = push_files(registry.authority, NAME, MODEL)
    found = source(proxy.server, f"team/det@{digest}")
    fetcher.fetch(found)
    proxy.server.requests.clear()

    fetched = fetcher.fetch(found)

    assert proxy.server.requests == []
    assert fetcher.files(fetched) == MODEL


def test_a_tag_that_did_not_move_costs_one_request(registry: OciRegistry, proxy: FaultyProxy, fetcher: Fetcher) -> None:
    push_files(registry.authority, NAME, MODEL)
    fetcher.fetch(source(proxy.server))
    proxy.server.requests.clear()

    fetcher.fetch(source(proxy.server))

    assert [request.target for request in proxy.server.requests] == ["/v2/team/det/manifests/1"]


def test_a_tag_that_moved_is_fetched_anew(registry: OciRegistry, fetcher: Fetcher) -> None:
    push_files(registry.authority, NAME, MODEL)
    fetcher.fetch(source(registry))
    push_files(registry.authority, NAME, {**MODEL, "inference.onnx": OTHER})

    assert fetcher.files(fetcher.fetch(source(registry)))["inference.onnx"] == OTHER


def test_a_tag_that_moves_after_it_was_resolved_still_gives_what_was_resolved(registry: OciRegistry) -> None:
    first = push_files(registry.authority, NAME, {"inference.onnx": WEIGHTS})
    found = origin(registry)
    resolved = found.resolve()
    push_files(registry.authority, NAME, {"inference.onnx": OTHER})

    assert resolved.revision == first
    assert read(found, resolved.files[0]) == (0, WEIGHTS)


# What goes wrong on the way.


def test_a_layer_that_is_cut_is_resumed_where_it_ended(
    registry: OciRegistry, proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    push_files(registry.authority, NAME, {"inference.onnx": WEIGHTS})
    proxy.cut("/blobs/", 70_000)

    fetched = fetcher.fetch(source(proxy.server))

    asked = proxy.server.asked("/blobs/")
    assert [request.headers.get("range") for request in asked] == [None, "bytes=70000-"]
    assert fetcher.files(fetched) == {"inference.onnx": WEIGHTS}


def test_a_layer_with_another_digest_is_never_published(
    registry: OciRegistry, proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    push_files(registry.authority, NAME, {"inference.onnx": WEIGHTS})
    proxy.damage("/blobs/")

    with pytest.raises(SourceFailed, match=f"the origin states {digest_of(WEIGHTS)}"):
        fetcher.fetch(source(proxy.server))
    assert fetcher.entries() == []


@pytest.mark.parametrize("by_digest", [False, True])
def test_a_manifest_with_another_digest_is_never_read(
    by_digest: bool, registry: OciRegistry, proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    digest = push_files(registry.authority, NAME, MODEL)
    proxy.damage("/manifests/")

    with pytest.raises(SourceFailed, match=f"it should have {digest}"):
        fetcher.fetch(source(proxy.server, f"team/det@{digest}" if by_digest else NAME))


def test_a_manifest_that_was_damaged_once_comes_right_the_next_time(
    registry: OciRegistry, proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    push_files(registry.authority, NAME, MODEL)
    proxy.damage("/manifests/", times=1)

    assert fetcher.files(fetcher.fetch(source(proxy.server))) == MODEL


def test_a_manifest_that_never_ends_is_left(registry: OciRegistry, proxy: FaultyProxy) -> None:
    push_files(registry.authority, NAME, MODEL)
    proxy.replace("/manifests/", Answer(200, {}, b" " * (MAX_MANIFEST_BYTES + 1)))

    assert f"answers with more than {MAX_MANIFEST_BYTES} bytes" in failure(origin(proxy.server))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"schemaVersion": 1}', b'{"layers": []}'])
def test_what_is_no_manifest_is_named(body: bytes, registry: OciRegistry, proxy: FaultyProxy) -> None:
    proxy.replace("/manifests/", Answer(200, {}, body))

    assert "must answer with a manifest or an index of OCI" in failure(origin(proxy.server))


def test_redirects_in_a_circle_end(registry: OciRegistry, proxy: FaultyProxy, fetcher: Fetcher) -> None:
    push_files(registry.authority, NAME, MODEL)
    proxy.redirect("/blobs/", f"{proxy.url}/v2/team/det/blobs/x")

    with pytest.raises(SourceFailed, match="circle of redirects"):
        fetcher.fetch(source(proxy.server))


def test_a_redirect_to_a_metadata_service_is_refused(
    registry: OciRegistry, proxy: FaultyProxy, fetcher: Fetcher
) -> None:
    push_files(registry.authority, NAME, MODEL)
    proxy.redirect("/blobs/", "http://169.254.169.254/latest/meta-data/")

    with pytest.raises(Refused):
        fetcher.fetch(source(proxy.server))


def test_an_artifact_that_is_not_there_is_named(registry: OciRegistry) -> None:
    push_files(registry.authority, NAME, MODEL)

    assert "the artifact team/det 2 is not there; correct the source" in failure(origin(registry, "team/det:2"))


def test_a_registry_that_is_asked_too_often_says_when_to_come_again(registry: OciRegistry, proxy: FaultyProxy) -> None:
    proxy.replace("/manifests/", Answer(429, {"Retry-After": "7"}))

    with pytest.raises(Overloaded) as caught:
        origin(proxy.server).resolve()

    assert caught.value.retry_after_seconds == 7


# Who may read, and who gets to see which credentials.


def docker_config(authority: str) -> Credentials:
    """Return credentials as `docker login` writes them."""
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode("ascii")
    config = json.dumps({"auths": {"elsewhere.example": {"auth": "x"}, authority: {"auth": auth}}})
    return Credentials("registry", {".dockerconfigjson": Secret(config)})


@pytest.mark.parametrize("how", ["username and password", ".dockerconfigjson"])
def test_a_registry_behind_a_password_opens_to_it(how: str, filled: Path) -> None:
    with oci_registry(filled, with_password(filled)) as registry:
        credentials = login() if how.startswith("username") else docker_config(registry.authority)
        found = origin(registry, credentials=credentials)
        [_, onnx] = sorted(found.resolve().files, key=lambda file: file.size_bytes or 0)

        assert read(found, onnx, 70_000) == (70_000, WEIGHTS[70_000:])


def test_a_registry_that_wants_a_password_says_where_to_put_it(filled: Path) -> None:
    with oci_registry(filled, with_password(filled)) as registry:
        assert "answers 401; it wants a user and a password: put them into a Secret" in failure(origin(registry))


def test_a_wrong_password_is_tried_once(filled: Path) -> None:
    with oci_registry(filled, with_password(filled)) as registry, faulty_proxy(registry.url) as proxy:
        words = failure(origin(proxy.server, credentials=login(password="wrong")))  # noqa: S106 - it is

        assert "is not there, or the credentials have no right to it" in words
        assert len([one for one in proxy.server.requests if "authorization" in one.headers]) == 1


def test_a_registry_that_keeps_its_blobs_elsewhere_is_followed_without_credentials(
    filled: Path, fetcher: Fetcher
) -> None:
    def bucket(request: Request) -> Answer:
        return content_answer(request, (filled / "data" / request.path.lstrip("/")).read_bytes(), {})

    with (
        serving(bucket) as elsewhere,
        oci_registry(filled, with_password(filled), blobs_elsewhere=elsewhere.url) as registry,
    ):
        found = origin(registry, credentials=login())
        for file in found.resolve().files:
            offset, content = read(found, file, 3)
            assert (offset, digest_of(b"".join([MODEL[file.path][:3], content]))) == (3, file.digest)

        assert [set(one.headers) & {"authorization", "cookie"} for one in elsewhere.requests] == [set(), set()]


def test_another_host_that_keeps_blobs_and_asks_for_a_password_gets_none(filled: Path) -> None:
    with (
        serving(lambda _: Answer(401, {"WWW-Authenticate": 'Basic realm="r"'})) as elsewhere,
        oci_registry(filled, blobs_elsewhere=elsewhere.url) as registry,
    ):
        found = origin(registry, credentials=login())
        with pytest.raises(SourceFailed, match=elsewhere.url):
            read(found, found.resolve().files[0])

        assert [one.headers.get("authorization") for one in elsewhere.requests] == [None]
        assert found.access.authorization is None


def test_everybody_gets_a_token_for_what_everybody_may_read(filled: Path) -> None:
    with token_service(frozenset({"team/det"})) as tokens, oci_registry(filled, tokens.setting(filled)) as registry:
        found = origin(registry)

        assert len(found.resolve().files) == 2
        assert found.resolve().notes == ()
        assert asked_of(tokens) == ["repository:team/det:pull"]


def asked_of(tokens: TokenService) -> list[str]:
    """Return the scopes that a token service was asked for."""
    assert tokens.server is not None
    return [request.query["scope"] for request in tokens.server.requests]


def test_a_token_for_a_private_artifact_is_had_for_user_and_password_and_that_is_told(filled: Path) -> None:
    with token_service() as tokens, oci_registry(filled, tokens.setting(filled)) as registry:
        resolved = origin(registry, credentials=login(realm=tokens.realm)).resolve()

        assert len(resolved.files) == 2
        assert resolved.notes == (
            f"source '{source(registry)}': user and password were sent to {tokens.realm}, the registry's token service",
        )


def test_user_and_password_never_reach_the_registry_of_a_token_service(filled: Path) -> None:
    with (
        token_service() as tokens,
        oci_registry(filled, tokens.setting(filled)) as registry,
        faulty_proxy(registry.url) as proxy,
    ):
        origin(proxy.server, credentials=login(realm=tokens.realm)).resolve()

        sent = [
            one.headers["authorization"].split()[0] for one in proxy.server.requests if "authorization" in one.headers
        ]
        assert sent == ["Bearer"]


def test_a_token_service_that_the_credentials_do_not_name_gets_nothing(filled: Path) -> None:
    with token_service() as tokens, oci_registry(filled, tokens.setting(filled)) as registry:
        with pytest.raises(Refused) as caught:
            origin(registry, credentials=login()).resolve()

        assert f"wants user and password sent to the token service {tokens.realm}" in str(caught.value)
        assert "put its address into key realm of the Secret" in str(caught.value)
        assert asked_of(tokens) == []


def test_a_token_that_expires_on_the_way_is_renewed(filled: Path) -> None:
    with (
        token_service(frozenset({"team/det"})) as tokens,
        oci_registry(filled, tokens.setting(filled)) as registry,
        faulty_proxy(registry.url) as proxy,
    ):
        found = origin(proxy.server)
        file = found.resolve().files[0]
        challenge = f'Bearer realm="{tokens.realm}",service="x",scope="repository:team/det:pull",error="invalid_token"'
        proxy.replace("/blobs/", Answer(401, {"WWW-Authenticate": challenge}), times=1)

        assert read(found, file)[1] in MODEL.values()
        assert len(asked_of(tokens)) == 2


def test_a_private_artifact_without_credentials_says_where_to_put_them(filled: Path) -> None:
    with token_service() as tokens, oci_registry(filled, tokens.setting(filled)) as registry:
        assert "is not there, or it wants a user and a password" in failure(origin(registry))


def test_user_and_password_that_the_token_service_refuses_are_said_to_be_refused(filled: Path) -> None:
    with token_service() as tokens, oci_registry(filled, tokens.setting(filled)) as registry:
        credentials = login(realm=tokens.realm, password="wrong")  # noqa: S106 - it is

        assert "it does not take the user and password in the credentials" in failure(
            origin(registry, credentials=credentials)
        )


def test_no_secret_is_logged_or_shown(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    with token_service() as tokens, oci_registry(filled, tokens.setting(filled)) as registry:
        found = origin(registry, credentials=login(realm=tokens.realm))
        with contextlib.suppress(HpiError):
            read(found, found.resolve().files[0])

        shown = caplog.text + repr(found) + str(found.access)
        token = found.access.authorization

    assert token is not None
    secrets = (PASSWORD, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode("ascii"), token.reveal().split()[1])
    assert not [secret for secret in secrets if secret in shown]
