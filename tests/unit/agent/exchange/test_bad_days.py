"""A volume that is full, an agent that is killed or hangs, servers that answer nonsense: what a pod is left with."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.connection import AgentAway, AgentFull, AgentRefuses, Patience
from hpi_agent.exchange.pull import pull_decision
from hpi_agent.exchange.push import deliver
from hpi_agent.exchange.reports import MAX_JSON_BYTES
from hpi_agent.store.directory import Store
from support.loopback_server import Answer, serving
from support.played_agent import QUICK, a_client, an_agent_process
from support.shared_engines import BUILT, MadeUp, built_bytes, decide
from support.small_volume import a_small_volume

TOKENS = {"token-a": "team-a"}
MISSING = "sha256:" + "0" * 64
HASTY = Patience(connect_seconds=0.3, silence_seconds=0.3, json_seconds=0.6)


@pytest.fixture
def made(tmp_path: Path) -> MadeUp:
    return decide(tmp_path / "one")


def test_a_cache_volume_without_room_is_said_and_what_is_there_is_served_on(made: MadeUp, tmp_path: Path) -> None:
    large = decide(tmp_path / "two", "large", BUILT * 4)
    within = a_small_volume(tmp_path / "node", 4 * 2**20)
    with an_agent_process(tmp_path / "node", TOKENS, within=within) as (_, url):
        client = a_client(url, tmp_path, "token-a")
        first = deliver(client, made.store, made.key)

        with pytest.raises(AgentFull, match="make room there"):
            deliver(client, large.store, large.key)

        other = Store(tmp_path / "three")
        pulled = pull_decision(client, other, made.key)
        none = client.decision(large.key)

    assert (first, pulled, none) == ("Sent", made.decision, None)
    assert built_bytes(other, made.engine) == BUILT


def test_room_that_is_to_stay_free_stays_free(made: MadeUp, tmp_path: Path) -> None:
    within = a_small_volume(tmp_path / "node", 16 * 2**20)
    running = an_agent_process(tmp_path / "node", TOKENS, within=within, free_bytes=15 * 2**20 + 2**19)
    with running as (_, url), pytest.raises(AgentFull):
        deliver(a_client(url, tmp_path, "token-a"), made.store, made.key)


def test_an_agent_that_is_killed_while_it_gives_leaves_nothing_half_and_gives_again_when_it_is_back(
    tmp_path: Path,
) -> None:
    # More than the buffers of a connection hold.
    made = decide(tmp_path / "one", built=BUILT * 64)
    other = Store(tmp_path / "two")
    with an_agent_process(tmp_path / "node", TOKENS) as (process, url):
        client = a_client(url, tmp_path, "token-a")
        deliver(client, made.store, made.key)

        def kill(_: object) -> None:
            threading.Thread(target=_kill_when_it_comes, args=(process, other)).start()

        with pytest.raises(AgentAway):
            pull_decision(client, other, made.key, coming=kill)

    assert other.entries() == []
    assert other.read_decision(made.key) is None
    assert list((other.root / "tmp").iterdir()) == []
    with an_agent_process(tmp_path / "node", TOKENS) as (_, url):
        assert pull_decision(a_client(url, tmp_path, "token-a"), other, made.key) is not None
    assert built_bytes(other, made.engine) == BUILT * 64


def _kill_when_it_comes(process: subprocess.Popen[str], store: Store) -> None:
    while not any(path.stat().st_size for path in (store.root / "tmp").glob("engines-*/engine.bin")):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)


def test_an_agent_that_is_killed_while_it_takes_has_nothing_half_when_it_is_back(tmp_path: Path) -> None:
    made = decide(tmp_path / "one", built=BUILT * 64)
    with an_agent_process(tmp_path / "node", TOKENS) as (process, url):
        client = a_client(url, tmp_path, "token-a")
        killer = threading.Thread(target=_kill_when_it_takes, args=(process, tmp_path / "node" / "cache"))
        killer.start()

        with pytest.raises(AgentAway):
            deliver(client, made.store, made.key)
        killer.join()

    cache = Store(tmp_path / "node" / "cache")
    assert cache.entries() == []
    with an_agent_process(tmp_path / "node", TOKENS) as (_, url):
        client = a_client(url, tmp_path, "token-a")
        assert client.decision(made.key) is None
        assert deliver(client, made.store, made.key) == "Sent"
    assert list((cache.root / "tmp").iterdir()) == []


def _kill_when_it_takes(process: subprocess.Popen[str], cache: Path) -> None:
    while not any(path.stat().st_size for path in cache.glob("tmp/partial.*/coming")):
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[AgentClient]:
    """Return a client of a port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        yield a_client(url, tmp_path, "token-a", patience=HASTY)


def test_an_agent_that_hangs_is_away_after_a_moment(silent: AgentClient) -> None:
    began = time.monotonic()

    with pytest.raises(AgentAway, match="does not answer"):
        silent.decision(MISSING)

    # Three attempts of at most 0.3 s each; the rest is a slow machine.
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b" " * (MAX_JSON_BYTES + 1), f"more than {MAX_JSON_BYTES} bytes"),
    ],
    ids=["another language", "too deep", "too long"],
)
def test_an_answer_that_makes_no_sense_is_refused(tmp_path: Path, body: bytes, says: str) -> None:
    with serving(lambda _: Answer(200, {}, body)) as server, pytest.raises(AgentRefuses, match=says):
        a_client(server.url, tmp_path, "token-a").decision(MISSING)


def test_a_listing_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    answer = Answer(200, {}, b'{"files": {"../../x": {"digest": "sha256:%s", "bytes": 1}}}' % (b"0" * 64))

    with serving(lambda _: answer) as server, pytest.raises(AgentRefuses, match="is no EntryListing"):
        a_client(server.url, tmp_path, "token-a").listing("engines", MISSING)


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    answer = Answer(307, {"Location": "http://169.254.169.254/"})

    with serving(lambda _: answer) as server, pytest.raises(AgentRefuses, match="answers 307"):
        a_client(server.url, tmp_path, "token-a").decision(MISSING)

    assert len(server.requests) == 1


def test_a_busy_agent_is_asked_again_when_it_says_and_a_few_times_alone(tmp_path: Path) -> None:
    busy = Answer(503, {"Retry-After": "0"}, b'{"error": "busy"}')

    with serving(lambda _: busy) as server, pytest.raises(AgentAway, match="busy"):
        a_client(server.url, tmp_path, "token-a").decision(MISSING)

    assert len(server.requests) == QUICK.attempts


def test_a_refusal_is_not_asked_for_again(tmp_path: Path) -> None:
    no = Answer(403, {}, b'{"error": "no"}')

    with serving(lambda _: no) as server, pytest.raises(AgentRefuses, match="answers 403: no"):
        a_client(server.url, tmp_path, "token-a").decision(MISSING)

    assert len(server.requests) == 1


def test_no_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    with serving(lambda _: Answer(404)) as server:
        found = a_client(server.url, tmp_path, "token-a").decision(MISSING)

    assert found is None


def test_the_token_is_in_no_text_that_is_raised(tmp_path: Path) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.payload.signature"  # noqa: S105 - nobody's
    client = a_client("http://127.0.0.1:1", tmp_path, token)

    with pytest.raises(AgentAway) as raised:
        client.decision(MISSING)

    assert token not in "".join(traceback.format_exception(raised.value))
