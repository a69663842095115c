"""What registries ask for, and who gets to see which credentials: against servers that would like to see them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.docker_config import Login
from hpi_agent.models.sources.http_client import HttpClient
from hpi_agent.models.sources.oci import OciOrigin
from hpi_agent.models.sources.oci_auth import Challenge, login_of, read_challenge
from hpi_agent.models.sources.oci_reference import read_reference
from hpi_core.errors import Refused, SourceFailed
from support.loopback_server import Answer, LoopbackServer, Request, serving

USER, PASSWORD = "reader", "word of the reader"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode("ascii")


def secrets(**keys: str) -> Credentials:
    """Return credentials; `dockerconfigjson` and `ca_crt` stand for the keys with dots."""
    names = {"dockerconfigjson": ".dockerconfigjson", "ca_crt": "ca.crt"}
    return Credentials("registry", {names.get(name, name): Secret(value) for name, value in keys.items()})


def docker_config(**auths: object) -> Credentials:
    """Return credentials with a configuration of Docker; `_` in a name stands for a dot."""
    return secrets(
        dockerconfigjson=json.dumps({"auths": {name.replace("_", "."): value for name, value in auths.items()}})
    )


def shown(login: Login | None) -> tuple[str | None, ...]:
    """Return user, password and token of a login."""
    assert login is not None
    return tuple(None if one is None else one.reveal() for one in (login.user, login.password, login.token))


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ('Basic realm="r"', Challenge("basic", "r", "")),
        ('Bearer realm="https://a/token",service="s",scope="x"', Challenge("bearer", "https://a/token", "s")),
        ('bearer realm="https://a/token" , service="s"', Challenge("bearer", "https://a/token", "s")),
        ('Basic realm="r", Bearer realm="https://a/token",service="s"', Challenge("bearer", "https://a/token", "s")),
        ('BASIC realm="a, Bearer realm=x"', Challenge("basic", "a, Bearer realm=x", "")),
        ("Negotiate", None),
        ("Bearer", None),
        ("", None),
        ('Digest realm="r"', None),
    ],
)
def test_a_challenge_is_read_and_tokens_are_preferred(header: str, challenge: Challenge | None) -> None:
    assert read_challenge(header) == challenge


# What credentials amount to.


REFERENCE = read_reference("oci://registry.example:5000/team/det:1")


@pytest.mark.parametrize(
    ("credentials", "login"),
    [
        (secrets(username=USER, password=PASSWORD), (USER, PASSWORD, None)),
        (secrets(username=USER, token="t"), (USER, "t", None)),  # noqa: S106
        (secrets(token="t"), (None, None, "t")),  # noqa: S106
        (docker_config(**{"registry_example:5000": {"auth": BASIC}}), (USER, PASSWORD, None)),
        (docker_config(**{"registry_example:5000": {"username": USER, "password": PASSWORD}}), (USER, PASSWORD, None)),
        (docker_config(**{"https://registry_example:5000/v2/": {"auth": BASIC}}), (USER, PASSWORD, None)),
        (docker_config(**{"registry_example:5000": {"registrytoken": "t"}}), (None, None, "t")),
    ],
)
def test_credentials_amount_to_user_and_password_or_to_a_token(
    credentials: Credentials, login: tuple[str | None, ...]
) -> None:
    assert shown(login_of(credentials, REFERENCE)) == login


def test_of_several_entries_the_one_for_the_longest_path_counts() -> None:
    def entry(user: str) -> dict[str, str]:
        return {"username": user, "password": "p"}

    host = "registry_example:5000"
    config = docker_config(**{host: entry("all"), f"{host}/team": entry("team"), f"{host}/te": entry("te"), "x": {}})

    assert shown(login_of(config, REFERENCE))[0] == "team"


def test_the_names_of_dockers_own_registry_are_one() -> None:
    config = docker_config(**{"https://index_docker_io/v1/": {"auth": BASIC}})

    assert shown(login_of(config, read_reference("oci://docker.io/team/det:1")))[0] == USER


def test_no_credentials_and_a_certificate_alone_are_nobody_in_particular() -> None:
    assert login_of(None, REFERENCE) is None
    assert login_of(secrets(ca_crt="PEM"), REFERENCE) is None


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (secrets(region="x"), "must have .dockerconfigjson, or username and password, or token"),
        (secrets(username=USER), "have no password"),
        (docker_config(**{"registry_example": {"auth": BASIC}}), "has nothing for registry.example:5000, only for"),
        (docker_config(**{"registry_example:5000": {"auth": "%%"}}), "auth must be base64 of USER:PASSWORD"),
        (docker_config(**{"registry_example:5000": {"auth": "QUJD"}}), "auth must be base64 of USER:PASSWORD"),
        (docker_config(**{"registry_example:5000": {}}), "has no user and password"),
        (
            docker_config(**{"registry_example:5000": {"identitytoken": "t"}}),
            "but an identitytoken, which is not used here",
        ),
        (secrets(dockerconfigjson="{"), "must be a configuration of Docker"),
        (secrets(dockerconfigjson='{"auths": []}'), "must be a configuration of Docker"),
    ],
)
def test_credentials_that_do_not_help_are_refused_in_words_without_secrets(
    credentials: Credentials, words: str
) -> None:
    with pytest.raises(Refused) as caught:
        login_of(credentials, REFERENCE)

    assert words in str(caught.value)
    assert BASIC not in str(caught.value)


# Who gets to see them.


class Registry:
    """A registry that wants something; it keeps what it is shown."""

    def __init__(self) -> None:
        self.challenge = 'Basic realm="r"'

    def serve(self, request: Request) -> Answer:
        """Refuse everybody, whatever they show."""
        return Answer(401, {"WWW-Authenticate": self.challenge})


@pytest.fixture
def wanting() -> Registry:
    """What the registry wants."""
    return Registry()


@pytest.fixture
def registry(wanting: Registry) -> Iterator[LoopbackServer]:
    """A registry that wants it."""
    with serving(wanting.serve) as server:
        yield server


@pytest.fixture
def collector() -> Iterator[LoopbackServer]:
    """A server that gives tokens to everybody, for what they show."""
    with serving(lambda _: Answer(200, {}, b'{"token": "a-token"}')) as server:
        yield server


def attempt(registry: LoopbackServer, credentials: Credentials | None) -> str:
    """Return the words with which reading from a registry fails."""
    found = OciOrigin.at(f"oci://{registry.authority}/team/det:1", credentials, HttpClient())
    with pytest.raises((Refused, SourceFailed)) as caught:
        found.resolve()
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def shown_to(server: LoopbackServer) -> list[str | None]:
    """Return the headers Authorization that a server got to see."""
    return [request.headers.get("authorization") for request in server.requests]


def login(**more: str) -> Credentials:
    """Return user and password, and other keys."""
    return secrets(username=USER, password=PASSWORD, **more)


def test_nothing_is_shown_before_it_is_asked_for(registry: LoopbackServer) -> None:
    attempt(registry, login())

    assert shown_to(registry) == [None, f"Basic {BASIC}"]


def test_a_token_in_the_credentials_is_shown_at_once_and_never_replaced(registry: LoopbackServer) -> None:
    words = attempt(registry, secrets(token="t"))  # noqa: S106

    assert "it does not take the token in the credentials" in words
    assert shown_to(registry) == ["Bearer t"]


def test_user_and_password_do_not_go_to_a_token_service_that_only_the_registry_names(
    registry: LoopbackServer, wanting: Registry, collector: LoopbackServer
) -> None:
    wanting.challenge = f'Bearer realm="{collector.url}/token",service="s"'

    words = attempt(registry, login())

    assert f"they may go to {registry.url}/. If it belongs to the registry, put its address into key realm" in words
    assert collector.requests == []


def test_user_and_password_go_to_the_token_service_that_the_credentials_name(
    registry: LoopbackServer, wanting: Registry, collector: LoopbackServer
) -> None:
    wanting.challenge = (
        f'Bearer realm="{collector.url}/token?a=b",service="s",scope="repository:team/det:pull,push,delete"'
    )

    attempt(registry, login(realm=f"{collector.url}/"))

    assert shown_to(collector) == [f"Basic {BASIC}"]
    assert shown_to(registry) == [None, "Bearer a-token"]
    assert collector.requests[0].query == {"a": "b", "service": "s", "scope": "repository:team/det:pull"}


def test_the_realm_of_the_credentials_allows_no_other_one(
    registry: LoopbackServer, wanting: Registry, collector: LoopbackServer
) -> None:
    wanting.challenge = f'Bearer realm="{collector.url}/token",service="s"'

    words = attempt(registry, login(realm="https://auth.example/token"))

    assert f"they may go to {registry.url}/ and https://auth.example/token" in words
    assert collector.requests == []


def test_a_token_service_of_the_registry_itself_gets_user_and_password(wanting: Registry) -> None:
    def serve(request: Request) -> Answer:
        return Answer(200, {}, b'{"access_token": "a-token"}') if request.path == "/token" else wanting.serve(request)

    with serving(serve) as registry:
        wanting.challenge = f'Bearer realm="{registry.url}/token",service="s"'
        attempt(registry, login())

        assert shown_to(registry) == [None, f"Basic {BASIC}", "Bearer a-token"]


def test_who_has_no_credentials_may_ask_any_token_service(
    registry: LoopbackServer, wanting: Registry, collector: LoopbackServer
) -> None:
    wanting.challenge = f'Bearer realm="{collector.url}/token",service="s"'

    attempt(registry, None)

    assert shown_to(collector) == [None]


def test_a_token_service_that_redirects_passes_no_password_on(
    registry: LoopbackServer, wanting: Registry, collector: LoopbackServer
) -> None:
    with serving(lambda _: Answer(307, {"Location": f"{collector.url}/token"})) as service:
        wanting.challenge = f'Bearer realm="{service.url}/token",service="s"'
        attempt(registry, login(realm=service.url))

    assert shown_to(collector) == [None]


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("http://auth.example/token", "which is not https"),
        ("http://169.254.169.254/latest", "which is not https"),
        ("file:///etc/passwd", "names a token service that is none"),
        ("https://user:word@auth.example/", "names a token service that is none"),
        ("", "names a token service that is none"),
    ],
)
@pytest.mark.parametrize("has_credentials", [True, False])
def test_a_token_service_must_be_an_address_of_https(
    has_credentials: bool, realm: str, words: str, registry: LoopbackServer, wanting: Registry
) -> None:
    wanting.challenge = f'Bearer realm="{realm}",service="s"'

    assert words in attempt(registry, login(realm="http://auth.example") if has_credentials else None)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": ""}', b'{"token": "a\\nb"}', b'{"token": 5}'])
def test_a_token_service_that_gives_no_token_is_named(body: bytes, registry: LoopbackServer, wanting: Registry) -> None:
    with serving(lambda _: Answer(200, {}, body)) as service:
        wanting.challenge = f'Bearer realm="{service.url}/token",service="s"'

        words = attempt(registry, None)

    assert service.url in words
    assert "token" in words


def test_a_registry_that_asks_for_something_unknown_is_named(registry: LoopbackServer, wanting: Registry) -> None:
    wanting.challenge = "Negotiate"

    assert "asks for nothing that is known here" in attempt(registry, login())


def test_dockers_own_registry_may_send_to_its_own_token_service() -> None:
    found = OciOrigin.at("oci://docker.io/team/det:1", login(), HttpClient())

    service = found.access.service(Challenge("bearer", "https://auth.docker.io/token", "registry.docker.io"), "it")

    assert service.text == "https://auth.docker.io/token"


def test_another_registry_may_not_send_to_the_token_service_of_docker() -> None:
    found = OciOrigin.at("oci://registry.example/team/det:1", login(), HttpClient())

    with pytest.raises(Refused):
        found.access.service(Challenge("bearer", "https://auth.docker.io/token", "registry.docker.io"), "it")
