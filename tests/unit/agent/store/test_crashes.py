"""Whatever stops a publication, and at whatever step: nothing half-written is seen, and the next one succeeds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from hpi_agent.store.directory import MAX_ABANDONED, Store, find_damage
from support import publishing
from support.publishing import FILES, KEY, content_of, write_model

OTHER_KEY: Final = "sha256:" + "cd" * 32


def interrupted_stores(action: str, before: str, folder: Path) -> list[Path]:
    """Return one store per step of a publication, in each of which the publication was stopped at that step."""
    command = [sys.executable, publishing.__file__, "interrupt", action, before, str(folder)]
    steps = int(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)
    # Staging, two files in two halves, the manifest, flushes and the rename: fewer steps would mean a blind hook.
    assert steps >= 20
    return [folder / str(step) for step in range(1, steps + 1)]


def start_publisher(root: Path, key: str = KEY) -> subprocess.Popen[str]:
    """Start another process that publishes, and writes nothing before it gets a line."""
    command = [sys.executable, publishing.__file__, "publish", str(root), key]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_until(publisher: subprocess.Popen[str], *lines: str) -> None:
    """Read what a publisher says up to a line, which must be the last of those expected."""
    assert publisher.stdout is not None
    assert [publisher.stdout.readline() for _ in lines] == [f"{line}\n" for line in lines]


@pytest.mark.parametrize("before", ["fresh", "damaged"])
@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_publication_that_stops_at_any_step_is_completed_by_the_next(
    action: str, before: str, tmp_path: Path
) -> None:
    stores = interrupted_stores(action, before, tmp_path)

    published = [Store(root).publish("models", KEY, write_model) for root in stores]

    assert [find_damage(directory) for directory in published] == [None] * len(stores)
    assert all(content_of(directory) == FILES for directory in published)
    assert [list((root / "tmp").iterdir()) for root in stores if (root / "tmp").exists()] == [[]] * len(stores)


@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_publication_that_stops_at_any_step_leaves_nothing_or_a_complete_directory(
    action: str, tmp_path: Path
) -> None:
    stores = interrupted_stores(action, "fresh", tmp_path)

    seen = [directory for root in stores for directory in root.glob("models/*")]

    assert seen
    assert len(seen) < len(stores)
    assert [find_damage(directory) for directory in seen] == [None] * len(seen)


def test_of_two_processes_that_publish_one_key_one_writes_and_both_get_the_directory(tmp_path: Path) -> None:
    first = start_publisher(tmp_path)
    wait_until(first, "locking", "writing")
    second = start_publisher(tmp_path)
    wait_until(second, "locking")

    said = [first.communicate("go\n", timeout=30)[0], second.communicate("go\n", timeout=30)[0]]

    directory = tmp_path / "models" / KEY.removeprefix("sha256:")
    assert said == [f"{directory}\n", f"{directory}\n"]
    assert content_of(directory) == FILES


def test_a_process_that_waits_for_a_writer_that_dies_writes_itself(tmp_path: Path) -> None:
    dying = start_publisher(tmp_path)
    wait_until(dying, "locking", "writing")
    waiting = start_publisher(tmp_path)
    wait_until(waiting, "locking")

    dying.kill()
    dying.communicate(timeout=30)
    said, _ = waiting.communicate("go\n", timeout=30)

    directory = tmp_path / "models" / KEY.removeprefix("sha256:")
    assert said == f"writing\n{directory}\n"
    assert content_of(directory) == FILES


def test_what_a_dead_writer_left_is_deleted_when_something_else_is_published(tmp_path: Path) -> None:
    dying = start_publisher(tmp_path)
    wait_until(dying, "locking", "writing")
    dying.kill()
    dying.communicate(timeout=30)
    left = list((tmp_path / "tmp").iterdir())

    Store(tmp_path).publish("models", OTHER_KEY, write_model)

    assert len(left) == 1
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_a_living_writer_writes_is_left_alone_when_something_else_is_published(tmp_path: Path) -> None:
    living = start_publisher(tmp_path)
    wait_until(living, "locking", "writing")

    Store(tmp_path).publish("models", OTHER_KEY, write_model)

    assert len(list((tmp_path / "tmp").iterdir())) == 1
    living.communicate("go\n", timeout=30)
    assert content_of(tmp_path / "models" / KEY.removeprefix("sha256:")) == FILES


@pytest.mark.parametrize(("abandoned", "left"), [(MAX_ABANDONED, 0), (MAX_ABANDONED + 1, 1)])
def test_one_publication_clears_up_a_bounded_number_of_directories(abandoned: int, left: int, tmp_path: Path) -> None:
    for number in range(abandoned):
        (tmp_path / "tmp" / f"models-{number}").mkdir(parents=True)

    Store(tmp_path).publish("models", KEY, write_model)

    assert len(list((tmp_path / "tmp").iterdir())) == left
