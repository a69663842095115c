"""Addresses of servers: one reading, and no secret in what is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.models.sources.url import read_url, shown_address
from hpi_core.errors import Refused


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("https://models.example/a/b.onnx", ("https", "models.example", 443), "/a/b.onnx"),
        ("http://Models.Example:8080", ("http", "models.example", 8080), "/"),
        ("https://[2001:db8::1]:8443/a?b=c&d", ("https", "2001:db8::1", 8443), "/a?b=c&d"),
        ("https://models.example/modèle.onnx", ("https", "models.example", 443), "/mod%C3%A8le.onnx"),
        ("https://models.example/a%20b+c/", ("https", "models.example", 443), "/a%20b+c/"),
    ],
)
def test_an_address_has_an_origin_and_a_target(text: str, origin: tuple[str, str, int], target: str) -> None:
    url = read_url(text)

    assert (url.origin, url.target) == (origin, target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models.example/a",
        "//models.example/a",
        "ftp://models.example/a",
        "file:///etc/passwd",
        "https:///a",
        "https://models.example:0/a",
        "https://models.example:65536/a",
        "https://models.example:x/a",
        "https://models.example/a#b",
        "https://models.example\\@other.example/a",
        "https://models.example /a",
        "https://models.example/a\tb",
        "https://models.example/a\nHost: other.example",
        "https://models.example/\x00",
        "https://mödels.example/a",
        "https://mod\u2024els.example/a",
        "https://-a/",
        "https://[::1/a",
        "https://a/\ud800",
    ],
)
def test_what_two_readers_could_take_differently_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_url(text)


@pytest.mark.parametrize(
    "text", ["https://me:s3cret@models.example/a", "https://s3cret@models.example/a", "https://@a/"]
)
def test_a_user_in_an_address_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(Refused, match="credentialsSecretRef") as caught:
        read_url(text)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("[::1]", True),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
        ("10.0.0.1", False),
        ("[::ffff:7f00:1]", False),
    ],
)
def test_only_an_address_that_says_so_is_of_this_machine(host: str, is_loopback: bool) -> None:
    assert read_url(f"http://{host}/").is_loopback == is_loopback


def test_a_query_is_asked_for_and_never_shown() -> None:
    url = read_url("https://models.example/a.onnx?X-Amz-Signature=s3cret")

    assert url.text.endswith("?X-Amz-Signature=s3cret")
    assert [f"{url}", repr(url), f"{url!s}"] == ["https://models.example/a.onnx?…"] * 3


@given(st.text(), st.text(), st.text(min_size=1))
def test_no_part_of_an_address_that_may_be_secret_is_shown(user: str, path: str, secret: str) -> None:
    marked = f"<<{secret}>>"

    for text in (f"https://a/{path}?{marked}", f"https://a/{path}#{marked}"):
        assert marked not in shown_address(text).replace(path, "")
    user = user.replace("/", "").replace("?", "").replace("#", "")
    word = marked.replace("/", "").replace("?", "").replace("#", "")
    assert word not in shown_address(f"https://{user}:{word}@a/b")


@given(st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        url = read_url(text)
    except Refused:
        return
    assert read_url(url.text) == url
