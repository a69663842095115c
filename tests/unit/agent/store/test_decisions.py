"""Remembered decisions: replaced whole, sealed, cheap to watch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hpi_agent.store.decisions import MAX_DECISION_BYTES
from hpi_agent.store.directory import Store
from hpi_core.errors import Bug, Refused, TooLarge
from support.publishing import KEY, NEW_DECISION, OLD_DECISION, OTHER_KEYS


def file_of(root: Path, key: str = KEY) -> Path:
    return root / "decisions" / f"{key.removeprefix('sha256:')}.json"


def flip_a_digit(path: Path) -> None:
    path.write_text(path.read_text().replace("faster faster", "faster fasten", 1))


def replace_by_a_link(path: Path) -> None:
    path.rename(path.parents[1] / "elsewhere")
    path.symlink_to(path.parents[1] / "elsewhere")


def replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed letter": (flip_a_digit, ".json has sha256:"),
    "a truncated file": (lambda path: os.truncate(path, 100), "cannot be read"),
    "an empty file": (lambda path: os.truncate(path, 0), "cannot be read"),
    "a list": (lambda path: path.write_text("[]"), "it holds list, not an object"),
    "too large a file": (lambda path: os.truncate(path, MAX_DECISION_BYTES + 1), "at most 4194304 are read"),
    "a file everybody can write": (lambda path: path.chmod(0o666), "can be written by everybody"),
    "a link": (replace_by_a_link, "is not a regular file"),
    "a directory": (replace_by_a_directory, "is not a regular file"),
    "not sealed": (lambda path: path.write_text('{"decision": {}}'), "it says None"),
}


def test_a_decision_is_read_as_it_was_written(tmp_path: Path) -> None:
    document = {"chosen": "öpenvino", "outcomes": [{"p50": 1, "difference": 1e-9, "none": None}]}

    Store(tmp_path).write_decision(KEY, document)

    assert Store(tmp_path).read_decision(KEY) == document
    assert set(json.loads(file_of(tmp_path).read_text())) == {"key", "decision", "digest"}


def test_the_later_decision_replaces_the_earlier(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_decision(KEY, OLD_DECISION)

    store.write_decision(KEY, NEW_DECISION)

    assert store.decisions() == [NEW_DECISION]


def test_a_decision_that_is_not_there_is_none_and_leaves_no_trace(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    assert (store.read_decision(KEY), store.decision_stamp(KEY), store.decisions()) == (None, None, [])

    assert not store.root.exists()


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_decision_goes_to_quarantine_and_the_next_one_is_kept(
    damage: Callable[[Path], object], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    store.write_decision(KEY, NEW_DECISION)
    damage(file_of(tmp_path))

    assert store.read_decision(KEY) is None
    store.write_decision(KEY, OLD_DECISION)

    assert reason in caplog.text
    assert reason in str(store.quarantined()[0].damage)
    assert store.read_decision(KEY) == OLD_DECISION


def test_two_decisions_that_were_exchanged_are_both_damaged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key in (KEY, OTHER_KEYS[0]):
        store.write_decision(key, {"for": key})
    file_of(tmp_path).rename(tmp_path / "third")
    file_of(tmp_path, OTHER_KEYS[0]).rename(file_of(tmp_path))
    (tmp_path / "third").rename(file_of(tmp_path, OTHER_KEYS[0]))

    assert store.decisions() == []

    assert len(store.quarantined()) == 2


def test_the_stamp_stays_until_the_decision_is_replaced(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_decision(KEY, OLD_DECISION)

    first, again = store.decision_stamp(KEY), store.decision_stamp(KEY)
    store.write_decision(KEY, OLD_DECISION)

    assert first == again
    assert first != store.decision_stamp(KEY)


def test_the_stamp_changes_even_if_the_clock_was_set_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_decision(KEY, OLD_DECISION)
    before = store.decision_stamp(KEY)
    assert before is not None

    store.write_decision(KEY, OLD_DECISION)
    os.utime(file_of(tmp_path), ns=(before[1], before[1]))

    assert store.decision_stamp(KEY) != before


@pytest.mark.parametrize("key", ["", "ab" * 32, "sha256:../../etc/passwd"])
def test_a_key_that_is_none_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="a key of the store is sha256: and 64 hexadecimal digits"):
        Store(tmp_path).read_decision(key)


def test_a_decision_that_is_not_json_is_a_bug_and_what_was_there_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_decision(KEY, OLD_DECISION)

    with pytest.raises(Bug, match="a decision must be JSON"):
        store.write_decision(KEY, {"time": float("nan")})

    assert store.read_decision(KEY) == OLD_DECISION


def test_a_decision_too_large_to_be_read_again_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match=r"has \d+ bytes, at most 4194304 can be kept"):
        Store(tmp_path).write_decision(KEY, {"text": "x" * MAX_DECISION_BYTES})
