"""Entries in use: what is checked, what is read, and what happens to an entry that is not what was published."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
from pathlib import Path

import pytest

from hpi_agent.store.directory import MANIFEST, Damaged, Entry, Store, find_damage
from hpi_agent.store.sealed_json import sealed_json
from hpi_core.errors import Bug, Refused, Stop, TooLarge
from support.publishing import FILES, KEY, OTHER_KEYS, TREE, publish_model, write_model


def opened(root: Path) -> Entry:
    """Return the entry `KEY` in use."""
    entry = Store(root).open("models", KEY)
    assert entry is not None
    return entry


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_an_open_entry_gives_its_files_and_what_was_said_about_it(tmp_path: Path) -> None:
    about = {"model": "det", "shapes": [[1, 3, 640, 640]], "nothing": None}
    Store(tmp_path).publish("models", KEY, write_model, about=about)

    with opened(tmp_path) as entry:
        read = {name: entry.read(name, 10_000) for name in FILES}

    assert read == FILES
    assert entry.about == about
    assert entry.directory == tmp_path / "models" / KEY.removeprefix("sha256:")


def test_what_is_not_there_is_none_and_leaves_no_trace(tmp_path: Path) -> None:
    assert Store(tmp_path / "store").open("models", KEY) is None

    assert not (tmp_path / "store").exists()


def test_a_file_that_the_entry_does_not_have_is_refused(tmp_path: Path) -> None:
    publish_model(tmp_path)

    with opened(tmp_path) as entry, pytest.raises(Refused, match=r"has no file '\.\./x', it has \['inference\.onnx', "):
        entry.read("../x", 10_000)


@pytest.mark.parametrize(("max_bytes", "fits"), [(4000, True), (3999, False)])
def test_a_file_is_read_up_to_the_stated_size(max_bytes: int, fits: bool, tmp_path: Path) -> None:
    publish_model(tmp_path)

    with opened(tmp_path) as entry:
        if fits:
            assert entry.read("inference.onnx", max_bytes) == FILES["inference.onnx"]
        else:
            with pytest.raises(TooLarge, match=r"inference\.onnx has 4000 bytes, at most 3999 are read here"):
                entry.read("inference.onnx", max_bytes)


def test_a_flipped_bit_is_found_on_the_bytes_that_are_read_and_the_entry_goes_to_quarantine(tmp_path: Path) -> None:
    directory = publish_model(tmp_path)
    flip_a_bit(directory / "inference.onnx")

    with opened(tmp_path) as entry, pytest.raises(Damaged, match=r"inference\.onnx has sha256:.*; it lies in .* now"):
        entry.read("inference.onnx", 10_000)

    assert Store(tmp_path).open("models", KEY) is None
    [kept] = Store(tmp_path).quarantined()
    assert str(kept.damage).startswith("inference.onnx has sha256:")


def test_damage_after_the_opening_is_found_too(tmp_path: Path) -> None:
    directory = publish_model(tmp_path)
    entry = opened(tmp_path)

    os.truncate(directory / "inference.onnx", 4001)

    with entry, pytest.raises(Damaged, match=r"inference\.onnx has 4001 bytes, the manifest says 4000"):
        entry.read("inference.onnx", 10_000)


def test_a_damaged_entry_is_none_and_the_log_says_what_was_seen_and_where_it_lies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = publish_model(tmp_path)
    os.truncate(directory / "inference.onnx", 3999)

    with caplog.at_level(logging.WARNING):
        entry = Store(tmp_path).open("models", KEY)

    assert entry is None
    [kept] = Store(tmp_path).quarantined()
    assert caplog.messages == [
        f"models {KEY} in {tmp_path} is damaged: inference.onnx has 3999 bytes, the manifest says 4000; "
        f"it lies in {tmp_path / 'quarantine' / kept.key} now"
    ]
    assert (tmp_path / "quarantine" / f"{kept.key}.reason").read_text() == f"{kept.damage}\n"


def test_two_entries_that_were_exchanged_are_both_damaged(tmp_path: Path) -> None:
    first = publish_model(tmp_path)
    second = Store(tmp_path).publish("models", OTHER_KEYS[0], write_model)
    first.rename(tmp_path / "third")
    second.rename(first)
    (tmp_path / "third").rename(second)

    entries = [Store(tmp_path).open("models", key) for key in (KEY, OTHER_KEYS[0])]

    assert entries == [None, None]
    assert len(Store(tmp_path).quarantined()) == 2


def test_a_file_that_was_given_away_is_damage(tmp_path: Path) -> None:
    directory = publish_model(tmp_path)
    if os.geteuid() == 0:
        os.chown(directory / "inference.onnx", 12345, -1)
        damage = find_damage(directory)
    else:
        # Only root can give a file away; to anybody else another trusted user stands for it.
        damage = find_damage(directory, owners=frozenset({12345}))

    assert damage is not None
    assert "belongs to user" in damage
    if os.geteuid() == 0:
        assert Store(tmp_path).open("models", KEY) is None


def test_a_process_without_free_descriptors_takes_nothing_for_damaged(tmp_path: Path) -> None:
    publish_model(tmp_path)
    entry = opened(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.open("/dev/null", os.O_RDONLY)
    os.close(highest)

    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, limits[1]))
    try:
        with pytest.raises(Stop, match=r"Too many open files.*raise the limit on open files") as reading:
            entry.read("inference.onnx", 10_000)
        with pytest.raises(Stop, match="Too many open files"):
            Store(tmp_path).open("models", KEY)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert not isinstance(reading.value, Damaged)
    assert entry.read("inference.onnx", 10_000) == FILES["inference.onnx"]
    entry.close()


def test_a_store_deleted_while_an_entry_is_open_is_said_and_the_next_publication_makes_it_anew(tmp_path: Path) -> None:
    publish_model(tmp_path / "store")
    entry = opened(tmp_path / "store")
    entry.read("inference.yml", 10_000)

    shutil.rmtree(tmp_path / "store")

    with pytest.raises(Damaged, match=r"inference\.yml is missing; it has been removed meanwhile"):
        entry.read("inference.yml", 10_000)
    entry.close()
    assert Store(tmp_path / "store").open("models", KEY) is None
    assert find_damage(publish_model(tmp_path / "store")) is None


def test_what_is_put_in_the_place_of_an_open_entry_is_neither_read_nor_removed(tmp_path: Path) -> None:
    directory = publish_model(tmp_path)
    entry = opened(tmp_path)
    shutil.rmtree(directory)
    publish_model(tmp_path)

    with entry, pytest.raises(Damaged, match="another one lies in its place meanwhile"):
        entry.read("inference.yml", 10_000)

    assert opened(tmp_path).read("inference.yml", 10_000) == FILES["inference.yml"]


def test_a_damaged_entry_that_somebody_is_replacing_is_left_to_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.truncate(publish_model(tmp_path) / "inference.onnx", 10)
    found = []

    def write(directory: Path) -> None:
        Store(tmp_path).publish("models", OTHER_KEYS[0], write_model)
        shutil.copytree(tmp_path / "models" / OTHER_KEYS[0][7:], tmp_path / "models" / KEY[7:])
        found.append(Store(tmp_path).open("models", KEY))
        shutil.rmtree(tmp_path / "models" / KEY[7:])
        write_model(directory)

    Store(tmp_path).publish("models", KEY, write)

    assert found == [None]
    assert caplog.messages[-1].endswith("; another process is replacing it")


def test_verification_reads_every_byte(tmp_path: Path) -> None:
    directory = publish_model(tmp_path)
    flip_a_bit(directory / "inference.yml")

    with opened(tmp_path) as entry, pytest.raises(Damaged, match=r"inference\.yml has sha256:"):
        entry.verify()

    assert not directory.exists()


def test_a_manifest_of_another_format_is_not_guessed_at(tmp_path: Path) -> None:
    directory = publish_model(tmp_path)
    document = json.loads((directory / MANIFEST).read_text())
    del document["digest"]

    (directory / MANIFEST).write_bytes(sealed_json({**document, "format": 2}))

    assert find_damage(directory) == "manifest.json has format 2, this release reads 1"


def test_closing_twice_does_nothing(tmp_path: Path) -> None:
    publish_model(tmp_path)
    entry = opened(tmp_path)

    entry.close()
    entry.close()

    assert not Store(tmp_path).entries()[0].in_use


def test_an_entry_that_nobody_refers_to_any_more_is_not_in_use(tmp_path: Path) -> None:
    publish_model(tmp_path)
    entry: Entry | None = opened(tmp_path)
    while_held = Store(tmp_path).entries()[0].in_use

    entry = None

    assert (entry, while_held, Store(tmp_path).entries()[0].in_use) == (None, True, False)


def test_trees_and_flat_entries_have_their_own_doors(tmp_path: Path) -> None:
    store = Store(tmp_path)

    with pytest.raises(Bug, match="plugins holds trees; use open_tree"):
        store.open("plugins", TREE)
    with pytest.raises(Bug, match="models holds no trees; use open"):
        store.open_tree("models", KEY)
    with pytest.raises(Bug, match="plugins holds trees; use publish_tree"):
        store.publish("plugins", TREE, write_model)
    with pytest.raises(Bug, match="models holds no trees; use publish"):
        store.publish_tree("models", KEY, write_model, about={})
