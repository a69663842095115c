"""Whatever stops an operation, and at whatever step: nothing half-written is seen, and the next one succeeds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hpi_agent.store.directory import EntryInfo, Store, find_damage
from hpi_agent.store.publication import MAX_ABANDONED
from support import publishing
from support.publishing import (
    FILES,
    KEY,
    NEW_DECISION,
    OLD_DECISION,
    OTHER_KEYS,
    content_of,
    publish_tree,
    write_model,
)

OTHER_KEY: Final = "sha256:" + "cd" * 32

FEWEST_STEPS: Final = {"open": 5, "open a damaged one": 15, "pin": 6, "decide": 8, "decide again": 8}
"""Steps that an operation must have at least, else the hook is blind; 20 for all others."""


@pytest.fixture
def many(tmp_path: Path) -> Iterator[Path]:
    """A folder for hundreds of stores, in memory where there is such a place: there, flushing to the disk is free."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield Path(folder)


def interrupted_stores(action: str, operation: str, folder: Path) -> list[Path]:
    """Return one store per step of an operation, in each of which the operation was stopped at that step."""
    command = [sys.executable, publishing.__file__, "interrupt", action, operation, str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps >= FEWEST_STEPS.get(operation, 20)
    return [folder / str(step) for step in range(1, steps + 1)]


def start(action: str, root: Path, key: str = KEY) -> subprocess.Popen[str]:
    """Start another process that publishes or uses, and goes on when it gets a line."""
    command = [sys.executable, publishing.__file__, action, str(root), key]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_until(process: subprocess.Popen[str], *lines: str) -> None:
    """Read what a process says up to a line, which must be the last of those expected."""
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in lines] == [f"{line}\n" for line in lines]


def left_in_tmp(root: Path) -> list[Path]:
    return list((root / "tmp").iterdir()) if (root / "tmp").exists() else []


@pytest.mark.parametrize("operation", ["publish", "publish over a damaged one"])
@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_publication_that_stops_at_any_step_is_completed_by_the_next(action: str, operation: str, many: Path) -> None:
    stores = interrupted_stores(action, operation, many)

    published = [Store(root).publish("models", KEY, write_model) for root in stores]

    assert [find_damage(directory) for directory in published] == [None] * len(stores)
    assert all(content_of(directory) == FILES for directory in published)
    assert [left_in_tmp(root) for root in stores] == [[]] * len(stores)


@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_publication_that_stops_at_any_step_leaves_nothing_or_a_complete_directory(action: str, many: Path) -> None:
    stores = interrupted_stores(action, "publish", many)

    seen = [directory for root in stores for directory in root.glob("models/*")]

    assert seen
    assert len(seen) < len(stores)
    assert [find_damage(directory) for directory in seen] == [None] * len(seen)


@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_tree_whose_publication_stops_at_any_step_is_not_there_or_whole_and_the_next_one_succeeds(
    action: str, many: Path
) -> None:
    stores = interrupted_stores(action, "publish a tree", many)

    seen = [find_damage(tree) for root in stores for tree in root.glob("plugins/*")]
    after = [find_damage(publish_tree(root)) for root in stores]

    assert seen == [None] * len(seen)
    assert after == [None] * len(stores)
    assert [left_in_tmp(root) for root in stores] == [[]] * len(stores)


@pytest.mark.parametrize(("operation", "before"), [("decide", None), ("decide again", OLD_DECISION)])
@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_decision_whose_writing_stops_at_any_step_is_the_old_one_or_the_new_one(
    action: str, operation: str, before: dict[str, str] | None, many: Path
) -> None:
    stores = interrupted_stores(action, operation, many)

    seen = [Store(root).read_decision(KEY) for root in stores]
    for root in stores:
        Store(root).write_decision(KEY, NEW_DECISION)

    assert {str(decision) for decision in seen} == {str(before), str(NEW_DECISION)}
    assert [Store(root).read_decision(KEY) for root in stores] == [NEW_DECISION] * len(stores)
    assert not any((root / "quarantine").exists() for root in stores)


@pytest.mark.parametrize("action", ["kill", "fail"])
def test_an_opening_that_stops_at_any_step_leaves_an_entry_that_opens(action: str, many: Path) -> None:
    stores = interrupted_stores(action, "open", many)

    entries = [Store(root).open("models", KEY) for root in stores]

    assert all(entry is not None for entry in entries)
    assert [entry.read("inference.yml", 1000) for entry in entries if entry] == [FILES["inference.yml"]] * len(stores)


@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_damaged_entry_is_never_opened_wherever_its_removal_stopped(action: str, many: Path) -> None:
    stores = interrupted_stores(action, "open a damaged one", many)

    entries = [Store(root).open("models", KEY) for root in stores]
    published = [Store(root).publish("models", KEY, write_model) for root in stores]

    assert entries == [None] * len(stores)
    assert [find_damage(directory) for directory in published] == [None] * len(stores)
    assert [len(Store(root).quarantined()) for root in stores] == [1] * len(stores)


