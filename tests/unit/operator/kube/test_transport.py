"""Requests over a real connection: answers that are errors, credentials that run out, streams that are cut anywhere."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi_operator.kube.api import Api
from hpi_operator.kube.bucket import Bucket
from hpi_operator.kube.errors import Away, Expired, Forbidden, NotLeading, NotThere, Unknown
from hpi_operator.kube.resources import LEASES, SERVICES
from hpi_operator.kube.selections import Selection
from hpi_operator.kube.transport import Stream, Transport
from hpi_operator.plan.intent import Deletion
from support.eventually import eventually
from support.loopback_server import Answer, LoopbackServer, Request, serving

SECONDS: Final = 10.0


@dataclass
class Configuration:
    """What the library's configuration tells the transport: where to ask, and a token that is read at each request."""

    host: str
    tokens: list[str]

    def get_api_key_with_prefix(self, name: str) -> str | None:
        return f"Bearer {self.tokens[0]}" if name == "authorization" and self.tokens else None


@dataclass
class RestClient:
    """The library's pool of connections."""

    pool_manager: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False))


@dataclass
class LibraryClient:
    """The library's client, as far as the transport uses it."""

    configuration: Configuration
    rest_client: RestClient = field(default_factory=RestClient)


@contextmanager
def asked(serve: Callable[[Request], Answer], *tokens: str) -> Iterator[tuple[Api, LoopbackServer, list[int]]]:
    """Yield an Api before a server that is a function, the server, and how often the configuration was read."""
    with serving(serve) as server:
        loads: list[int] = []
        clients: list[LibraryClient] = []

        def load() -> LibraryClient:
            loads.append(1)
            clients.append(LibraryClient(Configuration(server.url, list(tokens[len(loads) - 1 :]))))
            return clients[-1]

        yield Api(Transport(load), Bucket(1_000.0, 100)), server, loads
        for one in clients:
            one.rest_client.pool_manager.clear()


def says(status: int, document: Any = None, **headers: str) -> Callable[[Request], Answer]:
    return lambda request: Answer(status, headers, json.dumps(document if document is not None else {}).encode())


def test_an_answer_is_json_and_the_request_says_who_asks() -> None:
    with asked(says(200, {"a": 1}), "t1") as (api, server, _):
        answer = api.request("GET", "/version", query={"x": "a b"})

    [request] = server.requests
    assert answer == {"a": 1}
    assert (request.target, request.headers["user-agent"]) == ("/version?x=a+b", "hpi-operator")
    assert request.headers["authorization"] == "Bearer t1"


def test_an_answer_that_is_no_json_is_an_error_that_may_pass() -> None:
    with asked(lambda request: Answer(200, {}, b"<html>")) as (api, _, _), pytest.raises(Away, match="not JSON"):
        api.request("GET", "/x")


def test_an_object_that_is_not_there_is_none() -> None:
    with asked(says(404, {"message": "not found"})) as (api, _, _):
        assert api.get(SERVICES, "a", "ns") is None


def test_an_answer_that_is_cut_is_an_error_that_may_pass() -> None:
    with asked(lambda request: Answer(200, {}, b"{", length=100)) as (api, _, _), pytest.raises(Away):
        api.request("GET", "/x")


def test_a_server_that_is_not_there_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host = f"http://127.0.0.1:{closed.getsockname()[1]}"
    api = Api(Transport(lambda: LibraryClient(Configuration(host, []))), Bucket(1.0, 1))

    with pytest.raises(Away, match="GET /x"):
        api.request("GET", "/x")


def test_a_server_that_is_silent_is_away_after_the_time_that_was_given() -> None:
    held = threading.Event()

    def silent(request: Request) -> Answer:
        held.wait(SECONDS)
        return Answer(200, {}, b"{}")

    with asked(silent) as (api, _, _):
        with pytest.raises(Away, match=r"[Tt]ime"):
            api.request("GET", "/x", timeout_seconds=0.2)
        held.set()


def test_credentials_that_are_not_known_are_read_again_once_and_the_next_request_has_the_new_ones() -> None:
    def by_token(request: Request) -> Answer:
        is_known = request.headers["authorization"] == "Bearer new"
        return Answer(200 if is_known else 401, {}, b"{}")

    with asked(by_token, "old", "new") as (api, _, loads):
        api.transport._loaded_at -= 60.0
        with pytest.raises(Unknown):
            api.request("GET", "/x")
        api.request("GET", "/x")

    assert len(loads) == 2


def test_credentials_are_not_read_again_with_every_refusal() -> None:
    with asked(says(401), *"abcdef") as (api, _, loads):
        api.transport._loaded_at -= 60.0
        for _ in range(5):
            with pytest.raises(Unknown):
                api.request("GET", "/x")

    assert len(loads) == 2


def test_a_server_with_too_much_to_do_is_given_the_pause_that_it_asks_for() -> None:
    with asked(says(429, {}, **{"Retry-After": "7"})) as (api, _, _):
        before = api.bucket.available
        with pytest.raises(Away) as caught:
            api.request("GET", "/x")

        assert caught.value.after_seconds == 7.0
        assert (before, api.bucket.available) == (100, 0)


def test_a_write_is_not_sent_when_another_may_lead_by_the_time_that_it_may_go() -> None:
    with asked(says(200)) as (api, server, _):
        api.may_write = lambda: api.bucket.taken == 0

        with pytest.raises(NotLeading):
            api.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "ns"}})

    assert (server.requests, api.bucket.taken) == ([], 1)


