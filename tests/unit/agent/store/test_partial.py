"""What is being fetched: kept for the next process, removed when it is of no use to anybody."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hpi_agent.store.directory import Store
from hpi_agent.store.partial import HOLD, KEPT_SECONDS, list_partials, partial_directory, remove_partials, short
from hpi_core.digest import digest_of_json
from support.publishing import publish_model

SOURCE, OTHER_SOURCE = digest_of_json("a source"), digest_of_json("another source")
OLD, NEW = digest_of_json("as it was"), digest_of_json("as it is")


def a_partial(root: Path, source: str = SOURCE, identity: str | None = OLD, *, age_seconds: float = 0.0) -> Path:
    directory = partial_directory(root, source, identity)
    (directory / "inference.onnx.part").write_bytes(bytes(1_000))
    for path in (directory / "inference.onnx.part", directory):
        os.utime(path, (time.time() - age_seconds,) * 2)
    return directory


def test_the_same_version_of_a_source_is_found_again_with_what_came(tmp_path: Path) -> None:
    directory = a_partial(tmp_path)

    assert partial_directory(tmp_path, SOURCE, OLD) == directory
    assert (directory / "inference.onnx.part").stat().st_size == 1_000


def test_another_version_of_a_source_begins_empty_and_takes_the_old_ones_room(tmp_path: Path) -> None:
    old = a_partial(tmp_path)

    new = partial_directory(tmp_path, SOURCE, NEW)

    assert (old.exists(), list(new.iterdir())) == (False, [])


def test_what_nobody_can_tell_apart_begins_empty_each_time(tmp_path: Path) -> None:
    directory = a_partial(tmp_path, identity=None)

    assert partial_directory(tmp_path, SOURCE, None) == directory
    assert list(directory.iterdir()) == []


def test_another_source_is_left_alone(tmp_path: Path) -> None:
    other = a_partial(tmp_path, OTHER_SOURCE)

    partial_directory(tmp_path, SOURCE, NEW)

    assert (other / "inference.onnx.part").exists()


def test_a_publication_leaves_what_is_being_fetched_alone(tmp_path: Path) -> None:
    directory = a_partial(tmp_path)
    (tmp_path / "tmp" / "models-abandoned").mkdir()

    publish_model(tmp_path)

    assert [path.name for path in (tmp_path / "tmp").iterdir()] == [directory.name]
    assert (directory / "inference.onnx.part").exists()


def test_whoever_makes_room_removes_what_was_half_fetched(tmp_path: Path) -> None:
    a_partial(tmp_path)

    Store(tmp_path).collect(10**9)

    assert list(list_partials(tmp_path)) == []


def test_a_dry_run_removes_nothing(tmp_path: Path) -> None:
    directory = a_partial(tmp_path)

    Store(tmp_path).collect(0, dry_run=True)

    assert directory.exists()


def test_what_somebody_fetches_now_is_not_removed(tmp_path: Path) -> None:
    directory = a_partial(tmp_path)
    other = a_partial(tmp_path, OTHER_SOURCE)

    with Store(tmp_path).hold(HOLD + short(SOURCE)):
        removed = remove_partials(tmp_path)

    assert (directory.exists(), other.exists(), removed) == (True, False, 1_000)


@pytest.mark.parametrize(("age", "is_kept"), [(KEPT_SECONDS - 60, True), (KEPT_SECONDS + 60, False)])
def test_what_nobody_goes_on_with_is_kept_for_a_week(age: float, is_kept: bool, tmp_path: Path) -> None:
    directory = a_partial(tmp_path, age_seconds=age)

    remove_partials(tmp_path, older_than_seconds=KEPT_SECONDS)

    assert directory.exists() == is_kept


def test_a_store_that_is_not_there_has_nothing_to_remove(tmp_path: Path) -> None:
    assert remove_partials(tmp_path / "nowhere") == 0