@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_collection_that_stops_at_any_step_leaves_whole_entries_and_is_completed_by_the_next(
    action: str, many: Path
) -> None:
    stores = interrupted_stores(action, "collect", many)

    seen = [find_damage(root / entry.kind / name) for root in stores for entry, name in named(root)]
    after = [Store(root).collect(0) for root in stores]

    assert seen == [None] * len(seen)
    assert [[kept.entry.key for kept in done.kept] for done in after] == [[OTHER_KEYS[0]]] * len(stores)
    assert [left_in_tmp(root) for root in stores] == [[]] * len(stores)


def named(root: Path) -> list[tuple[EntryInfo, str]]:
    return [(entry, entry.key.removeprefix("sha256:")) for entry in Store(root).entries()]


@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_pin_that_stops_at_any_step_can_be_set_again(action: str, many: Path) -> None:
    stores = interrupted_stores(action, "pin", many)

    for root in stores:
        Store(root).pin("models", KEY)

    assert [Store(root).collect(0).removed for root in stores] == [()] * len(stores)


def test_of_two_processes_that_publish_one_key_one_writes_and_both_get_the_directory(tmp_path: Path) -> None:
    first = start("publish", tmp_path)
    wait_until(first, "locking", "writing")
    second = start("publish", tmp_path)
    wait_until(second, "locking")

    said = [first.communicate("go\n", timeout=30)[0], second.communicate("go\n", timeout=30)[0]]

    directory = tmp_path / "models" / KEY.removeprefix("sha256:")
    assert said == [f"{directory}\n", f"{directory}\n"]
    assert content_of(directory) == FILES


def test_a_process_that_waits_for_a_writer_that_dies_writes_itself(tmp_path: Path) -> None:
    dying = start("publish", tmp_path)
    wait_until(dying, "locking", "writing")
    waiting = start("publish", tmp_path)
    wait_until(waiting, "locking")

    dying.kill()
    dying.communicate(timeout=30)
    said, _ = waiting.communicate("go\n", timeout=30)

    directory = tmp_path / "models" / KEY.removeprefix("sha256:")
    assert said == f"writing\n{directory}\n"
    assert content_of(directory) == FILES


def test_what_a_dead_writer_left_is_deleted_when_something_else_is_published(tmp_path: Path) -> None:
    dying = start("publish", tmp_path)
    wait_until(dying, "locking", "writing")
    dying.kill()
    dying.communicate(timeout=30)
    left = left_in_tmp(tmp_path)

    Store(tmp_path).publish("models", OTHER_KEY, write_model)

    assert len(left) == 1
    assert left_in_tmp(tmp_path) == []


@pytest.mark.parametrize("meanwhile", ["publish", "collect"])
def test_what_a_living_writer_writes_is_left_alone(meanwhile: str, tmp_path: Path) -> None:
    living = start("publish", tmp_path)
    wait_until(living, "locking", "writing")

    if meanwhile == "publish":
        Store(tmp_path).publish("models", OTHER_KEY, write_model)
    else:
        Store(tmp_path).collect(0)

    assert len(left_in_tmp(tmp_path)) == 1
    living.communicate("go\n", timeout=30)
    assert content_of(tmp_path / "models" / KEY.removeprefix("sha256:")) == FILES


def test_what_another_process_uses_is_not_collected_until_that_process_dies(tmp_path: Path) -> None:
    Store(tmp_path).publish("models", KEY, write_model)
    user = start("use", tmp_path)
    wait_until(user, "open")

    while_used = Store(tmp_path).collect(0)
    user.kill()
    user.communicate(timeout=30)
    afterwards = Store(tmp_path).collect(0)

    assert [(kept.entry.key, kept.reason) for kept in while_used.kept] == [(KEY, "in use")]
    assert [entry.key for entry in afterwards.removed] == [KEY]


def test_what_another_process_uses_is_read_whole_after_a_collection(tmp_path: Path) -> None:
    Store(tmp_path).publish("models", KEY, write_model)
    user = start("use", tmp_path)
    wait_until(user, "open")

    Store(tmp_path).collect(0)
    said, _ = user.communicate("go\n", timeout=30)

    assert said == f"{len(FILES['inference.onnx'])}\n"


@pytest.mark.parametrize(("abandoned", "left"), [(MAX_ABANDONED, 0), (MAX_ABANDONED + 1, 1)])
def test_one_publication_clears_up_a_bounded_number_of_directories(abandoned: int, left: int, tmp_path: Path) -> None:
    for number in range(abandoned):
        (tmp_path / "tmp" / f"models-{number}").mkdir(parents=True)

    Store(tmp_path).publish("models", KEY, write_model)

    assert len(left_in_tmp(tmp_path)) == left
