"""Listing a store and making it smaller: order of use, pins, uses, locks, and the limit after a publication."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

import pytest

from hpi_agent.store.directory import Store
from hpi_agent.store.locks import locked
from hpi_agent.store.quarantine import MAX_QUARANTINED
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused, Retry
from support.publishing import FILES, KEY, TREE, damage_model, publish_tree, write_model

A, B, C, D = (digest_of_json(letter) for letter in "abcd")
SIZE: Final = sum(len(content) for content in FILES.values())
"""Bytes of one entry."""


def filled(root: Path, *keys: str) -> Store:
    """Return a store with entries, published in this order."""
    store = Store(root)
    for key in keys:
        store.publish("engines", key, write_model)
    return store


def use(store: Store, key: str) -> None:
    entry = store.open("engines", key)
    assert entry is not None
    entry.close()


def ranks(store: Store) -> dict[str, int]:
    return {entry.key: entry.last_use for entry in store.entries()}


def test_entries_are_listed_with_what_is_known_of_them_the_one_used_last_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.publish("engines", A, write_model, about={"model": "det"})
    publish_tree(tmp_path)
    store.pin("engines", A)

    with store.open("engines", A) or pytest.fail("it is there"):
        first, second = store.entries()

    assert (first.kind, first.key, first.bytes, first.last_use) == ("engines", A, SIZE, 1)
    assert (first.pinned, first.in_use, first.about, first.damage) == (True, True, {"model": "det"}, None)
    assert (second.kind, second.key, second.last_use, second.in_use) == ("plugins", TREE, 2, False)


def test_opening_and_publishing_again_count_as_uses_and_verification_does_not(tmp_path: Path) -> None:
    store = filled(tmp_path, A, B, C)

    use(store, B)
    store.publish("engines", A, write_model)
    store.verify("engines", C)

    assert ranks(store) == {A: 1, B: 2, C: 3}


@pytest.mark.parametrize("days", [-365, 0, 365])
def test_the_order_of_use_does_not_follow_the_clock(days: int, tmp_path: Path) -> None:
    store = filled(tmp_path, A, B, C)
    for path in (path for path in tmp_path.rglob("*") if B[7:] in str(path)):
        # As if the clock had been set when this entry was used.
        os.utime(path, (1.7e9 + days * 86_400, 1.7e9 + days * 86_400))

    use(store, A)
    removed = store.collect(SIZE).removed

    assert [entry.key for entry in removed] == [B, C]


def test_an_entry_whose_number_was_lost_counts_as_used_long_ago(tmp_path: Path) -> None:
    store = filled(tmp_path, A, B)

    os.truncate(tmp_path / "uses" / f"engines-{B[7:]}", 0)

    assert ranks(store) == {A: 1, B: 2}


def test_what_was_used_longest_ago_goes_until_the_store_fits(tmp_path: Path) -> None:
    store = filled(tmp_path, A, B, C, D)

    done = store.collect(2 * SIZE)

    assert [entry.key for entry in done.removed] == [A, B]
    assert [(kept.entry.key, kept.reason) for kept in done.kept] == [(C, "fits"), (D, "fits")]
    assert (done.bytes_before, done.bytes_after) == (4 * SIZE, 2 * SIZE)
    assert sorted(path.name for path in (tmp_path / "engines").iterdir()) == sorted([C[7:], D[7:]])


def test_a_dry_run_tells_the_same_and_changes_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path, A, B)
    before = sorted(tmp_path.rglob("*"))

    told = store.collect(0, dry_run=True)

    assert sorted(tmp_path.rglob("*")) == before
    assert told.removed == store.collect(0).removed


def test_a_removed_entry_leaves_nothing_behind(tmp_path: Path) -> None:
    store = filled(tmp_path, A)

    store.collect(0)

    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_what_is_pinned_or_in_use_or_being_written_stays_and_says_why(tmp_path: Path) -> None:
    store = filled(tmp_path, A, B, C, D)
    store.pin("engines", A)
    entry = store.open("engines", B)
    assert entry is not None

    with entry, locked(tmp_path / "locks" / f"engines-{C[7:]}"):
        done = store.collect(0)

    assert {kept.entry.key: kept.reason for kept in done.kept} == {A: "pinned", B: "in use", C: "being written"}
    assert [gone.key for gone in done.removed] == [D]
    assert done.bytes_after == 3 * SIZE


def test_what_had_to_stay_goes_when_it_may(tmp_path: Path) -> None:
    store = filled(tmp_path, A, B)
    store.pin("engines", A)
    entry = store.open("engines", B)
    assert entry is not None
    store.collect(0)

    store.unpin("engines", A)
    entry.close()

    assert [gone.key for gone in store.collect(0).removed] == [A, B]


def test_quarantine_counts_and_goes_before_any_sound_entry(tmp_path: Path) -> None:
    damage_model(tmp_path)
    store = filled(tmp_path, A)
    store.open("models", KEY)

    done = store.collect(SIZE)

    assert [gone.kind for gone in done.removed] == ["quarantine"]
    assert done.bytes_before > 2 * SIZE - len(FILES["inference.onnx"])
    assert list((tmp_path / "quarantine").iterdir()) == []


def test_quarantine_keeps_a_bounded_number_the_newest(tmp_path: Path) -> None:
    for number in range(MAX_QUARANTINED + 2):
        damage_model(tmp_path)
        (tmp_path / "models" / KEY[7:] / f"extra{number}").touch()
        assert Store(tmp_path).open("models", KEY) is None

    kept = Store(tmp_path).quarantined()

    assert len(kept) == MAX_QUARANTINED
    assert [f"extra{number}" in str(entry.damage) for number, entry in zip((9, 8, 7, 6, 5, 4, 3, 2), kept, strict=True)]
    assert len(list((tmp_path / "quarantine").iterdir())) == 2 * MAX_QUARANTINED


def test_a_damaged_entry_is_listed_with_its_damage_and_goes_before_a_sound_one(tmp_path: Path) -> None:
    store = filled(tmp_path, A, B)
    os.truncate(tmp_path / "engines" / B[7:] / "inference.onnx", 10)

    listed = {entry.key: entry.damage for entry in store.entries()}
    removed = store.collect(SIZE).removed

    assert listed == {A: None, B: "inference.onnx has 10 bytes, the manifest says 4000"}
    assert [entry.key for entry in removed] == [B]


def test_a_publication_makes_the_store_fit_its_limit_and_never_removes_what_it_published(tmp_path: Path) -> None:
    store = Store(tmp_path, max_bytes=2 * SIZE)

    for key in (A, B, C):
        store.publish("engines", key, write_model)
    small = Store(tmp_path, max_bytes=0)
    small.publish("engines", D, write_model)

    assert ranks(store) == {D: 1}


def test_a_publication_that_cannot_make_the_store_fit_succeeds_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path, max_bytes=SIZE - 1)

    with caplog.at_level(logging.WARNING):
        store.publish("engines", A, write_model)

    assert caplog.messages == [
        f"the store {tmp_path} has {SIZE} bytes, {SIZE - 1} are allowed ($HPI_STORE_MAX_BYTES); "
        "the rest is in use or pinned"
    ]


def test_a_store_without_a_limit_keeps_everything(tmp_path: Path) -> None:
    store = filled(tmp_path, A, B, C, D)

    assert len(store.entries()) == 4


def test_only_what_is_there_can_be_pinned(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"there is no engines sha256:.*; hpi-agent store ls lists what there is"):
        Store(tmp_path).pin("engines", A)


def test_a_pin_outlives_the_damage_of_its_entry(tmp_path: Path) -> None:
    store = filled(tmp_path, A)
    store.pin("engines", A)
    os.truncate(tmp_path / "engines" / A[7:] / "inference.onnx", 10)
    store.open("engines", A)

    filled(tmp_path, A)

    assert store.entries()[0].pinned


def test_a_collection_forgets_the_uses_of_entries_that_are_gone(tmp_path: Path) -> None:
    store = filled(tmp_path, A, B)
    os.truncate(tmp_path / "engines" / A[7:] / "inference.onnx", 10)
    store.open("engines", A)

    store.collect(10 * SIZE)

    assert [path.name for path in (tmp_path / "uses").iterdir()] == [f"engines-{B[7:]}"]


def test_what_has_no_name_of_an_entry_is_neither_listed_nor_removed(tmp_path: Path) -> None:
    store = filled(tmp_path, A)
    for name in ("engines/notes.txt", "paddlex", "engines/" + "AB" * 32):
        (tmp_path / name).write_text("mine")

    done = store.collect(0)

    assert [entry.key for entry in done.removed] == [A]
    assert (tmp_path / "engines" / "notes.txt").exists()
    assert (tmp_path / "paddlex").exists()


def test_a_name_is_held_by_one_and_another_is_told_to_wait(tmp_path: Path) -> None:
    store = Store(tmp_path)

    waiting = pytest.raises(Retry, match=r"another process holds 'install-paddle2onnx' in the store .*; wait until")
    with store.hold("install-paddle2onnx"), store.hold("other", wait=False), waiting:
        store.hold("install-paddle2onnx", wait=False).__enter__()

    with store.hold("install-paddle2onnx", wait=False):
        assert list((tmp_path / "locks").iterdir()) == [tmp_path / "locks" / "hold.install-paddle2onnx"]
    assert list((tmp_path / "locks").iterdir()) == []


def test_an_error_of_the_holder_is_not_taken_for_one_of_the_store(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), Store(tmp_path).hold("name"):
        (tmp_path / "nothing").read_text()


def test_whoever_holds_a_name_may_publish_an_entry_of_that_name(tmp_path: Path) -> None:
    store = Store(tmp_path)

    with store.hold(f"engines-{A[7:]}"):
        store.publish("engines", A, write_model)

    assert list(ranks(store)) == [A]
