"""Requests to an agent as no client of ours would make them: any header, any length, cut anywhere."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from typing import Any, Final

import urllib3

from hpi_core.digest import digest_of_bytes
from support.played_agent import PlayedAgent

KEY: Final = "ab" * 32
MIB: Final = 2**20


def ask(agent: PlayedAgent, method: str, path: str, body: bytes | None = None, **more: Any) -> urllib3.BaseHTTPResponse:
    """Send one request of a pod, of the namespace `team-a` unless a token is given, and return the answer."""
    headers = {"Authorization": f"Bearer {more.pop('token', agent.token_of('team-a'))}", **more.pop("headers", {})}
    return urllib3.request(method, agent.url + path, body=body, headers=headers, retries=False, timeout=20)


def blob_path(content: bytes, key: str = KEY) -> str:
    """Return the address of a file of an entry, by its content."""
    return f"/v1/engines/{key}/blobs/{hashlib.sha256(content).hexdigest()}"


def send(agent: PlayedAgent, content: bytes, key: str = KEY, **more: Any) -> int:
    """Send a file of an entry; return the status."""
    return ask(agent, "PUT", blob_path(content, key), content, **more).status


def listing(**files: bytes) -> bytes:
    """Return the body that publishes an entry of some files; `_` stands for the dot in their names."""
    listed = {name.replace("_", "."): {"digest": digest_of_bytes([c]), "bytes": len(c)} for name, c in files.items()}
    return json.dumps({"about": {}, "files": listed}).encode()


def left(agent: PlayedAgent) -> list[str]:
    """Return the files that an agent has in its store as unfinished."""
    folder = agent.exchange.store.root / "tmp"
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


@contextlib.contextmanager
def a_connection(agent: PlayedAgent, sent: bytes = b"") -> Iterator[socket.socket]:
    """Open a connection to an agent, and send some bytes."""
    with socket.create_connection(("127.0.0.1", agent.server.port), timeout=20) as connection:
        connection.sendall(sent)
        yield connection


def answer_of(connection: socket.socket) -> bytes:
    """Return one answer of `/healthz`."""
    answer = b""
    while not answer.endswith(b"ok"):
        piece = connection.recv(4_096)
        assert piece, answer
        answer += piece
    return answer


def upload_head(agent: PlayedAgent, content: bytes, size_bytes: int, token: str | None = None, key: str = KEY) -> bytes:
    """Return the head of an upload that announces so many bytes."""
    lines = [
        f"PUT {blob_path(content, key)} HTTP/1.1",
        "Host: agent",
        f"Authorization: Bearer {token or agent.token_of('team-a')}",
        f"Content-Length: {size_bytes}",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
