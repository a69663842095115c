"""Bytes under a seal come back whole with their facts, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.engines.sealed_bytes import MAGIC, Unsealed, seal, unseal

FACTS = st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers() | st.lists(st.integers(), max_size=4))


@given(FACTS, st.binary(max_size=200))
def test_what_was_sealed_comes_back(facts: dict[str, object], content: bytes) -> None:
    found, got = unseal("plan", seal("plan", facts, content))

    assert (found, bytes(got)) == (facts, content)


@given(st.binary(max_size=200), st.data())
def test_every_cut_is_noticed(content: bytes, data: st.DataObject) -> None:
    sealed = seal("plan", {"release": "10"}, content)
    length = data.draw(st.integers(0, len(sealed) - 1))

    with pytest.raises(Unsealed):
        unseal("plan", sealed[:length])


@given(st.binary(min_size=1, max_size=60), st.data())
def test_no_changed_bit_changes_what_comes_back(content: bytes, data: st.DataObject) -> None:
    facts = {"release": "10", "device": "a"}
    sealed = bytearray(seal("plan", facts, content))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    try:
        found, got = unseal("plan", bytes(sealed))
    except Unsealed:
        return

    # The facts are compared by whoever asks; the content is what was sealed.
    assert bytes(got) == content
    assert found != facts


@given(st.binary(max_size=400))
def test_bytes_of_others_are_refused_without_a_crash(data: bytes) -> None:
    for content in (data, MAGIC + data):
        with pytest.raises(Unsealed):
            unseal("plan", content)


def test_another_kind_is_refused_with_both() -> None:
    with pytest.raises(Unsealed, match="it holds a timing cache, not a plan"):
        unseal("plan", seal("timing cache", {}, b"1"))


def test_the_content_is_not_copied() -> None:
    _, content = unseal("plan", seal("plan", {}, b"12345"))

    assert isinstance(content, memoryview)
