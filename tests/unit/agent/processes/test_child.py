"""Children that answer, and children that crash, hang, leak, leave, and write what they should not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hpi_agent.processes.child import Child, ChildFailed, describe_exit
from hpi_core import errors
from hpi_core.errors import Bug, EngineFailed
from support import children
from support.children import MEGABYTE, PATIENCE_SECONDS, a_child, ask, lives, wait_for

# Answers.


def test_a_child_answers_with_header_and_bytes() -> None:
    with a_child() as child:
        frame = child.ask({"kind": "echo", "say": "é"}, [b"abc", b"def"], timeout_seconds=PATIENCE_SECONDS)

    assert frame.header == {"said": "é"}
    assert bytes(frame.payload) == b"abcdef"


def test_questions_of_several_threads_are_answered_one_after_the_other() -> None:
    answers: dict[int, object] = {}
    with a_child() as child:
        threads = [
            threading.Thread(target=lambda say=say: answers.update({say: ask(child, "echo", say=say)["said"]}))
            for say in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert answers == {say: say for say in range(20)}


@pytest.mark.parametrize("kind", ["Refused", "TooLarge", "Retry", "Stop", "EngineFailed", "SourceFailed", "Bug"])
def test_an_error_of_ours_arrives_as_the_same_class(kind: str) -> None:
    with a_child() as child:
        with pytest.raises(errors.HpiError) as raised:
            ask(child, "fail", error=kind, text="what was seen")
        said = ask(child, "echo", say="still there")["said"]

    assert type(raised.value) is getattr(errors, kind)
    assert str(raised.value) == "what was seen"
    assert said == "still there"


def test_an_error_that_nobody_expected_is_a_bug_and_leaves_the_child_fit() -> None:
    with a_child() as child:
        with pytest.raises(Bug, match="KeyError: 'nobody expected this'"):
            ask(child, "stumble")
        assert ask(child, "echo", say=1)["said"] == 1


def test_a_question_that_no_handler_knows_is_a_bug() -> None:
    with a_child() as child, pytest.raises(Bug, match=r"no handler is called 'nonsense'; there are \["):
        ask(child, "nonsense")


def test_a_child_has_a_session_no_core_files_no_input_and_its_environment() -> None:
    with a_child(OF_THE_TEST="here") as child:
        given = ask(child, "limits")

    assert given["session"] == given["pid"] == child.pid
    assert given["core"] == [0, 0]
    assert given["stdin"] == ""
    assert given["environment"] == {"PYTHONSAFEPATH": "1", "ORT_DISABLE_TELEMETRY": "1", "OF_THE_TEST": "here"}


# Bad days.


def test_a_program_that_does_not_exist_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(ChildFailed, match=r"the lost one cannot be started: .*No such file") as raised:
        Child.start([str(tmp_path / "nothing")], memory_bytes=None, name="the lost one")

    assert raised.value.cause == "ended"


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_names_the_signal_and_every_later_question_says_so_again(name: str) -> None:
    with a_child() as child:
        os.kill(child.pid, signal.Signals[name])

        failures = []
        for _ in range(2):
            with pytest.raises(ChildFailed, match=f"the tested child was killed by {name}.*it wrote nothing") as raised:
                ask(child, "spin")
            failures.append((raised.value.cause, str(raised.value)))

    assert failures[0] == failures[1]
    assert failures[0][0] == "crashed"


def test_a_failed_child_is_a_failed_engine_to_who_does_not_ask_further() -> None:
    assert issubclass(ChildFailed, EngineFailed)


@pytest.mark.parametrize("kind", ["spin", "block_signals_and_spin"])
def test_an_endless_loop_is_killed_at_its_deadline(kind: str) -> None:
    with a_child() as child:
        with pytest.raises(ChildFailed, match=f"gave no answer to '{kind}' within 0.3 s and was killed") as raised:
            ask(child, kind, timeout_seconds=0.3)

        assert raised.value.cause == "hung"
        assert not lives(child.pid)


def test_a_stopped_child_hangs() -> None:
    with a_child() as child:
        os.kill(child.pid, signal.SIGSTOP)

        with pytest.raises(ChildFailed) as raised:
            ask(child, "echo", timeout_seconds=0.3)

    assert raised.value.cause == "hung"


def test_a_stopped_child_hangs_too_when_the_question_does_not_fit_the_channel() -> None:
    with a_child() as child:
        os.kill(child.pid, signal.SIGSTOP)

        with pytest.raises(ChildFailed) as raised:
            child.ask({"kind": "echo"}, [bytes(16 * MEGABYTE)], timeout_seconds=0.3)

    assert raised.value.cause == "hung"


def test_time_between_questions_is_no_hang() -> None:
    with a_child() as child:
        ask(child, "echo", timeout_seconds=0.3)

        # Past that deadline the child does not run down: it has answered.
        silence = threading.Event()
        silence.wait(0.5)

        assert ask(child, "echo", say=1)["said"] == 1


def test_an_exit_is_told_with_its_code_and_last_words() -> None:
    with a_child() as child, pytest.raises(ChildFailed) as raised:
        ask(child, "leave", code=3, words="first line\nlibmissing.so: cannot open\n\n")

    assert raised.value.cause == "ended"
    assert str(raised.value).startswith(
        "the tested child ended with exit code 3 before it answered 'leave'; "
        "its last words: 'libmissing.so: cannot open'. "
    )


@pytest.mark.parametrize(
    "written",
    [
        pytest.param("ff" * 40, id="lengths out of bounds"),
        pytest.param("00000003" + "00" * 8 + "7b7b7b", id="no JSON"),
        pytest.param("00000002" + "00" * 8 + "fffe", id="no UTF-8"),
        pytest.param("00000002" + "00" * 8 + "5b5d", id="a list"),
    ],
)
def test_garbage_on_the_channel_ends_the_child(written: str) -> None:
    with a_child() as child:
        with pytest.raises(ChildFailed, match="wrote what is no answer to 'write_garbage'") as raised:
            ask(child, "write_garbage", hex=written)

        assert raised.value.cause == "crashed"
        assert not lives(child.pid)


def test_a_flood_of_output_blocks_nothing_and_its_end_is_kept() -> None:
    with a_child() as child:
        ask(child, "flood", megabytes=4)
        wait_for(lambda: child.output.endswith("the very last line\n"))

        assert len(child.output) <= 64 * 1024


# Memory.


def test_memory_beyond_the_limit_ends_the_child() -> None:
    limit = 100 * MEGABYTE

    with a_child(limit) as child, pytest.raises(ChildFailed, match=r"took 1\d\d MiB .* the 100 MiB allowed") as raised:
        ask(child, "grow")

    assert raised.value.cause == "memory"
    assert child.peak_memory_bytes > limit


def test_memory_within_the_limit_is_measured() -> None:
    with a_child(200 * MEGABYTE) as child:
        ask(child, "keep", megabytes=100)
        wait_for(lambda: child.peak_memory_bytes > 100 * MEGABYTE)

        assert child.peak_memory_bytes < 150 * MEGABYTE


def test_memory_between_questions_counts_too() -> None:
    with a_child(100 * MEGABYTE) as child:
        ask(child, "grow_later")
        wait_for(lambda: not lives(child.pid))

        with pytest.raises(ChildFailed) as raised:
            ask(child, "echo")

    assert raised.value.cause == "memory"


def test_the_memory_of_grandchildren_counts() -> None:
    with a_child(150 * MEGABYTE) as child, pytest.raises(ChildFailed) as raised:
        ask(child, "fork", count=100, megabytes=50)

    assert raised.value.cause == "memory"


def test_memory_shared_after_a_fork_counts_once() -> None:
    with a_child(200 * MEGABYTE) as child:
        ask(child, "keep", megabytes=100)
        pids = ask(child, "fork", count=4)["pids"]
        wait_for(lambda: child.peak_memory_bytes > 100 * MEGABYTE)

        assert [lives(pid) for pid in pids] == [True] * 4
        assert child.peak_memory_bytes < 200 * MEGABYTE


# The end.


def test_closing_ends_an_idle_child_by_itself() -> None:
    child = a_child()
    ask(child, "echo")

    child.close()
    child.close()

    assert not lives(child.pid)
    with pytest.raises(ChildFailed, match="is closed; start it again"):
        ask(child, "echo")


def test_grandchildren_that_ignore_everything_end_with_the_child() -> None:
    with a_child() as child:
        pids = ask(child, "fork", count=2)["pids"]
        assert [lives(pid) for pid in pids] == [True, True]

    assert [lives(pid) for pid in pids] == [False, False]


def test_a_daemon_whose_parent_is_gone_ends_with_the_child_that_started_it() -> None:
    with a_child(1000 * MEGABYTE) as child:
        pids = ask(child, "start_daemon", megabytes=60)
        wait_for(lambda: child.peak_memory_bytes > 60 * MEGABYTE)
        ask(child, "reap", pid=pids["between"])
        assert lives(pids["daemon"])

    assert not lives(pids["daemon"])


def test_grandchildren_end_when_the_child_hangs() -> None:
    with a_child() as child:
        pids = ask(child, "fork", count=2)["pids"]

        with pytest.raises(ChildFailed):
            ask(child, "spin", timeout_seconds=0.3)

        assert [lives(pid) for pid in pids] == [False, False]


def test_a_child_outlives_the_thread_that_started_it() -> None:
    started: list[Child] = []
    thread = threading.Thread(target=lambda: started.append(a_child()))
    thread.start()
    thread.join()

    with started[0] as child:
        assert ask(child, "echo", say=1)["said"] == 1


PARENT = """
import os, sys, threading
from support.children import a_child, ask
child = a_child()
pids = ask(child, 'fork', count=1)['pids']
threading.Thread(target=ask, args=(child, sys.argv[1]), daemon=True).start()
print(child.pid, *pids, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("doing", ["echo", "block_signals_and_spin"])
def test_no_child_survives_a_parent_that_is_killed(doing: str) -> None:
    tests = Path(children.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(tests)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, doing], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert [lives(pid) for pid in pids] == [True, True]

        parent.kill()
        parent.wait()

    wait_for(lambda: not any(lives(pid) for pid in pids))


def test_nothing_stays_open_after_ten_starts() -> None:
    a_child().close()
    before = set(os.listdir("/proc/self/fd"))

    for _ in range(10):
        a_child().close()

    wait_for(lambda: set(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-signal.SIGSEGV, "was killed by SIGSEGV"),
        (-signal.SIGKILL, "was killed by SIGKILL (not by its watchdog; out of memory?)"),
        (-99, "was killed by signal 99"),
    ],
)
def test_an_exit_code_is_told_in_words(code: int, text: str) -> None:
    assert describe_exit(code) == text
