"""`hpi-agent store`: what people and programs are told, and the exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.__main__ import main
from hpi_agent.commands.store import find_entry, short_keys, what_it_is
from hpi_agent.store.collection_plan import EntryInfo
from hpi_agent.store.directory import Store
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused
from support.publishing import KEY, OLD_DECISION, TREE, publish_tree, write_model

A, B = digest_of_json("a"), digest_of_json("b")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with two engines, a tree and a decision; the second engine was used last."""
    store = Store(tmp_path / "store")
    publish_tree(store.root)
    store.publish("engines", A, write_model, about={"model": "det", "engine": "onnxruntime", "key": {"digest": KEY}})
    store.publish("engines", B, write_model, about={"model": "det", "engine": "openvino"})
    store.write_decision(KEY, OLD_DECISION)
    return store


class Said:
    """What the command answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.lines = out.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(store: Store, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command on the store."""

    def run(action: str, *arguments: str) -> Said:
        code = main(["store", action, *arguments, "--store", str(store.root)])
        return Said(code, *capsys.readouterr())

    return run


def truncate(store: Store, key: str) -> None:
    os.truncate(store.root / "engines" / key[7:] / "inference.onnx", 10)


def test_a_list_shows_every_entry_in_one_line_and_the_sum(run: Any, store: Store) -> None:
    store.pin("engines", A)

    with store.open("engines", A) or pytest.fail("it is there"):
        said = run("ls")

    assert said.lines[0] == f"{store.root}: 3 entries, 1 decision, 13.4 KiB of 20.0 GiB"
    assert said.lines[1].split() == ["KIND", "KEY", "WHAT", "SIZE", "USE", "RANK", "STATE"]
    assert said.lines[2].split() == [
        "engines",
        A[7:19],
        "det,",
        "onnxruntime",
        "4.0",
        "KiB",
        "1",
        "pinned,",
        "in",
        "use",
    ]
    assert said.lines[3].split() == ["engines", B[7:19], "det,", "openvino", "4.0", "KiB", "2", "-"]
    assert said.lines[4].split()[:3] == ["plugins", TREE, "paddle2onnx"]
    assert (len(said.lines), said.code) == (5, 0)


def test_a_list_for_programs_says_the_same(run: Any, store: Store) -> None:
    said = run("ls", "-o", "json").json

    assert (said["store"], said["decisions"], said["quarantine"]) == (str(store.root), 1, [])
    assert [entry["key"] for entry in said["entries"]] == [B, A, TREE]
    assert said["entries"][0] == {
        "kind": "engines",
        "key": B,
        "bytes": 4110,
        "lastUse": 1,
        "pinned": False,
        "inUse": False,
        "about": {"model": "det", "engine": "openvino"},
        "damage": None,
    }


def test_a_store_that_is_not_there_is_empty_and_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("ls", "verify", "gc"):
        assert main(["store", action, "--store", str(tmp_path / "none")]) == 0

    assert not (tmp_path / "none").exists()
    assert capsys.readouterr().out.splitlines()[0] == f"{tmp_path}/none: 0 entries, 0 decisions, 0 B of 20.0 GiB"


def test_a_list_changes_nothing_even_if_something_is_damaged(run: Any, store: Store) -> None:
    truncate(store, A)
    (store.root / "decisions" / f"{KEY[7:]}.json").write_text("damaged")
    before = sorted(store.root.rglob("*"))

    said = run("ls")

    assert sorted(store.root.rglob("*")) == before
    assert said.lines[-1] == f"engines {A[7:19]} is damaged: inference.onnx has 10 bytes, the manifest says 4000"


def test_verification_of_a_sound_store_ends_with_0(run: Any, store: Store) -> None:
    before = [(entry.key, entry.last_use) for entry in store.entries()]

    said = run("verify")

    assert (said.code, said.lines) == (0, [f"{store.root}: 3 entries and 1 decision read, none damaged"])
    assert [(entry.key, entry.last_use) for entry in store.entries()] == before


def test_verification_of_a_damaged_store_ends_with_1_and_says_what_went_where(run: Any, store: Store) -> None:
    (store.root / "plugins" / TREE / "lib" / "package" / "module.py").write_text("VALUE = 3\n")
    (store.root / "decisions" / f"{KEY[7:]}.json").write_text("damaged")
    truncate(store, A)

    said = run("verify")

    assert said.code == 1
    assert said.lines[0] == f"{store.root}: 3 entries and 1 decision read, 3 damaged"
    assert said.lines[1].startswith(
        f"  engines {A[:19]}... in {store.root} is damaged: inference.onnx has 10 bytes, the "
    )
    assert f"; it lies in {store.root}/quarantine/00000001-engines-" in said.lines[1]
    assert said.lines[2].startswith(f"  plugins {TREE} in {store.root} is damaged: lib/package/module.py has 10 bytes")
    assert said.lines[3] == f"  decisions {KEY[:19]}... is damaged; it lies in quarantine"
    assert len(store.quarantined()) == 3
    assert run("verify").code == 0


def test_verification_of_one_key_reads_that_alone(run: Any, store: Store) -> None:
    truncate(store, A)

    said = run("verify", B[7:13], "-o", "json")

    assert (said.code, said.json) == (0, {"store": str(store.root), "verified": 1, "damaged": []})


