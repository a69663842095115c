"""The way to a server: redirects, credentials, certificates, peers and time limits; against real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hpi_agent.models.sources.credentials import Secret
from hpi_agent.models.sources.http_client import Answer, HttpClient
from hpi_agent.models.sources.http_status import raise_for_status, retry_after
from hpi_agent.models.sources.patience import Timeouts
from hpi_agent.models.sources.url import read_url
from hpi_core.errors import HpiError, Overloaded, Refused, Retry, SourceFailed
from support.certificates import Authority
from support.http_site import Site, drip_headers, redirect, say_status, serving

SECRET = "s3cr3t-token-of-a-test"  # noqa: S105
AUTHORIZATION = Secret(f"Bearer {SECRET}")
QUICK = Timeouts(connect=5.0, headers=0.3, silence=5.0)


def asked(client: HttpClient, url: str, authorization: Secret | None = None) -> tuple[Answer, bytes]:
    with client.get(read_url(url), authorization=authorization) as answer:
        return answer, answer.read()


def problem(client: HttpClient, url: str, authorization: Secret | None = None) -> HpiError:
    with pytest.raises(HpiError) as caught:
        asked(client, url, authorization)
    return caught.value


@pytest.fixture
def other() -> Iterator[Site]:
    """A second server: another origin, for its port differs."""
    with serving() as site:
        yield site


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: int, site: Site) -> None:
    site.put("/there", b"content")
    site.always["/here"] = redirect("/there", status)

    answer, content = asked(HttpClient(), f"{site.url}/here")

    assert (answer.status, content, str(answer.url)) == (200, b"content", f"{site.url}/there")
    assert [str(hop) for hop in answer.hops] == [f"{site.url}/here"]


def test_a_redirect_within_one_origin_carries_the_credentials(site: Site) -> None:
    site.put("/there", b"content")
    site.always["/here"] = redirect("there")

    asked(HttpClient(), f"{site.url}/here", AUTHORIZATION)

    assert [one.headers.get("authorization") for one in site.asked] == [f"Bearer {SECRET}"] * 2


def test_a_redirect_to_another_origin_carries_no_credentials(site: Site, other: Site) -> None:
    other.put("/there", b"content")
    site.always["/here"] = redirect(f"{other.url}/there")

    _, content = asked(HttpClient(), f"{site.url}/here", AUTHORIZATION)

    assert content == b"content"
    assert [one.headers.get("authorization") for one in other.asked] == [None]


def test_a_redirect_that_comes_back_carries_no_credentials_either(site: Site, other: Site) -> None:
    site.put("/again", b"content")
    site.always["/here"] = redirect(f"{other.url}/there")
    other.always["/there"] = redirect(f"{site.url}/again")

    asked(HttpClient(), f"{site.url}/here", AUTHORIZATION)

    assert [one.headers.get("authorization") for one in site.asked] == [f"Bearer {SECRET}", None]


def test_a_circle_of_redirects_is_shown_without_what_may_be_secret(site: Site) -> None:
    site.always["/a"] = redirect(f"/b?signature={SECRET}")
    site.always["/b"] = redirect("/a")

    error = problem(HttpClient(), f"{site.url}/a")

    assert isinstance(error, SourceFailed)
    assert str(error) == (
        f"{site.url}/a → {site.url}/b?… → {site.url}/a is a circle of redirects; correct it on the server or name the "
        "last address"
    )
    assert len(site.asked) == 2


@pytest.mark.parametrize(("count", "works"), [(8, True), (9, False)])
def test_redirects_are_followed_up_to_a_number(count: int, works: bool, site: Site) -> None:
    for number in range(count):
        site.always[f"/{number}"] = redirect(f"/{number + 1}")
    site.put(f"/{count}", b"content")

    if works:
        assert asked(HttpClient(), f"{site.url}/0")[1] == b"content"
    else:
        assert "are more than 8 redirects; name the last address" in str(problem(HttpClient(), f"{site.url}/0"))


def test_a_redirect_from_https_to_http_is_refused(site: Site, tmp_path: Path) -> None:
    authority = Authority.make()
    with serving(tls=authority.server(tmp_path, "127.0.0.1")) as safe:
        safe.always["/here"] = redirect(f"{site.url}/there")

        error = problem(HttpClient(authority.pem, plain_allowed=True), f"{safe.url}/here")

    assert isinstance(error, Refused)
    assert "leads from https to http; that is never followed" in str(error)
    assert site.asked == []


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://host/x", "gopher://x", "https://user:w0rd@host/", "https://a b/"]
)
def test_a_redirect_to_anything_but_a_plain_address_is_refused(location: str, site: Site) -> None:
    site.always["/here"] = redirect(location)

    error = problem(HttpClient(), f"{site.url}/here")

    assert isinstance(error, Refused)
    assert "redirects to where nothing may be read" in str(error)
    assert "w0rd" not in str(error)


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest/meta-data/", "https://169.254.169.254/", "http://[::ffff:a9fe:a9fe]/"]
)
def test_a_redirect_to_a_metadata_service_is_refused(
    location: str, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.always["/here"] = redirect(location)
    connects_to(monkeypatch, location)

    error = problem(HttpClient(plain_allowed=True), f"{site.url}/here")

    assert isinstance(error, Refused)
    assert "a link-local address or a metadata service; sources must not be read from there" in str(error)


def connects_to(monkeypatch: pytest.MonkeyPatch, location: str) -> None:
    """Let every other address be reached at a socket that says who it would be: nobody here has a metadata service."""
    from urllib3.util import connection

    real = connection.create_connection
    host = read_url(location).host

    class Pretending:
        def __init__(self, made: object) -> None:
            self.made = made

        def getpeername(self) -> tuple[str, int]:
            return host, 80

        def close(self) -> None:
            self.made.close()  # type: ignore[attr-defined]

    def create(address: tuple[str, int], *arguments: object, **named: object) -> object:
        if address[0] != host:
            return real(address, *arguments, **named)  # type: ignore[arg-type]
        import socket

        return Pretending(socket.socket())

    monkeypatch.setattr(connection, "create_connection", create)


def test_a_name_that_leads_to_this_machine_in_secret_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **named: real("127.0.0.1", *rest, **named))
    url = site.url.replace("127.0.0.1", "models.example")

    error = problem(HttpClient(plain_allowed=True), f"{url}/x")

    assert isinstance(error, Refused)
    assert "this machine itself; a source says so with localhost" in str(error)
    assert site.asked == []


def test_plain_http_to_another_machine_needs_a_digest() -> None:
    error = problem(HttpClient(), "http://models.example/det.onnx")

    assert isinstance(error, Refused)
    assert str(error) == (
        "http://models.example/det.onnx: plain http can be changed on its way; use https, or give the digest that the "
        "model must have (digest: sha256:…)"
    )


def test_credentials_never_go_over_plain_http_to_another_machine() -> None:
    error = problem(HttpClient(plain_allowed=True), "http://models.example/det.onnx", AUTHORIZATION)

    assert isinstance(error, Refused)
    assert str(error) == "http://models.example/det.onnx: credentials are not sent over plain http; use https"


def test_a_certificate_of_the_authority_that_is_named_is_trusted(tmp_path: Path) -> None:
    authority = Authority.make()
    with serving(tls=authority.server(tmp_path, "localhost"), name="localhost") as site:
        site.put("/x", b"content")

        assert asked(HttpClient(authority.pem), f"{site.url}/x")[1] == b"content"


@pytest.mark.parametrize("ca", [None, "another"])
def test_a_certificate_of_an_unknown_authority_is_no_matter_of_waiting(ca: str | None, tmp_path: Path) -> None:
    client = HttpClient(None if ca is None else Authority.make().pem)
    with serving(tls=Authority.make().server(tmp_path, "127.0.0.1")) as site:
        error = problem(client, f"{site.url}/x")

    assert isinstance(error, SourceFailed)
    assert "its certificate is not trusted: " in str(error)
    assert "put the certificate of its authority into ca.crt" in str(error)


def test_a_certificate_for_another_host_is_not_trusted(tmp_path: Path) -> None:
    authority = Authority.make()
    with serving(tls=authority.server(tmp_path, "elsewhere.example"), name="localhost") as site:
        error = problem(HttpClient(authority.pem), f"{site.url}/x")

    assert isinstance(error, SourceFailed)
    assert "its certificate is not trusted: Hostname mismatch" in str(error)


def test_what_is_no_certificate_is_refused_and_not_shown() -> None:
    error = problem(HttpClient(SECRET), "https://localhost:1/x")

    assert isinstance(error, Refused)
    assert str(error) == "ca.crt of the credentials must hold certificates in PEM; export them again"


@pytest.mark.parametrize("plain", [True, False], ids=["http", "https"])
def test_an_address_of_ip_version_6_is_read(plain: bool, tmp_path: Path) -> None:
    authority = Authority.make()
    with serving(host="::1", tls=None if plain else authority.server(tmp_path, "::1")) as site:
        site.put("/x", b"content")

        assert asked(HttpClient(authority.pem), f"{site.url}/x")[1] == b"content"
        assert site.asked[0].headers["host"] == site.url.partition("//")[2]


def test_a_header_that_never_ends_is_not_waited_for(site: Site) -> None:
    site.always["/x"] = drip_headers

    error = problem(HttpClient(timeouts=QUICK), f"{site.url}/x")

    assert isinstance(error, Retry)
    assert str(error) == f"{site.url}/x takes too long to answer"


def test_a_header_that_never_ends_is_not_waited_for_over_tls(tmp_path: Path) -> None:
    authority = Authority.make()
    with serving(tls=authority.server(tmp_path, "127.0.0.1")) as site:
        site.always["/x"] = drip_headers

        error = problem(HttpClient(authority.pem, QUICK), f"{site.url}/x")

    assert str(error) == f"{site.url}/x takes too long to answer"


def test_a_server_that_says_nothing_is_not_waited_for(site: Site) -> None:
    def nothing(handler: object) -> bool:
        handler.wait_until_client_leaves()  # type: ignore[attr-defined]
        return True

    site.always["/x"] = nothing

    assert isinstance(problem(HttpClient(timeouts=QUICK), f"{site.url}/x"), Retry)


def test_a_port_where_nobody_listens_is_tried_again(site: Site) -> None:
    with serving() as gone:
        url = gone.url

    error = problem(HttpClient(), f"{url}/x")

    assert isinstance(error, Retry)
    assert str(error) == f"{url}/x: the connection failed or was cut (Connection refused)"


def test_a_host_that_is_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = problem(HttpClient(), "https://no-such-host.invalid/x")

    assert isinstance(error, Retry)
    assert "its host 'no-such-host.invalid' is not known here" in str(error)


def test_what_speaks_no_http_is_tried_again(site: Site) -> None:
    def other_words(handler: object) -> bool:
        handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")  # type: ignore[attr-defined]
        handler.hang_up()  # type: ignore[attr-defined]
        return True

    site.always["/x"] = other_words

    assert isinstance(problem(HttpClient(), f"{site.url}/x"), Retry)


@pytest.mark.parametrize("plain", [True, False], ids=["http", "https"])
def test_an_answer_that_is_the_last_one_of_its_connection_is_read(plain: bool, tmp_path: Path) -> None:
    authority = Authority.make()
    with serving(tls=None if plain else authority.server(tmp_path, "127.0.0.1")) as site:
        site.put("/x", bytes(1_000_000), headers={"Connection": "close"})

        assert asked(HttpClient(authority.pem), f"{site.url}/x")[1] == bytes(1_000_000)


def test_no_proxy_of_the_environment_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    site.put("/x", b"content")

    assert asked(HttpClient(), f"{site.url}/x")[1] == b"content"


def test_a_proxy_that_is_not_used_is_named_where_it_might_have_helped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@proxy.example:3128")

    error = problem(HttpClient(), "https://no-such-host.invalid/x")

    assert str(error).endswith("(HTTPS_PROXY: set here and not used, sources are read directly)")
    assert SECRET not in str(error)


def test_no_password_of_a_netrc_file_is_sent(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login user password {SECRET}\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    site.put("/x", b"content")

    asked(HttpClient(), f"{site.url}/x")

    assert "authorization" not in site.asked[0].headers


def test_a_small_answer_may_not_grow_large(site: Site) -> None:
    site.put("/x", bytes(1_001))

    with (
        HttpClient().get(read_url(f"{site.url}/x")) as answer,
        pytest.raises(SourceFailed, match="more than 1000 bytes"),
    ):
        answer.read(1_000)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, SourceFailed),
        (403, SourceFailed),
        (404, SourceFailed),
        (410, SourceFailed),
        (418, SourceFailed),
        (304, SourceFailed),
        (408, Retry),
        (429, Retry),
        (500, Retry),
        (503, Retry),
    ],
)
def test_a_status_says_who_acts_next(status: int, kind: type[HpiError], site: Site) -> None:
    site.always["/x"] = say_status(status)

    with HttpClient().get(read_url(f"{site.url}/x")) as answer, pytest.raises(kind, match=f"answers {status}"):
        raise_for_status(answer)


def test_the_time_to_wait_goes_with_the_error(site: Site) -> None:
    site.always["/x"] = say_status(429, {"Retry-After": "12"})

    with HttpClient().get(read_url(f"{site.url}/x")) as answer, pytest.raises(Overloaded) as caught:
        raise_for_status(answer)

    assert caught.value.retry_after_seconds == 12


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 1), ("1", 1), ("86401", 86_400), ("9" * 40, 86_400), ("", None), ("soon", None), ("-1", None), ("²", None)],
)
def test_a_time_to_wait_is_bounded(text: str, seconds: int | None) -> None:
    assert retry_after({"retry-after": text}) == seconds


def test_a_time_to_wait_may_be_a_date() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 1
    assert retry_after({"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"}) == 86_400
