"""`hpi-agent store ls|verify|gc|pin|unpin`: look into the store, check it, make it smaller.

JSON (`-o json`) has one schema per action. Fields are added to it, never renamed.

    every entry         kind, key, bytes, lastUse (1: used last), pinned, inUse, about, damage (null: none seen)
    ls                  store, bytes, maxBytes, decisions, entries[], quarantine[]
    verify              store, verified, damaged[]: kind, key, reason (and what was done)
    gc                  store, dryRun, bytesBefore, bytesAfter, maxBytes, removed[], kept[]: an entry and why it stays
    pin, unpin          store, pinned, entries[]: kind, key
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hpi_agent.commands.serve import add_store_argument
from hpi_agent.store.collection_plan import FITS, QUARANTINE, Collected, EntryInfo
from hpi_agent.store.directory import Store, default_store_max_bytes, default_store_root
from hpi_agent.store.place import ARTIFACTS, TREES
from hpi_agent.store.size import bytes_of, size_text
from hpi_core.errors import Refused

SHORTEST_KEY: Final = 12
"""Fewest digits of a key that are shown."""

SHORTEST_WRITTEN: Final = 4
"""Fewest characters of a key that are taken for one."""

PIPE_COLUMNS: Final = 160
"""Width of a table when nobody looks at it."""

EXIT_DAMAGED: Final = 1

_DIGEST: Final = re.compile(rf"(sha256:[0-9a-f]{{{SHORTEST_KEY}}})[0-9a-f]{{{64 - SHORTEST_KEY}}}")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand and its actions."""
    parser = subparsers.add_parser("store", help="look into the store, check it, make it smaller", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add(actions, "ls", "list what the store has, the entry used last first")
    verify = _add(actions, "verify", "read every byte; what is damaged goes to quarantine (exit code 1)")
    verify.add_argument("keys", nargs="*", metavar="KEY", help="check these alone (default: all)")
    collect = _add(
        actions, "gc", "remove what was used longest ago until the store fits; nothing in use or pinned goes"
    )
    collect.add_argument(
        "--max-bytes",
        type=_size,
        metavar="SIZE",
        help="size the store may keep, such as 10GiB or 0 (default: $HPI_STORE_MAX_BYTES, else 20GiB)",
    )
    collect.add_argument("--dry-run", action="store_true", help="say what would go and remove nothing")
    for name, meaning in (("pin", "keep entries from being removed by gc"), ("unpin", "let gc remove them again")):
        action = _add(actions, name, meaning)
        action.add_argument("keys", nargs="+", metavar="KEY", help="key, or as much of its beginning as is unambiguous")


def run(arguments: argparse.Namespace) -> int:
    """Do one action; return the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    root = (arguments.store or default_store_root(dict(os.environ))).absolute()
    max_bytes = default_store_max_bytes(dict(os.environ))
    store = Store(root, max_bytes)
    if arguments.action == "ls":
        return _list(store, max_bytes, arguments.output)
    if arguments.action == "verify":
        return _verify(store, arguments.keys, arguments.output)
    if arguments.action == "gc":
        limit = max_bytes if arguments.max_bytes is None else arguments.max_bytes
        return _collect(store, limit, arguments.dry_run, arguments.output)
    return _pin(store, arguments.keys, arguments.action == "pin", arguments.output)


def find_entry(written: str, entries: Sequence[EntryInfo]) -> EntryInfo:
    """Return the one entry whose key begins with what was written; `sha256:` may be left out.

    Raises:
        Refused: None does, or several do.
    """
    prefix = written.removeprefix("sha256:")
    found = [entry for entry in entries if _digits(entry).startswith(prefix)]
    exact = [entry for entry in found if _digits(entry) == prefix]
    if len(prefix) < SHORTEST_WRITTEN:
        raise Refused(f"at least {SHORTEST_WRITTEN} characters of a key are needed, got {written!r}")
    if len(exact or found) == 1:
        return (exact or found)[0]
    if not found:
        raise Refused(f"no key in the store begins with {written!r}; hpi-agent store ls lists them")
    some = ", ".join(f"{entry.kind} {_digits(entry)}" for entry in found[:4])
    raise Refused(
        f"{len(found)} keys begin with {written!r}: {some}{', ...' if len(found) > 4 else ''}; write more of it"
    )


def short_keys(entries: Sequence[EntryInfo]) -> dict[tuple[str, str], str]:
    """Return for every entry the shortest beginning of its key that names it alone, of 12 digits or more."""
    digits = [_digits(entry) for entry in entries if entry.kind in ARTIFACTS]
    length = SHORTEST_KEY
    while len({text[:length] for text in digits}) < len(set(digits)):
        length += 1
    return {entry.identity: _digits(entry)[:length] if entry.kind in ARTIFACTS else entry.key for entry in entries}


def what_it_is(about: Mapping[str, Any]) -> str:
    """Return in a few words what an entry says of itself: texts and numbers, no digests, nothing nested."""
    plain = [str(value) for value in about.values() if isinstance(value, str | int)]
    return ", ".join(text for text in plain if not text.startswith("sha256:")) or "-"


def _add(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, meaning: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=meaning, description=meaning[0].upper() + meaning[1:] + ".")
    add_store_argument(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="for people, or JSON")
    return parser


def _size(text: str) -> int:
    try:
        return bytes_of(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _list(store: Store, max_bytes: int, output: str) -> int:
    entries, quarantine, decisions = store.entries(), store.quarantined(), len(store.decision_keys())
    used = sum(entry.bytes for entry in (*entries, *quarantine))
    if output == "json":
        _print_json(
            store,
            {
                "bytes": used,
                "maxBytes": max_bytes,
                "decisions": decisions,
                "entries": [_document(entry) for entry in entries],
                "quarantine": [_document(entry) for entry in quarantine],
            },
        )
        return 0
    _print(
        f"{store.root}: {_count(len(entries), 'entry', 'entries')}, {_count(decisions, 'decision', 'decisions')}, "
        f"{size_text(used)} of {size_text(max_bytes)}"
    )
    _print_entries(entries, entries)
    short = short_keys(entries)
    for entry in entries:
        if entry.damage is not None:
            _print(f"{entry.kind} {short[entry.identity]} is damaged: {_shortened(entry.damage)}")
    _print_quarantine(quarantine)
    return 0


def _verify(store: Store, keys: Sequence[str], output: str) -> int:
    entries = store.entries()
    chosen = [find_entry(key, entries) for key in keys] or entries
    decisions = [] if keys else store.decision_keys()
    found = [(entry.kind, entry.key, store.verify(entry.kind, entry.key)) for entry in chosen]
    found += [("decisions", key, _decision_damage(store, key)) for key in decisions]
    damaged = [(kind, key, damage) for kind, key, damage in found if damage is not None]
    if output == "json":
        told = [{"kind": kind, "key": key, "reason": damage} for kind, key, damage in damaged]
        _print_json(store, {"verified": len(found), "damaged": told})
    else:
        checked = f"{_count(len(chosen), 'entry', 'entries')} and {_count(len(decisions), 'decision', 'decisions')}"
        _print(f"{store.root}: {checked} read, {len(damaged) or 'none'} damaged")
        for _, _, damage in damaged:
            _print(f"  {_shortened(damage)}")
        if damaged:
            _print("What is damaged is made anew when it is needed next; hpi-agent build or install does it now.")
    return EXIT_DAMAGED if damaged else 0


def _decision_damage(store: Store, key: str) -> str | None:
    return f"decisions {key} is damaged; it lies in quarantine" if store.read_decision(key) is None else None


def _collect(store: Store, max_bytes: int, dry_run: bool, output: str) -> int:
    done = store.collect(max_bytes, dry_run=dry_run)
    if output == "json":
        _print_json(
            store,
            {
                "dryRun": dry_run,
                "maxBytes": max_bytes,
                "bytesBefore": done.bytes_before,
                "bytesAfter": done.bytes_after,
                "removed": [_document(entry) for entry in done.removed],
                "kept": [{**_document(kept.entry), "reason": kept.reason} for kept in done.kept],
            },
        )
        return 0
    _print_collected(store, done, max_bytes, dry_run)
    return 0


def _print_collected(store: Store, done: Collected, max_bytes: int, dry_run: bool) -> None:
    _print(
        f"{store.root}: {'would remove' if dry_run else 'removed'} {len(done.removed) or 'nothing'}, "
        f"{size_text(done.bytes_before)} before, {size_text(done.bytes_after)} after, {size_text(max_bytes)} allowed"
    )
    everything = [*done.removed, *(kept.entry for kept in done.kept)]
    _print_entries(done.removed, everything)
    staying = [kept for kept in done.kept if kept.reason != FITS]
    if done.bytes_after > max_bytes:
        _print("The store stays larger than it may be, because these have to stay:")
        short = short_keys(everything)
        for kept in staying:
            _print(f"  {kept.entry.kind} {short[kept.entry.identity]}: {kept.reason}, {size_text(kept.entry.bytes)}")


def _pin(store: Store, keys: Sequence[str], pinned: bool, output: str) -> int:
    entries = store.entries()
    chosen = [find_entry(key, entries) for key in keys]
    for entry in chosen:
        if pinned:
            store.pin(entry.kind, entry.key)
        else:
            store.unpin(entry.kind, entry.key)
    if output == "json":
        told = [{"kind": entry.kind, "key": entry.key} for entry in chosen]
        _print_json(store, {"pinned": pinned, "entries": told})
        return 0
    for entry in chosen:
        does = "stays until it is unpinned" if pinned else "may be removed by gc again"
        _print(f"{entry.kind} {_digits(entry)[:SHORTEST_KEY] if entry.kind not in TREES else entry.key} {does}")
    return 0


def _print_entries(entries: Sequence[EntryInfo], among: Sequence[EntryInfo]) -> None:
    if not entries:
        return
    short = short_keys(among)
    table = _table("KIND", "KEY", "WHAT", ">SIZE", ">USE RANK", "STATE")
    for entry in entries:
        table.add_row(
            entry.kind,
            short[entry.identity],
            _shortened(entry.damage or "") if entry.kind == QUARANTINE else what_it_is(entry.about),
            size_text(entry.bytes),
            str(entry.last_use),
            _state(entry),
        )
    _print(table)


def _print_quarantine(quarantine: Sequence[EntryInfo]) -> None:
    if not quarantine:
        return
    _print(f"\nIn quarantine, {_count(len(quarantine), 'thing', 'things')} found damaged; gc removes these first:")
    table = _table("NAME", ">SIZE", "WHY")
    for entry in quarantine:
        table.add_row(entry.key, size_text(entry.bytes), _shortened(entry.damage or ""))
    _print(table)


def _state(entry: EntryInfo) -> str:
    damaged = entry.damage is not None and entry.kind != QUARANTINE
    states = (("damaged", damaged), ("pinned", entry.pinned), ("in use", entry.in_use))
    return ", ".join(name for name, holds in states if holds) or "-"


def _table(*headings: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        right = heading.startswith(">")
        foldable = heading in ("WHAT", "WHY", "STATE")
        table.add_column(heading.removeprefix(">"), justify="right" if right else "left", no_wrap=not foldable)
    return table


def _print(what: Any) -> None:
    from rich.console import Console

    # A pipe has no width; a table cut to 80 columns would lose what it is for.
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=isinstance(what, str), width=width)
    with console.capture() as captured:
        console.print(what)
    for line in captured.get().splitlines():
        print(line.rstrip())


def _shortened(text: str) -> str:
    """Return a text whose digests are cut to what a person compares."""
    return _DIGEST.sub(r"\1...", text)


def _print_json(store: Store, facts: Mapping[str, Any]) -> None:
    print(json.dumps({"store": str(store.root), **facts}, ensure_ascii=False, indent=1))


def _document(entry: EntryInfo) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "key": entry.key,
        "bytes": entry.bytes,
        "lastUse": entry.last_use,
        "pinned": entry.pinned,
        "inUse": entry.in_use,
        "about": dict(entry.about),
        "damage": entry.damage,
    }


def _digits(entry: EntryInfo) -> str:
    return entry.key.removeprefix("sha256:")


def _count(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
