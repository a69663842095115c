"""Files of entries that come in and go out: whole, within limits, or not at all; the real server on loopback."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hpi_agent.exchange.limits import DEFAULT_LIMITS
from support.agent_requests import KEY, MIB, a_connection, ask, blob_path, left, listing, send, upload_head
from support.eventually import eventually
from support.played_agent import PlayedAgent, an_agent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[PlayedAgent]:
    with an_agent(tmp_path) as running:
        yield running


def test_an_entry_is_published_of_what_came_and_of_nothing_else(agent: PlayedAgent) -> None:
    before = ask(agent, "PUT", f"/v1/engines/{KEY}", listing(a_bin=b"one", b_bin=b"two"))
    sent = [send(agent, b"one"), send(agent, b"two"), send(agent, b"two")]

    after = ask(agent, "PUT", f"/v1/engines/{KEY}", listing(a_bin=b"one", b_bin=b"two"))
    again = ask(agent, "PUT", f"/v1/engines/{KEY}", listing(a_bin=b"one", b_bin=b"two"))

    assert (before.status, sent, after.status) == (422, [201, 201, 200], 201)
    # It is there: nobody has to send it again to be told so.
    assert again.status == 200
    assert left(agent) == []


def test_a_second_entry_of_other_bytes_is_a_conflict_that_names_what_is_there(agent: PlayedAgent) -> None:
    send(agent, b"one")
    first = ask(agent, "PUT", f"/v1/engines/{KEY}", listing(a_bin=b"one")).json()
    send(agent, b"two")

    second = ask(agent, "PUT", f"/v1/engines/{KEY}", listing(a_bin=b"two"))

    assert (second.status, second.json()["digest"]) == (409, first["digest"])
    assert ask(agent, "GET", blob_path(b"one")).data == b"one"
    assert left(agent) == []


def test_bytes_with_another_digest_are_refused_and_leave_nothing(agent: PlayedAgent) -> None:
    content = b"right" * 1_000

    answer = ask(agent, "PUT", blob_path(content), content[:-1] + b"T")

    assert answer.status == 422
    assert "send it again" in answer.json()["error"]
    assert left(agent) == []


def test_an_upload_that_is_cut_leaves_nothing(agent: PlayedAgent) -> None:
    content = b"x" * 3 * MIB
    with a_connection(agent, upload_head(agent, content, len(content)) + content[: 2 * MIB]):
        eventually(lambda: left(agent) != [])

    eventually(lambda: left(agent) == [])
    assert send(agent, content) == 201


def test_an_upload_that_stalls_is_given_up_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        an_agent(tmp_path, limits=replace(DEFAULT_LIMITS, silence_seconds=0.2)) as agent,
        a_connection(agent, upload_head(agent, b"x" * 100, 100) + b"x" * 50) as connection,
    ):
        answer = connection.recv(64)

        assert answer.startswith(b"HTTP/1.1 503")
        eventually(lambda: left(agent) == [])


def test_an_upload_says_how_long_it_is(agent: PlayedAgent) -> None:
    answer = ask(agent, "PUT", blob_path(b"x"), headers={"Transfer-Encoding": "chunked"}, body=b"1\r\nx\r\n0\r\n\r\n")

    assert answer.status == 411


@pytest.mark.parametrize("size", [1_000, 1_001])
def test_a_blob_may_be_as_large_as_the_limit(tmp_path: Path, size: int) -> None:
    with an_agent(tmp_path, limits=replace(DEFAULT_LIMITS, blob_bytes=1_000)) as agent:
        status = send(agent, b"x" * size)

    assert status == (201 if size == 1_000 else 413)


@pytest.mark.parametrize("size", [500, 501])
def test_an_entry_may_be_as_large_as_the_limit(tmp_path: Path, size: int) -> None:
    with an_agent(tmp_path, limits=replace(DEFAULT_LIMITS, entry_bytes=1_000)) as agent:
        files = {"a_bin": b"x" * 500, "b_bin": b"y" * size}
        for content in files.values():
            send(agent, content)

        status = ask(agent, "PUT", f"/v1/engines/{KEY}", listing(**files)).status

    assert status == (201 if size == 500 else 422)


def test_a_tenant_begins_so_many_entries_and_no_more_and_others_are_not_kept_from_theirs(tmp_path: Path) -> None:
    with an_agent(tmp_path, limits=replace(DEFAULT_LIMITS, staged_entries=2)) as agent:
        ours = [send(agent, b"x", f"{number:064x}") for number in range(3)]
        theirs = send(agent, b"x", token=agent.token_of("team-b"))
        published = ask(agent, "PUT", f"/v1/engines/{0:064x}", listing(a_bin=b"x")).status
        after = send(agent, b"x", f"{2:064x}")

    assert (ours, theirs, published, after) == ([201, 201, 503], 201, 201, 201)


def test_what_was_begun_and_left_goes_after_a_while(tmp_path: Path) -> None:
    with an_agent(tmp_path, limits=replace(DEFAULT_LIMITS, staged_seconds=0.0)) as agent:
        send(agent, b"one", f"{1:064x}")
        send(agent, b"two", f"{2:064x}")

        found = left(agent)

    assert [path.rpartition("/")[2] for path in found] == [hashlib.sha256(b"two").hexdigest()]


def test_a_pod_sends_so_many_blobs_at_once_and_no_more(agent: PlayedAgent) -> None:
    content, size = b"x" * 100, 200
    with contextlib.ExitStack() as stack:
        for number in range(DEFAULT_LIMITS.uploads_of_pod):
            head = upload_head(agent, content, size, key=f"{number:064x}")
            stack.enter_context(a_connection(agent, head + content))
        eventually(lambda: len(left(agent)) == DEFAULT_LIMITS.uploads_of_pod)

        one_more = send(agent, content, f"{9:064x}")
        of_another = send(agent, content, f"{9:064x}", token=agent.token_of("team-b"))

    assert (one_more, of_another) == (503, 201)


def test_all_pods_together_send_so_many_blobs_at_once_and_no_more(tmp_path: Path) -> None:
    content = b"x" * 100
    with (
        an_agent(tmp_path, limits=replace(DEFAULT_LIMITS, uploads=1)) as agent,
        a_connection(agent, upload_head(agent, content, 200) + content),
    ):
        eventually(lambda: len(left(agent)) == 1)

        status = send(agent, content, f"{9:064x}", token=agent.token_of("team-b"))

    assert status == 503


def test_two_pods_do_not_write_one_entry_at_once(agent: PlayedAgent) -> None:
    content = b"x" * 100
    with a_connection(agent, upload_head(agent, content, 200) + content):
        eventually(lambda: len(left(agent)) == 1)

        other = ask(agent, "PUT", blob_path(b"y"), b"y", token=agent.token_of("team-a", "ocr-2"))

    assert (other.status, other.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize(
    ("asked", "status", "got"),
    [
        ("bytes=0-", 206, b"0123456789"),
        ("bytes=9-", 206, b"9"),
        ("bytes=10-", 416, None),
        ("bytes=2-4", 206, b"234"),
        ("bytes=2-99", 206, b"23456789"),
        ("bytes=4-2", 200, b"0123456789"),
        ("bytes=-3", 200, b"0123456789"),
        ("bytes=0-1,3-4", 200, b"0123456789"),
        ("lines=1-", 200, b"0123456789"),
    ],
)
def test_a_range_is_what_was_asked_for_and_what_is_not_understood_is_everything(
    agent: PlayedAgent, asked: str, status: int, got: bytes | None
) -> None:
    content = b"0123456789"
    send(agent, content)
    ask(agent, "PUT", f"/v1/engines/{KEY}", listing(a_bin=content))

    answer = ask(agent, "GET", blob_path(content), headers={"Range": asked})

    assert answer.status == status
    assert got is None or answer.data == got


def test_an_empty_blob_travels_like_any_other(agent: PlayedAgent) -> None:
    assert send(agent, b"") == 201
    assert ask(agent, "PUT", f"/v1/engines/{KEY}", listing(a_bin=b"")).status == 201

    answer = ask(agent, "GET", blob_path(b""))

    assert (answer.status, answer.data) == (200, b"")


def test_what_is_being_read_is_in_use(agent: PlayedAgent) -> None:
    content = b"x" * 32 * MIB
    send(agent, content)
    ask(agent, "PUT", f"/v1/engines/{KEY}", listing(a_bin=content))
    request = (
        f"GET {blob_path(content)} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {agent.token_of('team-a')}\r\n\r\n"
    )

    with a_connection(agent, request.encode()) as connection:
        connection.recv(64)
        kept = agent.exchange.store.collect(0).kept
    eventually(lambda: agent.exchange.store.collect(0).kept == ())

    assert [one.reason for one in kept] == ["in use"]
