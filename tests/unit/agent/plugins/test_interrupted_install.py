"""Installations that are killed, that meet one another, or that find the disk full: all of it or nothing is there."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from hpi_agent.plugins.environment import find_environment
from hpi_agent.store.directory import Store
from support.installing import last_event, start_installer, wait_for
from support.wheelhouse import PASSES, a_configs_folder, a_list, a_wheel, a_wheelhouse

MEGABYTE = 2**20


def a_variant(folder: Path, self_test: str = PASSES) -> tuple[Path, Path]:
    wheelhouse = a_wheelhouse(folder / "wheels")
    return a_configs_folder(folder / "configs", a_list(wheelhouse), self_test=self_test), wheelhouse


def waits_for(fifo: Path) -> str:
    """Return a self-test that passes once somebody writes to a named pipe."""
    os.mkfifo(fifo)
    return f"open({str(fifo)!r}).read()\n{PASSES}"


def test_an_installation_that_is_killed_leaves_nothing_and_the_next_one_succeeds(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    configs, wheelhouse = a_variant(tmp_path, waits_for(tmp_path / "fifo"))
    killed = start_installer(configs, wheelhouse, store.root)
    wait_for(killed, "testing")
    killed.kill()
    killed.communicate()
    seen = find_environment(store, "tiny", configs)

    (configs / "plugins" / "tiny_self_test.py").write_text(PASSES)
    said = last_event(start_installer(configs, wheelhouse, store.root))

    assert seen is None
    found = find_environment(store, "tiny", configs)
    assert found is not None
    assert said == {"event": "installed", "python": str(found.python)}
    assert list((store.root / "tmp").iterdir()) == []


def test_of_two_installations_at_once_one_works_and_the_other_waits_for_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    configs, wheelhouse = a_variant(tmp_path, waits_for(fifo))
    first = start_installer(configs, wheelhouse, tmp_path / "store")
    wait_for(first, "testing")
    second = start_installer(configs, wheelhouse, tmp_path / "store")
    events = wait_for(second, "waiting")

    fifo.write_text("go on")
    said = [last_event(first), last_event(second)]

    assert events == ["chosen", "waiting"]
    assert said[0] == said[1]
    assert said[0]["event"] == "installed"


@pytest.mark.parametrize(
    ("size", "step"),
    [("2m", "unpacking pip"), ("40m", "installing the packages")],
)
def test_a_disk_that_fills_up_is_told_with_what_to_do(size: str, step: str, tmp_path: Path) -> None:
    configs, wheelhouse = a_variant(tmp_path)
    noise = random.Random(20).randbytes(30 * MEGABYTE).hex()
    a_wheel(wheelhouse, "tinythree", "3.0", {"tinythree/weights.txt": noise})
    [locked] = (configs / "locks").glob("*.txt")
    locked.write_text(a_list(wheelhouse))
    disk = tmp_path / "disk"
    disk.mkdir()
    # A real small filesystem, in a namespace of its own that ends with the process.
    mounted = f'mount -t tmpfs -o size={size} tmpfs {disk} && "$@"'
    before = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]

    said = last_event(start_installer(configs, wheelhouse, disk / "store", before))

    assert (said["event"], said["kind"]) == ("failed", "Stop"), said
    assert said["text"].startswith(f"{step}: the disk of the store is full")
    assert said["text"].endswith("Nothing was installed")
