"""One step of an installation: its lines, its end, its bounded time."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from hpi_agent.plugins.step import MAX_LINE_CHARACTERS, MAX_LINES, Ended, run_step

ENDLESS = "import signal; signal.pause()"

STARTER = """
import sys
from pathlib import Path
from hpi_agent.plugins.step import run_step
child = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
say = lambda line: print(line, flush=True)
run_step([sys.executable, "-c", child], environment={}, folder=Path("/"), seconds=60, on_line=say)
"""
"""Starts a step that never ends and tells its process number."""


def run_python(code: str, seconds: float = 60) -> tuple[Ended, list[str]]:
    lines: list[str] = []
    command = [sys.executable, "-c", code]
    return run_step(command, environment={}, folder=Path("/"), seconds=seconds, on_line=lines.append), lines


def test_a_step_tells_its_lines_as_they_come_and_how_it_ended() -> None:
    ended, lines = run_python("import sys; print('one'); sys.stdout.flush(); sys.exit('two')")

    assert lines == ["one", "two"]
    assert (ended.exit_code, ended.timed_out, ended.passed, ended.lines) == (1, False, False, ("one", "two"))


def test_a_step_that_takes_too_long_is_ended() -> None:
    ended, _ = run_python(ENDLESS, seconds=0.5)

    assert (ended.timed_out, ended.exit_code, ended.passed) == (True, -signal.SIGKILL, False)


def test_a_flood_of_output_is_kept_in_bounded_memory() -> None:
    ended, _ = run_python("for number in range(10_000): print(number, 'x' * 10_000)")

    assert len(ended.lines) == MAX_LINES
    assert {len(line) for line in ended.lines} == {MAX_LINE_CHARACTERS}
    assert ended.lines[-1].startswith("9999 ")


def test_bytes_that_are_no_text_and_terminal_colours_are_shown_as_text() -> None:
    _, lines = run_python("import os; os.write(1, b'\\x1b[31mred\\x1b[0m \\xff\\n')")

    assert lines == ["red \\xff"]


def test_a_step_sees_the_variables_it_is_given_and_no_others() -> None:
    code = "import os; print(sorted(os.environ))"
    command = [sys.executable, "-c", code]

    ended = run_step(command, environment={"ONE": "1"}, folder=Path("/"), seconds=60)

    assert "'ONE'" in ended.lines[0]
    assert "PATH" not in ended.lines[0]


def test_a_step_dies_with_the_program_that_started_it() -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    child = int(starter.stdout.readline())
    descriptor = os.pidfd_open(child)

    starter.kill()
    starter.wait()

    # A pidfd becomes readable when its process has ended; the suite's own limit ends a wait for one that does not.
    assert select.select([descriptor], [], [], 60)[0] == [descriptor]
    os.close(descriptor)
    starter.stdout.close()
