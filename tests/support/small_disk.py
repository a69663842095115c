"""A store that is full, out of inodes, read-only or somebody else's; run as a program by the tests of the store.

    python small_disk.py full|inodes|read-only|denied FOLDER      prints one JSON object per trial

All but the last mount a small tmpfs on FOLDER, which takes a mount namespace of its own: `command` starts them in one,
by root's right or, for other users, inside a user namespace.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from hpi_agent.store.directory import Store, find_damage
from hpi_core.errors import Stop
from support.publishing import FILES, KEY, OLD_DECISION, OPERATIONS, OTHER_KEYS, TREE, fill, publish_model

SIZE_BYTES: Final = 1_048_576
INODES: Final = 200
NOBODY: Final = 65534
MOST_TRIALS: Final = 60
"""No operation needs so many pages or inodes."""


def command(scenario: str, folder: Path) -> list[str]:
    """Return the command that runs one scenario."""
    if scenario == "denied":
        return [sys.executable, __file__, scenario, str(folder)]
    own_users = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *own_users, sys.executable, __file__, scenario, str(folder)]


def mount(folder: Path, options: str) -> None:
    """Mount a tmpfs, or mount it again with other options."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "store", str(folder)], check=True)


def leave_pages(disk: Path, pages: int) -> None:
    """Fill the disk except for so many pages."""
    seen = os.statvfs(disk)
    with (disk / "ballast").open("wb") as file:
        file.write(bytes((seen.f_bavail - pages) * seen.f_bsize))


def leave_inodes(disk: Path, inodes: int) -> None:
    """Use up all inodes except for so many."""
    (disk / "ballast").mkdir()
    for number in range(os.statvfs(disk).f_ffree - inodes):
        (disk / "ballast" / str(number)).touch()


def starve(disk: Path, leave: Callable[[Path, int], None]) -> Iterator[dict[str, Any]]:
    """Do every operation with 0, 1, 2 ... pages or inodes left until it succeeds; tell how each ended."""
    for operation, (prepare, act) in OPERATIONS.items():
        for left in range(MOST_TRIALS):
            store = disk / "store"
            prepare(store)
            leave(disk, left)
            failed = attempt(act, store)
            yield {"operation": operation, "left": left, "failed": failed, **state_of(store)}
            subprocess.run(["rm", "-rf", str(disk / "ballast")], check=True)
            yield {"operation": operation, "left": left, "again": attempt(act, store), **state_of(store)}
            subprocess.run(["rm", "-rf", str(store)], check=True)
            if failed is None:
                break


def attempt(act: Callable[[Path], object], store: Path) -> str | None:
    """Return the text with which an operation stopped, None when it succeeded."""
    try:
        act(store)
    except Stop as stop:
        return str(stop)
    return None


def state_of(store: Path) -> dict[str, Any]:
    """Return what is to be seen in a store: damage of its entries, and what was left behind."""
    kinds = ("models", "engines", "plugins")
    entries = [path for kind in kinds if (store / kind).exists() for path in (store / kind).iterdir()]
    left = list((store / "tmp").iterdir()) if (store / "tmp").exists() else []
    return {"damage": [damage for path in entries if (damage := find_damage(path))], "tmp": len(left)}


def read_only(disk: Path) -> Iterator[dict[str, Any]]:
    """Do everything in a store that is mounted read-only."""
    return try_everything(disk / "store", lambda: mount(disk, "remount,ro"))


def denied(folder: Path) -> Iterator[dict[str, Any]]:
    """Do everything in a store that this process's user may read and not write."""

    def give_up_the_right() -> None:
        if os.geteuid() == 0:
            # Permissions do not bind root.
            os.setuid(NOBODY)
        else:
            subprocess.run(["chmod", "-R", "a-w", str(folder)], check=True)

    return try_everything(folder / "store", give_up_the_right)


def try_everything(store: Path, make_unwritable: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """Fill a store, make it unwritable, and tell what became of every operation."""
    fill(store)
    publish_model(store)
    Store(store).write_decision(KEY, OLD_DECISION)
    os.truncate(store / "engines" / OTHER_KEYS[0][7:] / "inference.onnx", 10)
    make_unwritable()
    missing = "sha256:" + "00" * 32
    writing: dict[str, Callable[[Path], object]] = {
        "publish": lambda root: Store(root).publish("models", missing, lambda directory: None),
        "publish what is damaged": lambda root: Store(root).publish("engines", OTHER_KEYS[0], lambda directory: None),
        "decide": lambda root: Store(root).write_decision(KEY, {}),
        "collect": lambda root: Store(root).collect(0),
        "pin": lambda root: Store(root).pin("models", KEY),
        "hold": lambda root: Store(root).hold("name").__enter__(),
    }
    for name, act in writing.items():
        yield {"operation": name, "failed": attempt(act, store)}
    with Store(store).open("models", KEY) or sys.exit("it does not open") as entry:
        yield {"operation": "read", "right": entry.read("inference.onnx", 10_000) == FILES["inference.onnx"]}
        listed = {info.key: (info.in_use, info.damage) for info in Store(store).entries()}
        yield {"operation": "list", "in use": listed[KEY][0], "damage": listed[OTHER_KEYS[0]][1]}
    yield {"operation": "publish what is there", "failed": attempt(publish_model, store)}
    yield {"operation": "open what is damaged", "none": Store(store).open("engines", OTHER_KEYS[0]) is None}
    yield {"operation": "tree", "there": Store(store).open_tree("plugins", TREE) is not None}
    yield {"operation": "read decision", "decision": Store(store).read_decision(KEY)}


def main(scenario: str, disk: Path) -> None:
    """Run one scenario."""
    trials = denied(disk) if scenario == "denied" else on_a_mount(scenario, disk)
    for trial in trials:
        print(json.dumps(trial), flush=True)


def on_a_mount(scenario: str, disk: Path) -> Iterator[dict[str, Any]]:
    """Mount the small disk and run one scenario on it."""
    options = {"full": f"size={SIZE_BYTES}", "inodes": f"nr_inodes={INODES}", "read-only": f"size={SIZE_BYTES}"}
    mount(disk, options[scenario])
    if scenario == "read-only":
        return read_only(disk)
    return starve(disk, leave_pages if scenario == "full" else leave_inodes)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
