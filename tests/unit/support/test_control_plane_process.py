"""A program of a control plane ends when it should: when it is told to, and when whoever started it is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from support.children import lives, wait_for
from support.control_plane.process import TIED, Process, describe_exit

IGNORING = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
HOLDER = """
import sys
from pathlib import Path
from support.control_plane.process import Process
folder = Path(sys.argv[1])
command = ["/bin/sh", "-c", "trap '' TERM INT HUP; echo $$; sleep 600 & echo $!; wait"]
Process("the program", command, directory=folder, log=folder / "log", environment={"PATH": "/usr/bin:/bin"})
sys.stdin.read()
"""


def a_process(folder: Path, script: str) -> Process:
    return Process(
        "the program",
        ["/bin/sh", "-c", script],
        directory=folder,
        log=folder / "log",
        environment={"PATH": os.defpath},
    )


def lines(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text(encoding="utf-8").split() if log.exists() else []


def test_stopping_ends_a_program_that_ignores_it_and_the_children_it_has(tmp_path: Path) -> None:
    process = a_process(tmp_path, f"sleep 600 & echo $!; {IGNORING}")
    wait_for(lambda: "ready" in lines(tmp_path))

    process.stop(patience_seconds=0.1)

    child = int(lines(tmp_path)[0])
    assert process.exit_code == -signal.SIGKILL
    wait_for(lambda: not lives(child))


def test_stopping_ends_children_that_the_program_left_behind(tmp_path: Path) -> None:
    process = a_process(tmp_path, "sleep 600 & echo $!")
    process.wait(60)

    process.stop()

    child = int(lines(tmp_path)[0])
    wait_for(lambda: not lives(child))


def test_a_program_and_its_children_die_with_a_holder_that_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as holder:
        wait_for(lambda: len(lines(tmp_path)) == 2)
        holder.send_signal(signal.SIGKILL)

    pids = [int(line) for line in lines(tmp_path)]
    wait_for(lambda: not any(lives(pid) for pid in pids))


def test_a_program_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[Process] = []
    thread = threading.Thread(target=lambda: started.append(a_process(tmp_path, IGNORING)))
    thread.start()
    thread.join()
    wait_for(lambda: "ready" in lines(tmp_path))

    code = started[0].exit_code

    assert code is None
    started[0].stop(patience_seconds=0)


def test_a_program_whose_holder_is_gone_already_does_not_start() -> None:
    reader, writer = os.pipe()
    os.close(writer)

    command = [sys.executable, "-I", "-S", str(TIED), str(reader), "/bin/echo", "started"]
    done = subprocess.run(command, pass_fds=[reader], capture_output=True, text=True, check=False)

    os.close(reader)
    assert (done.returncode, done.stdout) == (1, "")
    assert "whoever started this is gone" in done.stderr


def test_the_last_lines_are_those_of_both_outputs(tmp_path: Path) -> None:
    process = a_process(tmp_path, "echo first; echo second; echo third >&2")
    process.wait(60)

    last = process.last_lines(2)

    process.stop()
    assert last == "second\nthird"


@pytest.mark.parametrize(("code", "words"), [(0, "exit code 0"), (1, "exit code 1"), (-9, "signal SIGKILL")])
def test_an_exit_code_is_told_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words