def test_every_write_asks_whether_it_may() -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "ns"}}
    with asked(says(200)) as (api, server, _):
        api.may_write = lambda: False
        writes: list[Callable[[], object]] = [
            lambda: api.apply(service, force=True),
            lambda: api.apply(service, force=False, subresource="status"),
            lambda: api.merge(SERVICES, "a", {}, namespace="ns"),
            lambda: api.create(service),
            lambda: api.delete(Deletion(SERVICES.key("a", "ns"), "uid", "why")),
        ]

        for write in writes:
            with pytest.raises(NotLeading):
                write()

    assert server.requests == []


def test_the_elections_own_write_waits_for_nothing_and_asks_nobody() -> None:
    # Only GET is answered by the server of the tests, so the request itself is what is looked at.
    with asked(says(200)) as (api, _, _):
        api.may_write = lambda: False
        lease = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": {"name": "l", "namespace": "ns"}}

        with pytest.raises(Away, match="501"):
            api.put_lease(lease, 5.0)

        assert api.bucket.taken == 0


def test_a_list_is_read_page_by_page_to_its_end() -> None:
    def paged(request: Request) -> Answer:
        page = int(request.query.get("continue", "0"))
        metadata = {"resourceVersion": "9", **({"continue": str(page + 1)} if page < 2 else {})}
        return Answer(200, {}, json.dumps({"metadata": metadata, "items": [{"n": page}]}).encode())

    with asked(paged) as (api, server, _):
        pages = list(api.pages(Selection(SERVICES, namespace="ns", labels="a=b")))

    assert [one["n"] for page in pages for one in page.objects] == [0, 1, 2]
    assert {request.query["labelSelector"] for request in server.requests} == {"a=b"}
    assert {page.resource_version for page in pages} == {"9"}


@pytest.mark.parametrize(("status", "expected"), [(500, Away), (410, Expired), (403, Forbidden), (404, NotThere)])
def test_a_list_that_fails_half_way_raises(status: int, expected: type[Exception]) -> None:
    def half(request: Request) -> Answer:
        if "continue" in request.query:
            return Answer(status, {}, b"{}")
        return Answer(200, {}, json.dumps({"metadata": {"continue": "1"}, "items": [{}]}).encode())

    with asked(half) as (api, _, _), pytest.raises(expected):
        list(api.pages(Selection(SERVICES)))


def test_a_watch_yields_events_until_the_server_ends_it() -> None:
    lines = b"".join(
        json.dumps({"type": kind, "object": {"metadata": {"resourceVersion": version}}}).encode() + b"\n"
        for kind, version in (("ADDED", "1"), ("BOOKMARK", "2"))
    )
    with asked(lambda request: Answer(200, {}, lines)) as (api, server, _):
        events = list(api.watch(Selection(SERVICES), "0"))

    [request] = server.requests
    assert [(kind, one["metadata"]["resourceVersion"]) for kind, one in events] == [("ADDED", "1"), ("BOOKMARK", "2")]
    assert (request.query["watch"], request.query["resourceVersion"]) == ("true", "0")


def test_an_error_in_a_watch_is_the_error_that_it_says() -> None:
    event = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}
    with (
        asked(lambda request: Answer(200, {}, json.dumps(event).encode() + b"\n")) as (api, _, _),
        pytest.raises(Expired, match="too old"),
    ):
        list(api.watch(Selection(SERVICES), "0"))


@pytest.mark.parametrize("line", [b'{"type": "ADDED"', b"[]", b'{"type": "ADDED"}'])
def test_what_is_no_event_ends_the_watch(line: bytes) -> None:
    with asked(lambda request: Answer(200, {}, line + b"\n")) as (api, _, _), pytest.raises(Away, match="not an event"):
        list(api.watch(Selection(SERVICES), "0"))


@dataclass
class Chunks:
    """An answer that comes in pieces, as urllib3 hands them on."""

    pieces: list[bytes]
    closed: bool = False

    def stream(self, amt: int | None, decode_content: bool) -> Iterator[bytes]:
        yield from self.pieces

    def close(self) -> None:
        self.closed = True


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=30).filter(lambda one: b"\n" not in one)), st.data())
def test_lines_are_whole_wherever_the_network_cuts_them(lines: list[bytes], data: st.DataObject) -> None:
    rest, pieces = b"".join(line + b"\n" for line in lines), []
    while rest:
        length = data.draw(st.integers(1, len(rest)))
        pieces.append(rest[:length])
        rest = rest[length:]
    answer = Chunks(pieces)

    assert list(Stream("/x", answer)) == lines
    assert answer.closed


def test_an_event_without_end_is_not_kept_without_end() -> None:
    endless = Chunks([b"x" * 2**20] * 100)

    with pytest.raises(Away, match="longer than"):
        list(Stream("/x", endless))


def test_a_watch_that_is_ended_by_another_thread_lets_its_reader_go() -> None:
    held = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        held.wait(SECONDS)
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    host = f"http://127.0.0.1:{server.getsockname()[1]}"
    client = LibraryClient(Configuration(host, []))
    watch = Api(Transport(lambda: client), Bucket(1.0, 1)).watch(Selection(SERVICES), "0")
    ended: list[str] = []

    def read() -> None:
        try:
            list(watch)
        except Away as error:
            ended.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    watch.end()

    eventually(lambda: not reader.is_alive(), SECONDS)
    held.set()
    server.close()
    assert len(ended) == 1


def test_every_answer_is_counted_and_so_is_one_that_does_not_come() -> None:
    counted: list[tuple[str, int]] = []
    with asked(says(404)) as (api, _, _):
        api.transport.sent = lambda method, code, seconds: counted.append((method, code))
        api.get(SERVICES, "a", "ns")
    with pytest.raises(Away):
        api.request("GET", "/x")

    assert counted == [("GET", 404), ("GET", 0)]