def test_a_dry_run_names_what_would_go_and_removes_nothing(run: Any, store: Store) -> None:
    said = run("gc", "--max-bytes", "5kB", "--dry-run")

    assert said.lines[0] == f"{store.root}: would remove 2, 13.4 KiB before, 4.0 KiB after, 4.9 KiB allowed"
    assert [line.split()[:2] for line in said.lines[2:]] == [["plugins", TREE], ["engines", A[7:19]]]
    assert len(store.entries()) == 3


def test_a_collection_names_what_went_and_what_has_to_stay(run: Any, store: Store) -> None:
    store.pin("engines", A)

    said = run("gc", "--max-bytes", "0")

    assert said.lines[0] == f"{store.root}: removed 2, 13.4 KiB before, 4.0 KiB after, 0 B allowed"
    assert said.lines[-2:] == [
        "The store stays larger than it may be, because these have to stay:",
        f"  engines {A[7:19]}: pinned, 4.0 KiB",
    ]
    assert [entry.key for entry in store.entries()] == [A]


def test_a_collection_without_a_size_takes_the_limit_of_the_environment(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPI_STORE_MAX_BYTES", "5kB")

    said = run("gc", "-o", "json").json

    assert (said["maxBytes"], [entry["key"] for entry in said["removed"]]) == (5000, [TREE, A])
    assert [(entry["key"], entry["reason"]) for entry in said["kept"]] == [(B, "fits")]


def test_a_collection_shows_quarantine_first(run: Any, store: Store) -> None:
    truncate(store, A)
    store.open("engines", A)
    listed = run("ls")

    said = run("gc", "--max-bytes", "10kB")

    assert listed.lines[-3] == "In quarantine, 1 thing found damaged; gc removes these first:"
    assert listed.lines[-1].endswith("inference.onnx has 10 bytes, the manifest says 4000")
    assert said.lines[2].startswith("quarantine  00000001-engines-")


def test_pins_are_set_and_taken_away_by_the_beginning_of_a_key(run: Any, store: Store) -> None:
    pinned = run("pin", A[7:12], "paddle2onnx")
    states = {entry.key: entry.pinned for entry in store.entries()}
    unpinned = run("unpin", A, "-o", "json").json

    assert pinned.lines == [
        f"engines {A[7:19]} stays until it is unpinned",
        f"plugins {TREE} stays until it is unpinned",
    ]
    assert states == {A: True, B: False, TREE: True}
    assert unpinned == {"store": str(store.root), "pinned": False, "entries": [{"kind": "engines", "key": A}]}


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("ffff0000", "no key in the store begins with 'ffff0000'; hpi-agent store ls lists them"),
        ("", "at least 4 characters of a key are needed, got ''"),
        ("sha256:abc", "at least 4 characters of a key are needed, got 'sha256:abc'"),
    ],
)
def test_a_key_that_names_nothing_ends_with_2(written: str, says: str, run: Any) -> None:
    said = run("pin", written)

    assert (said.code, said.err) == (2, f"hpi-agent store: {says}\n")


def an_entry(digits: str, kind: str = "engines") -> EntryInfo:
    return EntryInfo(kind, f"sha256:{digits:0<64}", 0, 1, False, False, {}, None)


def test_an_ambiguous_beginning_is_refused_with_the_keys_it_may_mean() -> None:
    entries = [an_entry(f"abcd{digit}") for digit in "12345"]

    with pytest.raises(Refused, match=r"^5 keys begin with 'abcd': engines abcd10+, .*, \.\.\.; write more of it$"):
        find_entry("abcd", entries)

    assert find_entry("abcd3", entries) == entries[2]


def test_a_whole_name_wins_over_longer_ones_that_begin_with_it() -> None:
    names = ["paddle2onnx-1", "paddle2onnx-12"]
    entries = [EntryInfo("plugins", name, 0, 1, False, False, {}, None) for name in names]

    assert find_entry("paddle2onnx-1", entries) == entries[0]


@pytest.mark.parametrize(
    ("digits", "length"),
    [(("a", "b"), 12), (("0" * 12 + "a", "0" * 12 + "b"), 13), (("0" * 63 + "a", "0" * 63 + "b"), 64), ((), 12)],
)
def test_short_keys_are_as_long_as_they_must_be_to_differ(digits: tuple[str, ...], length: int) -> None:
    entries = [an_entry(each) for each in digits]

    short = short_keys(entries)

    assert {len(key) for key in short.values()} <= {length}
    assert len(set(short.values())) == len(entries)


def test_the_same_key_in_two_kinds_stays_short() -> None:
    entries = [an_entry("ab"), an_entry("ab", "models")]

    assert set(short_keys(entries).values()) == {"ab0000000000"}


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ({"model": "det", "engine": "openvino", "key": {"a": 1}}, "det, openvino"),
        ({"lock": KEY, "variant": "paddle2onnx", "versions": ["1"]}, "paddle2onnx"),
        ({"opset": 17}, "17"),
        ({}, "-"),
    ],
)
def test_an_entry_is_described_by_its_own_plain_words(about: dict[str, Any], text: str) -> None:
    assert what_it_is(about) == text
