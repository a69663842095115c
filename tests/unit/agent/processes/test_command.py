"""Programs that end, write too much, hang, leave something behind, do not exist, or cannot be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from hpi_agent.processes.command import CommandResult, run_command
from support.children import lives, wait_for

SLEEPS = "import time; time.sleep(600)"


def run(program: str, timeout_seconds: float = 60.0, max_output_bytes: int = 1000) -> CommandResult:
    return run_command(
        [sys.executable, "-c", program], timeout_seconds=timeout_seconds, max_output_bytes=max_output_bytes
    )


def test_both_streams_and_the_exit_code_come_back() -> None:
    result = run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")

    assert result == CommandResult("ended", 3, "out\n", "err\n")


def test_arguments_reach_the_program_as_they_are() -> None:
    words = ["-c", "import sys; print(sys.argv[1:])", "a b", "$(id)", ";", "é"]

    result = run_command([sys.executable, *words], timeout_seconds=60, max_output_bytes=1000)

    assert result.output == "['a b', '$(id)', ';', 'é']\n"


def test_a_program_gets_no_input_and_the_variables_it_is_given() -> None:
    program = [sys.executable, "-c", "import os, sys; print(repr(sys.stdin.read()), os.environ['HPI_SAYS'])"]

    result = run_command(program, timeout_seconds=60, max_output_bytes=1000, environment={"HPI_SAYS": "yes"})

    assert result.output == "'' yes\n"


@pytest.mark.parametrize(("size", "ending"), [(1000, "ended"), (1001, "flooded")])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_program_may_write_as_much_as_allowed_and_no_byte_more(stream: str, size: int, ending: str) -> None:
    result = run(f"import sys; sys.{stream}.write('x' * {size})")

    assert result.ending == ending
    assert len(result.output + result.errors) == 1000


def test_a_program_that_writes_for_ever_is_killed() -> None:
    result = run("while True: print('x' * 1000)")

    assert (result.ending, result.exit_code) == ("flooded", -signal.SIGKILL)


def test_a_program_past_its_deadline_is_killed_and_what_it_wrote_is_kept() -> None:
    result = run(f"print('here', flush=True); {SLEEPS}", timeout_seconds=1.0)

    assert result == CommandResult("hung", -signal.SIGKILL, "here\n", "")


def test_a_program_that_closes_its_output_and_stays_is_past_its_deadline_too() -> None:
    result = run(f"import os; os.close(1); os.close(2); {SLEEPS}", timeout_seconds=0.5)

    assert (result.ending, result.exit_code) == ("hung", -signal.SIGKILL)


@pytest.mark.parametrize(("output", "ending"), [("DEVNULL", "ended"), ("None", "hung")], ids=["apart", "on its pipes"])
def test_what_a_program_leaves_behind_is_killed_with_it(output: str, ending: str) -> None:
    start = f"Popen([sys.executable, '-c', {SLEEPS!r}], stdout={output}, stderr={output})"

    result = run(f"import sys; from subprocess import *; print({start}.pid, flush=True)", timeout_seconds=2.0)

    assert result.ending == ending
    wait_for(lambda: not lives(int(result.output)))


def test_a_program_that_is_not_there_is_said_by_name_of_the_error(tmp_path: Path) -> None:
    result = run_command([str(tmp_path / "absent")], timeout_seconds=60, max_output_bytes=1000)

    assert result == CommandResult("not started", None, "", "No such file or directory")


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    result = run("import sys; sys.stdout.buffer.write(b'\\xff\\x00a')")

    assert result.output == "\\xff\0a"


def test_a_program_that_cannot_be_killed_is_left_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    # A driver that hangs in the kernel keeps its process from dying; nobody can make one here.
    monkeypatch.setattr("hpi_agent.processes.command.os.killpg", lambda group, number: started.append(group))

    before = time.monotonic()
    result = run(SLEEPS, timeout_seconds=0.2)
    seconds = time.monotonic() - before

    with contextlib.suppress(ProcessLookupError):
        os.kill(started[0], signal.SIGKILL)
        os.waitpid(started[0], 0)
    assert (result.ending, result.exit_code) == ("hung", None)
    assert seconds < 10
