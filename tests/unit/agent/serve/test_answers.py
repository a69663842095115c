"""How errors and timings become an answer."""

from __future__ import annotations

import signal

import pytest

from hpi_agent.processes.frames import Frame
from hpi_agent.serve.outcome import ClientGone, DeadlinePassed, WorkerDied, WorkerRefused, http_status, server_timing
from hpi_agent.serve.process import describe_exit
from hpi_core.errors import Bug, EngineFailed, HpiError, Overloaded, Refused, Stop, TooLarge

STATUSES: list[tuple[HpiError, int]] = [
    (Refused("no"), 422),
    (TooLarge("too large"), 413),
    (Overloaded("full", 7), 503),
    (WorkerDied("gone"), 503),
    (DeadlinePassed("late"), 504),
    (ClientGone("left"), 499),
    (WorkerRefused(413, "pixels"), 413),
    (EngineFailed("broken"), 500),
    (Stop("stopped"), 500),
    (Bug("ours"), 500),
]


@pytest.mark.parametrize(("error", "status"), STATUSES, ids=lambda value: type(value).__name__)
def test_the_status_says_who_acts_next(error: HpiError, status: int) -> None:
    assert http_status(error)[0] == status


def test_every_503_says_when_to_come_back() -> None:
    assert http_status(Overloaded("full", 7))[1] == {"Retry-After": "7"}
    assert http_status(WorkerDied("gone"))[1] == {"Retry-After": "1"}
    assert http_status(Refused("no"))[1] == {}


def test_a_retry_after_is_at_least_a_second() -> None:
    assert Overloaded("full", 0).retry_after_seconds == 1


def test_server_timing_lists_queue_stages_and_models_in_milliseconds() -> None:
    frame = Frame({"stages": {"decode": 0.0021, "predict": 0.3}, "models": {"det": 0.1, "rec": 0.15}}, memoryview(b""))

    assert server_timing(frame, 0.5) == (
        'queue;dur=500.0, decode;dur=2.1, predict;dur=300.0, model-0;desc="det";dur=100.0, model-1;desc="rec";dur=150.0'
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [(0, "exit code 0"), (3, "exit code 3"), (-signal.SIGSEGV, "killed by SIGSEGV"), (-250, "killed by signal 250")],
)
def test_an_exit_code_is_told_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words


def test_a_sigkill_hints_at_memory() -> None:
    assert describe_exit(-signal.SIGKILL) == "killed by SIGKILL; out of memory?"
