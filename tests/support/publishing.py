"""Processes that publish in a store and are stopped at chosen steps; run as a program by the tests of the store.

    python publishing.py interrupt kill|fail fresh|damaged FOLDER   one store per step, each stopped at its step
    python publishing.py publish FOLDER KEY     says `locking`, then `writing` and waits for a line on stdin; says where

A step is anything by which a publication touches its store, as Python's own audit events name it, and the middle of
every file that is written.
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from hpi_agent.store.directory import Store
from hpi_core.errors import Stop

KEY: Final = "sha256:" + "ab" * 32
FILES: Final = {"inference.onnx": b"weights " * 500, "inference.yml": b"Global: {}\n" * 10}

STEPS: Final = {"open", "fcntl.flock", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.scandir", "os.listdir"}
HALF_WRITTEN: Final = "tests.half_written"

PUBLISHED, STOPPED, NOT_REACHED = 0, 3, 9


def write_model(directory: Path) -> None:
    """Write `FILES`, each in two halves with a step between them."""
    for name, content in FILES.items():
        with (directory / name).open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            sys.audit(HALF_WRITTEN, str(directory))
            file.write(content[len(content) // 2 :])


def content_of(directory: Path) -> dict[str, bytes]:
    """Return the files of a published directory, without the store's own."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "manifest.json"}


class Interruption:
    """An audit hook that acts at one step below a folder; hooks stay for the life of a process, so each has its own."""

    def __init__(self, folder: Path, step: int, action: str) -> None:
        self.folder = str(folder)
        self.left = step
        self.action = action
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in STEPS and event != HALF_WRITTEN:
            return
        in_store = event == "fcntl.flock" or str(arguments[0]).startswith(self.folder)
        self.left -= in_store
        if self.left == 0 and in_store:
            if self.action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))


def interrupt(action: str, before: str, folder: Path) -> int:
    """Publish once per step, each time in a process of its own; return how many steps there are.

    Raises:
        SystemExit: A process ended in another way than by the kill, by success or by `Stop`.
    """
    for step in itertools.count(1):
        root = folder / str(step)
        if before == "damaged":
            os.truncate(Store(root).publish("models", KEY, write_model) / "inference.onnx", 10)
        child = os.fork()
        if child == 0:
            _publish_and_exit(root, step, action)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == NOT_REACHED:
            return step - 1
        if code not in ((-signal.SIGKILL,) if action == "kill" else (PUBLISHED, STOPPED)):
            raise SystemExit(f"step {step} ended with {code}")
    raise AssertionError("counting does not end")


def _publish_and_exit(root: Path, step: int, action: str) -> NoReturn:
    interruption = Interruption(root, step, action)
    code = 1
    try:
        Store(root).publish("models", KEY, write_model)
        code = PUBLISHED
    except Stop:
        code = STOPPED
    finally:
        # Ends a forked process without the parent's exit handlers; a traceback is printed by nobody, the code says it.
        os._exit(NOT_REACHED if interruption.left > 0 else code)


def publish(folder: Path, key: str) -> None:
    """Publish; say when the lock is asked for, and wait for a line on stdin before anything is written."""
    said = False

    def say_locking(event: str, _: tuple[Any, ...]) -> None:
        nonlocal said
        if event == "fcntl.flock" and not said:
            said = True
            print("locking", flush=True)

    def write(directory: Path) -> None:
        print("writing", flush=True)
        sys.stdin.readline()
        write_model(directory)

    sys.addaudithook(say_locking)
    print(Store(folder).publish("models", key, write), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "interrupt":
        print(interrupt(sys.argv[2], sys.argv[3], Path(sys.argv[4])))
    else:
        publish(Path(sys.argv[2]), sys.argv[3])
