"""Where the API server is, and which node the agent's own token names."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from hpi_agent.node.access import MOUNT, Access, OwnNode, default_access, own_node
from hpi_core.errors import Refused, Retry


def a_token(claims: object) -> str:
    """Return a token with these claims."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


def test_the_token_says_which_node_it_is() -> None:
    token = a_token({"kubernetes.io": {"namespace": "hpi-agents", "node": {"name": "n1", "uid": "u"}}})

    assert own_node(token) == OwnNode("n1", "u", "hpi-agents")


@pytest.mark.parametrize(
    "claims", [{}, [], {"kubernetes.io": {}}, {"kubernetes.io": {"node": {"name": "n1"}}}], ids=str
)
def test_a_token_that_says_no_node_is_refused(claims: object) -> None:
    with pytest.raises(Refused, match=r"says no node|not one of a service account"):
        own_node(a_token(claims))


@pytest.mark.parametrize(
    ("host", "url"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_a_pod_finds_the_api_server_in_its_environment(host: str, url: str) -> None:
    access = default_access({"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "443"})

    assert (access.url, access.token_file) == (url, MOUNT / "token")


def test_outside_a_pod_the_arguments_are_named() -> None:
    with pytest.raises(Refused, match="--api-server, --api-authority and --api-token"):
        default_access({})


def test_a_token_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    access = Access("https://a", tmp_path / "ca", file)
    first = access.token()
    file.write_text("two")

    assert (first, access.token()) == ("one", "two")


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"x" * 20_000], ids=["missing", "empty", "noise", "long"])
def test_a_token_that_cannot_be_read_may_come_later(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(Retry, match="the token"):
        Access("https://a", tmp_path / "ca", file).token()
