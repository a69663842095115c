"""A child for tests: every handler is one thing that a child may do, good or bad. Run as a program, it serves them."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpi_agent.processes.child import Child
from hpi_agent.processes.child_end import ERROR_KINDS, Answer, serve_frames
from hpi_agent.processes.frames import Frame
from hpi_agent.processes.process_tree import read_stat

MEGABYTE = 2**20
PATIENCE_SECONDS = 60.0
"""How long a test waits for an answer or an end; nothing waits this long on a machine that works."""


def a_child(memory_bytes: int | None = None, **environment: str) -> Child:
    """Start this module as a child."""
    command = [sys.executable, str(Path(__file__))]
    return Child.start(command, memory_bytes=memory_bytes, environment=environment, name="the tested child")


def ask(child: Child, kind: str, timeout_seconds: float = PATIENCE_SECONDS, **fields: Any) -> dict[str, Any]:
    """Ask a child for one thing and return the header of its answer."""
    return child.ask({"kind": kind, **fields}, timeout_seconds=timeout_seconds).header


def wait_for(happened: Callable[[], bool]) -> None:
    """Return as soon as something is so; fail when it never is."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended and waits to be reaped does not."""
    stat = read_stat(pid)
    return stat is not None and stat.lives


def echo(frame: Frame) -> Answer:
    """Answer what was sent."""
    return {"said": frame.header.get("say")}, [frame.payload]


def fail(frame: Frame) -> Answer:
    """Raise an error of ours, by name."""
    raise ERROR_KINDS[frame.header["error"]](frame.header["text"])


def stumble(_: Frame) -> Answer:
    """Raise an error that nobody expected."""
    raise KeyError("nobody expected this")


def spin(_: Frame) -> Answer:
    """Never answer, and stay busy."""
    while True:
        pass


def block_signals_and_spin(_: Frame) -> Answer:
    """Never answer, and take no signal that can be refused."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while True:
        pass


def leave(frame: Frame) -> Answer:
    """Write some last words and exit."""
    sys.stderr.write(frame.header["words"])
    sys.stderr.flush()
    os._exit(frame.header["code"])


def write_garbage(frame: Frame) -> Answer:
    """Write bytes to the channel that are no frame."""
    with socket.socket(fileno=os.dup(int(sys.argv[-1]))) as channel:
        channel.sendall(bytes.fromhex(frame.header["hex"]))
    time.sleep(PATIENCE_SECONDS)
    return {}, []


def flood(frame: Frame) -> Answer:
    """Write much on both outputs."""
    line = b"a line that nobody reads\n" * 4000
    for _ in range(frame.header["megabytes"] * 5):
        os.write(1, line)
        os.write(2, line)
    os.write(2, b"the very last line\n")
    return {}, []


def work(frame: Frame) -> Answer:
    """Use some processor time, counted in ticks."""
    until = time.process_time() + frame.header["ticks"] / os.sysconf("SC_CLK_TCK")
    while time.process_time() < until:
        pass
    return {}, []


kept: list[bytearray] = []


def keep(frame: Frame) -> Answer:
    """Take memory, touch every page and hold it."""
    kept.append(bytearray(b"x") * (frame.header["megabytes"] * MEGABYTE))
    return {}, []


def grow(_: Frame) -> Answer:
    """Take memory without end."""
    while True:
        kept.append(bytearray(b"x") * MEGABYTE)


def grow_later(_: Frame) -> Answer:
    """Answer, and take memory without end afterwards."""
    threading.Thread(target=grow, args=(_,), daemon=True).start()
    return {}, []


def fork(frame: Frame) -> Answer:
    """Start grandchildren that ignore everything; each takes some memory of its own."""
    return {"pids": [_fork_one(frame.header.get("megabytes", 0)) for _ in range(frame.header["count"])]}, []


def start_daemon(frame: Frame) -> Answer:
    """Start a process in a session of its own, below another one; both answer to nobody."""
    reader, writer = os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        os.write(writer, str(_fork_one(frame.header["megabytes"])).encode())
        while True:
            time.sleep(PATIENCE_SECONDS)
    return {"between": between, "daemon": int(os.read(reader, 32))}, []


def reap(frame: Frame) -> Answer:
    """Kill a child of the child and wait for its end."""
    os.kill(frame.header["pid"], signal.SIGKILL)
    os.waitpid(frame.header["pid"], 0)
    return {}, []


def _fork_one(megabytes: int) -> int:
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        kept.append(bytearray(b"x") * (megabytes * MEGABYTE))
        os.write(tell, b"!")
        while True:
            time.sleep(PATIENCE_SECONDS)
    os.read(ready, 1)
    return pid


def limits(_: Frame) -> Answer:
    """Tell what the process was given."""
    import resource

    names = ("PYTHONSAFEPATH", "ORT_DISABLE_TELEMETRY", "OF_THE_TEST")
    return {
        "core": list(resource.getrlimit(resource.RLIMIT_CORE)),
        "environment": {name: os.environ.get(name) for name in names},
        "session": os.getsid(0),
        "pid": os.getpid(),
        "stdin": sys.stdin.read(),
    }, []


HANDLERS = {
    handler.__name__: handler
    for handler in (
        echo,
        fail,
        stumble,
        spin,
        block_signals_and_spin,
        leave,
        write_garbage,
        flood,
        work,
        keep,
        grow,
        grow_later,
        fork,
        start_daemon,
        reap,
        limits,
    )
}

if __name__ == "__main__":
    serve_frames(HANDLERS, sys.argv[-1])
