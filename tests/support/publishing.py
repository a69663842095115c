"""Processes that use a store and are stopped at chosen steps; run as a program by the tests of the store.

    python publishing.py interrupt kill|fail OPERATION FOLDER   one store per step, each stopped at its step
    python publishing.py publish FOLDER KEY     says `locking`, then `writing` and waits for a line on stdin; says where
    python publishing.py use FOLDER KEY         says `open`, waits for a line on stdin, says how many bytes it read

A step is anything by which an operation touches its store, as Python's own audit events name it, and the middle of
every file that is written.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from hpi_agent.store.directory import Store
from hpi_core.digest import digest_of_json
from hpi_core.errors import Stop

KEY: Final = "sha256:" + "ab" * 32
OTHER_KEYS: Final = tuple(digest_of_json(number) for number in range(2))
TREE: Final = "paddle2onnx-0123456789abcdef"
FILES: Final = {"inference.onnx": b"weights " * 500, "inference.yml": b"Global: {}\n" * 10}
OLD_DECISION: Final = {"chosen": "onnxruntime"}
NEW_DECISION: Final = {"chosen": "openvino", "why": "faster " * 100}

STEPS: Final = {
    "open",
    "fcntl.flock",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.scandir",
    "os.listdir",
    "os.chmod",
    "os.truncate",
}
HALF_WRITTEN: Final = "tests.half_written"

DONE, STOPPED, NOT_REACHED = 0, 3, 9


def write_model(directory: Path) -> None:
    """Write `FILES`, each in two halves with a step between them."""
    for name, content in FILES.items():
        with (directory / name).open("wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            sys.audit(HALF_WRITTEN, str(directory))
            file.write(content[len(content) // 2 :])


def write_tree(directory: Path) -> None:
    """Write a small environment: nested directories, links inside and to an interpreter outside."""
    (directory / "bin").mkdir()
    (directory / "bin" / "python").symlink_to("/usr/bin/env")
    (directory / "lib" / "package").mkdir(parents=True)
    (directory / "lib" / "package" / "module.py").write_text("VALUE = 1\n" * 500)
    (directory / "lib" / "empty").mkdir()
    (directory / "lib64").symlink_to("lib")
    script = directory / "bin" / "script"
    script.write_text("#!/usr/bin/env python\n")
    script.chmod(0o755)


def content_of(directory: Path) -> dict[str, bytes]:
    """Return the files of a published directory, without the store's own."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "manifest.json"}


def publish_model(root: Path) -> Path:
    """Publish `FILES` under `KEY`."""
    return Store(root).publish("models", KEY, write_model)


def damage_model(root: Path) -> None:
    """Publish `FILES` and cut one of them short."""
    os.truncate(publish_model(root) / "inference.onnx", 10)


def publish_tree(root: Path) -> Path:
    """Publish the small environment."""
    return Store(root).publish_tree("plugins", TREE, write_tree, about={"variant": "paddle2onnx"})


def fill(root: Path) -> None:
    """Publish two entries, the older one pinned, a tree, and one damaged thing in quarantine."""
    damage_model(root)
    Store(root).open("models", KEY)
    for key in OTHER_KEYS:
        Store(root).publish("engines", key, write_model)
    Store(root).pin("engines", OTHER_KEYS[0])
    publish_tree(root)


def _nothing(root: Path) -> None:
    """Leave the store as it is: not there."""


OPERATIONS: Final[dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]]] = {
    "publish": (_nothing, publish_model),
    "publish over a damaged one": (damage_model, publish_model),
    "publish a tree": (_nothing, publish_tree),
    "decide": (_nothing, lambda root: Store(root).write_decision(KEY, NEW_DECISION)),
    "decide again": (
        lambda root: Store(root).write_decision(KEY, OLD_DECISION),
        lambda root: Store(root).write_decision(KEY, NEW_DECISION),
    ),
    "open": (publish_model, lambda root: Store(root).open("models", KEY)),
    "open a damaged one": (damage_model, lambda root: Store(root).open("models", KEY)),
    "pin": (publish_model, lambda root: Store(root).pin("models", KEY)),
    "collect": (fill, lambda root: Store(root).collect(0)),
}
"""By name: what makes the store ready, and what is then stopped."""


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
        # What has no absolute path is named below an open directory of the store, or by its descriptor.
        named = str(arguments[0])
        in_store = event == "fcntl.flock" or named.startswith(self.folder) or not named.startswith("/")
        self.left -= in_store
        if self.left == 0 and in_store:
            if self.action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), named)


def interrupt(action: str, operation: str, folder: Path) -> int:
    """Do one operation once per step, each time in a process of its own; return how many steps there are.

    Raises:
        SystemExit: A process ended in another way than by the kill, by success or by `Stop`.
    """
    prepare, act = OPERATIONS[operation]
    prepared = folder / "prepared"
    prepare(prepared)
    for step in itertools.count(1):
        root = folder / str(step)
        if prepared.exists():
            # Copied, because flushing every one of them to the disk would take most of the time.
            shutil.copytree(prepared, root, symlinks=True)
        child = os.fork()
        if child == 0:
            _act_and_exit(act, root, step, action)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == NOT_REACHED:
            return step - 1
        if code not in ((-signal.SIGKILL,) if action == "kill" else (DONE, STOPPED)):
            raise SystemExit(f"step {step} ended with {code}")
    raise AssertionError("counting does not end")


def _act_and_exit(act: Callable[[Path], object], root: Path, step: int, action: str) -> NoReturn:
    interruption = Interruption(root, step, action)
    code = 1
    try:
        act(root)
        code = DONE
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


def use(folder: Path, key: str) -> None:
    """Open an entry, and read it when a line comes on stdin."""
    entry = Store(folder).open("models", key)
    if entry is None:
        raise SystemExit(f"{folder} has no {key}")
    with entry:
        print("open", flush=True)
        sys.stdin.readline()
        print(len(entry.read("inference.onnx", 2**20)), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "interrupt":
        print(interrupt(sys.argv[2], sys.argv[3], Path(sys.argv[4])))
    elif sys.argv[1] == "use":
        use(Path(sys.argv[2]), sys.argv[3])
    else:
        publish(Path(sys.argv[2]), sys.argv[3])
