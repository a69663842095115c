"""A full queue, clients that leave, a worker that hangs or dies, and a server that is told to stop.

The worker is held still with SIGSTOP, so that a test decides how long a request is in service.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.images import text_page
from support.servers import PATIENCE_SECONDS, RunningServer, on_backend, serving

PAGE = text_page("hard times")


@pytest.fixture
def small(store: Path) -> Iterator[RunningServer]:
    """Return a server in whose queue one request may wait."""
    with serving(on_backend("onnxruntime", serving={"queue": {"length": 1}}), store) as running:
        yield running


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def read(server: RunningServer) -> httpx2.Response:
    with server.client() as client:
        headers = {"Content-Type": "image/png"}
        answer: httpx2.Response = client.post("/ocr?visualize=false", content=PAGE, headers=headers)
        return answer


def texts(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    found: list[str] = answer.json()["result"]["ocrResults"][0]["prunedResult"]["rec_texts"]
    return found


@contextmanager
def held_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def gauges(server: RunningServer) -> dict[str, float]:
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def until(true: Callable[[], bool]) -> None:
    """Ask again until it is true; fails after a minute. Each question is a request, which paces the loop."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline, "it never became true"


def in_state(server: RunningServer, in_service: int, waiting: int) -> Callable[[], bool]:
    def is_so() -> bool:
        now = gauges(server)
        return (now["hpi_requests_in_service"], now["hpi_queue_depth"]) == (in_service, waiting)

    return is_so


def test_a_full_queue_answers_503_with_retry_after_and_the_queued_are_served(
    small: RunningServer, threads: ThreadPoolExecutor
) -> None:
    with held_still(small.worker_pid()):
        first = threads.submit(read, small)
        until(in_state(small, 1, 0))
        second = threads.submit(read, small)
        until(in_state(small, 1, 1))
        third = read(small)

    assert third.status_code == 503
    assert int(third.headers["Retry-After"]) >= 1
    assert "spec.serving.queue.length" in third.json()["errorMsg"]
    assert [texts(one.result()) for one in (first, second)] == [["hard times"]] * 2


def test_a_client_that_hangs_up_in_the_queue_gives_its_place_back(
    small: RunningServer, threads: ThreadPoolExecutor
) -> None:
    with held_still(small.worker_pid()):
        first = threads.submit(read, small)
        until(in_state(small, 1, 0))
        leaving = send_and_keep(small)
        until(in_state(small, 1, 1))
        leaving.close()
        until(in_state(small, 1, 0))
        second = threads.submit(read, small)
        until(in_state(small, 1, 1))

    assert [texts(one.result()) for one in (first, second)] == [["hard times"]] * 2


def test_a_client_that_hangs_up_in_service_leaves_the_next_answer_right(small: RunningServer) -> None:
    with held_still(small.worker_pid()):
        leaving = send_and_keep(small)
        until(in_state(small, 1, 0))
        leaving.close()

    assert texts(read(small)) == ["hard times"]


def test_a_client_that_hangs_up_while_it_sends_costs_nothing(small: RunningServer) -> None:
    with socket.create_connection(small.address, 60) as connection:
        connection.sendall(
            b"POST /ocr HTTP/1.1\r\nHost: t\r\nContent-Type: image/png\r\nContent-Length: 999\r\n\r\nabc"
        )
        until(in_state(small, 0, 1))

    until(in_state(small, 0, 0))
    assert texts(read(small)) == ["hard times"]


def send_and_keep(server: RunningServer) -> socket.socket:
    connection = socket.create_connection(server.address, 60)
    fields = f"Host: t\r\nContent-Type: image/png\r\nContent-Length: {len(PAGE)}"
    head = f"POST /ocr?visualize=false HTTP/1.1\r\n{fields}\r\n\r\n"
    connection.sendall(head.encode() + PAGE)
    return connection


def test_a_killed_worker_costs_at_most_one_request(small: RunningServer, threads: ThreadPoolExecutor) -> None:
    pid = small.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    struck = threads.submit(read, small)
    until(in_state(small, 1, 0))
    waiting = threads.submit(read, small)
    until(in_state(small, 1, 1))
    os.kill(pid, signal.SIGKILL)

    assert struck.result().status_code == 503
    assert "SIGKILL" in struck.result().json()["errorMsg"]
    assert "Retry-After" in struck.result().headers
    assert texts(waiting.result()) == ["hard times"]
    assert gauges(small)["hpi_worker_restarts_total"] == 1


def test_readiness_follows_the_worker(small: RunningServer) -> None:
    def ready() -> int:
        with small.client() as client:
            return int(client.get("/v2/health/ready").status_code)

    assert ready() == 200
    os.kill(small.worker_pid(), signal.SIGKILL)
    until(lambda: ready() == 503)
    small.wait_for("ready", 2)

    until(lambda: ready() == 200)
    assert texts(read(small)) == ["hard times"]


def test_sigterm_finishes_what_was_accepted_and_takes_nothing_new(
    small: RunningServer, threads: ThreadPoolExecutor
) -> None:
    with held_still(small.worker_pid()):
        accepted = threads.submit(read, small)
        until(in_state(small, 1, 0))
        small.process.send_signal(signal.SIGTERM)
        small.wait_for("draining")
        until(lambda: refuses_connections(small))

    assert texts(accepted.result()) == ["hard times"]
    assert small.process.wait(PATIENCE_SECONDS) == 0


def refuses_connections(server: RunningServer) -> bool:
    try:
        socket.create_connection(server.address, 60).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def test_no_process_is_left_behind_after_a_stop(small: RunningServer) -> None:
    worker = small.worker_pid()

    code = small.terminate()

    assert code == 0
    assert not Path(f"/proc/{worker}").exists()


def test_a_worker_ends_when_its_server_is_killed(small: RunningServer) -> None:
    worker = small.worker_pid()
    descriptor = os.pidfd_open(worker)

    small.process.kill()
    small.process.wait()

    import select

    ended, _, _ = select.select([descriptor], [], [], PATIENCE_SECONDS)
    os.close(descriptor)
    assert ended


def test_a_hung_worker_is_answered_504_and_replaced(store: Path) -> None:
    with serving(on_backend("onnxruntime", serving={"timeouts": {"requestSeconds": 5}}), store) as hasty:
        os.kill(hasty.worker_pid(), signal.SIGSTOP)

        late = read(hasty)
        hasty.wait_for("ready", 2)

        assert late.status_code == 504
        assert "requestSeconds" in late.json()["errorMsg"]
        assert texts(read(hasty)) == ["hard times"]


def test_many_clients_at_once_get_their_own_answers(server: RunningServer) -> None:
    words = [f"client {number}" for number in range(8)]
    answers: dict[str, Any] = {}
    barrier = threading.Barrier(len(words))

    def ask(word: str) -> None:
        barrier.wait(60)
        with server.client() as client:
            content = text_page(word)
            answers[word] = client.post("/ocr?visualize=false", content=content, headers={"Content-Type": "image/png"})

    with ThreadPoolExecutor(len(words)) as pool:
        done: list[Future[None]] = [pool.submit(ask, word) for word in words]
    for one in done:
        one.result()

    # A detector may see a speck more on a page; whose page it was, the first line says.
    assert {word: texts(answer)[0] for word, answer in answers.items()} == {word: word for word in words}
