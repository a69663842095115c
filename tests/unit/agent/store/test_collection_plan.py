"""Which entries have to go: properties of the plan."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.store.collection_plan import FITS, IN_USE, PINNED, QUARANTINE, EntryInfo, Kept, plan_collection


def an_entry(
    name: str, size_bytes: int, last_use: int, *, pinned: bool = False, in_use: bool = False, damage: str | None = None
) -> EntryInfo:
    return EntryInfo("engines", name, size_bytes, last_use, pinned, in_use, {}, damage)


def in_quarantine(name: str, size_bytes: int, last_use: int) -> EntryInfo:
    return EntryInfo(QUARANTINE, name, size_bytes, last_use, False, False, {}, "a flipped bit")


@st.composite
def stores(draw: st.DrawFn) -> list[EntryInfo]:
    """Entries with distinct ranks, in any order, some in quarantine."""
    sizes = draw(st.lists(st.integers(0, 100), max_size=12))
    ranks = draw(st.permutations(range(1, len(sizes) + 1)))
    flags = st.sampled_from(["", "", "", "pinned", "in use", "damaged", "quarantine"])
    entries = []
    for number, (size_bytes, rank) in enumerate(zip(sizes, ranks, strict=True)):
        flag = draw(flags)
        if flag == "quarantine":
            entries.append(in_quarantine(str(number), size_bytes, rank))
            continue
        damage = "a flipped bit" if flag == "damaged" else None
        entry = an_entry(str(number), size_bytes, rank, pinned=flag == "pinned", in_use=flag == "in use", damage=damage)
        entries.append(entry)
    return entries


limits = st.integers(0, 600)


def must_stay(entry: EntryInfo) -> bool:
    return entry.pinned or entry.in_use


@given(stores(), limits)
def test_every_entry_is_removed_or_kept(entries: list[EntryInfo], max_bytes: int) -> None:
    plan = plan_collection(entries, max_bytes)

    planned = [*plan.removed, *(kept.entry for kept in plan.kept)]
    assert sorted(entry.identity for entry in planned) == sorted(entry.identity for entry in entries)


@given(stores(), limits)
def test_what_is_pinned_or_in_use_stays_and_says_so(entries: list[EntryInfo], max_bytes: int) -> None:
    plan = plan_collection(entries, max_bytes)

    reasons = {kept.entry.identity: kept.reason for kept in plan.kept}
    assert all(reasons[entry.identity] in (PINNED, IN_USE) for entry in entries if must_stay(entry))


@given(stores(), limits)
def test_the_store_fits_or_nothing_is_left_that_may_go(entries: list[EntryInfo], max_bytes: int) -> None:
    plan = plan_collection(entries, max_bytes)

    left_bytes = sum(kept.entry.bytes for kept in plan.kept)
    assert left_bytes <= max_bytes or all(must_stay(kept.entry) for kept in plan.kept)


@given(stores(), limits)
def test_nothing_goes_once_the_store_fits(entries: list[EntryInfo], max_bytes: int) -> None:
    plan = plan_collection(entries, max_bytes)

    without_the_last = sum(entry.bytes for entry in entries) - sum(entry.bytes for entry in plan.removed[:-1])
    assert not plan.removed or without_the_last > max_bytes


@given(stores(), limits)
def test_no_entry_goes_before_one_of_its_sort_that_was_used_longer_ago(
    entries: list[EntryInfo], max_bytes: int
) -> None:
    plan = plan_collection(entries, max_bytes)

    kept = [one.entry for one in plan.kept if one.reason == FITS]
    for gone in plan.removed:
        same_sort = [one for one in kept if (one.kind, one.damage) == (gone.kind, gone.damage)]
        assert all(one.last_use < gone.last_use for one in same_sort)


@given(stores(), limits)
def test_a_sound_entry_goes_only_after_all_that_is_damaged(entries: list[EntryInfo], max_bytes: int) -> None:
    plan = plan_collection(entries, max_bytes)

    sound_goes = any(entry.damage is None for entry in plan.removed)
    assert not sound_goes or all(kept.entry.damage is None or must_stay(kept.entry) for kept in plan.kept)


@given(stores(), limits)
def test_a_second_collection_removes_nothing(entries: list[EntryInfo], max_bytes: int) -> None:
    first = plan_collection(entries, max_bytes)

    second = plan_collection([kept.entry for kept in first.kept], max_bytes)

    assert second.removed == ()


@given(st.data(), limits)
def test_the_order_in_which_entries_are_listed_changes_nothing(data: st.DataObject, max_bytes: int) -> None:
    entries = data.draw(stores())
    shuffled = data.draw(st.permutations(entries))

    assert plan_collection(shuffled, max_bytes) == plan_collection(entries, max_bytes)


@given(stores(), limits)
def test_what_is_spared_stays_with_the_reason_given(entries: list[EntryInfo], max_bytes: int) -> None:
    spared = {entry.identity: "just published" for entry in entries[:1]}

    plan = plan_collection(entries, max_bytes, spared)

    assert [kept.reason for kept in plan.kept if kept.entry in entries[:1]] == ["just published"] * len(spared)


def test_the_oldest_of_quarantine_goes_first_then_what_is_damaged_then_what_was_used_longest_ago() -> None:
    newest, oldest = in_quarantine("2", 10, 1), in_quarantine("1", 10, 2)
    damaged = an_entry("damaged", 10, 1, damage="a flipped bit")
    first, last = an_entry("first", 10, 2), an_entry("last", 10, 3)

    plan = plan_collection([first, damaged, newest, last, oldest], 10)

    assert plan.removed == (oldest, newest, damaged, last)
    assert plan.kept == (Kept(first, FITS),)


def test_a_store_of_just_the_size_keeps_everything_and_one_byte_less_removes_one() -> None:
    entries = [an_entry("first", 10, 1), an_entry("last", 10, 2)]

    assert plan_collection(entries, 20).removed == ()
    assert plan_collection(entries, 19).removed == (entries[1],)
