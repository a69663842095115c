"""What each source gave: remembered newest first, bounded, sealed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpi_agent.store.directory import Store
from hpi_agent.store.source_records import FOLDER, MAX_SEEN, Seen, read_seen, write_seen
from hpi_core.digest import digest_of_json
from hpi_core.errors import Stop

SOURCE = digest_of_json("a source")


def a_version(number: int) -> Seen:
    return Seen(digest_of_json(number), digest_of_json([number]), digest_of_json({"number": number}))


def test_versions_are_told_the_newest_first(tmp_path: Path) -> None:
    for number in (1, 2, 1):
        write_seen(tmp_path, SOURCE, "https://models.example/…", a_version(number))

    assert read_seen(tmp_path, SOURCE) == (a_version(1), a_version(2))


def test_a_source_that_was_never_read_gave_nothing(tmp_path: Path) -> None:
    assert read_seen(tmp_path, SOURCE) == ()


def test_only_some_versions_are_remembered(tmp_path: Path) -> None:
    for number in range(MAX_SEEN + 1):
        write_seen(tmp_path, SOURCE, "https://models.example/…", a_version(number))

    seen = read_seen(tmp_path, SOURCE)

    assert len(seen) == MAX_SEEN
    assert a_version(0) not in seen


def test_a_record_that_was_changed_is_not_believed(tmp_path: Path) -> None:
    write_seen(tmp_path, SOURCE, "https://models.example/…", a_version(1))
    [path] = (tmp_path / FOLDER).iterdir()
    path.write_text(path.read_text().replace(a_version(1).entry, a_version(2).entry))

    assert read_seen(tmp_path, SOURCE) == ()
    assert not path.exists()


def test_records_are_no_decisions(tmp_path: Path) -> None:
    write_seen(tmp_path, SOURCE, "https://models.example/…", a_version(1))

    assert Store(tmp_path).decisions() == []
    assert Store(tmp_path).read_decision(SOURCE) is None


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file in the folder's place")

    with pytest.raises(Stop, match=f"the store {tmp_path} cannot be used"):
        write_seen(tmp_path, SOURCE, "https://models.example/…", a_version(1))
