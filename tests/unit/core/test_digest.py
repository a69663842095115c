"""Canonical JSON: one value, one spelling, one digest."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi_core.digest import PATTERN, canonical_json, digest_of_bytes, digest_of_json

texts = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12
)


def reordered(value: Any) -> Any:
    """Return an equal value whose mappings were filled in the opposite order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(list(value))}
    return [reordered(inner) for inner in value] if isinstance(value, list) else value


def typed(value: Any) -> Any:
    """Return a value that equals another one only when both have the same JSON type: 1, 1.0 and true differ."""
    if isinstance(value, dict):
        return {key: typed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [typed(inner) for inner in value]
    # Zero and minus zero are equal numbers with two spellings.
    return (type(value), repr(value))


@settings(deadline=None)
@given(values)
def test_the_order_of_keys_changes_nothing(value: Any) -> None:
    assert canonical_json(reordered(value)) == canonical_json(value)


@settings(deadline=None)
@given(values, values)
def test_two_values_share_a_spelling_exactly_when_they_are_the_same(first: Any, second: Any) -> None:
    assert (canonical_json(first) == canonical_json(second)) == (typed(first) == typed(second))


@settings(deadline=None)
@given(values)
def test_the_spelling_is_json_of_the_same_value(value: Any) -> None:
    assert typed(json.loads(canonical_json(value))) == typed(value)


@settings(deadline=None)
@given(values)
def test_the_digest_is_sha256_of_the_spelling(value: Any) -> None:
    assert digest_of_json(value) == f"sha256:{hashlib.sha256(canonical_json(value)).hexdigest()}"
    assert PATTERN.match(digest_of_json(value))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=16)))
def test_chunks_change_nothing(chunks: list[bytes]) -> None:
    assert digest_of_bytes(chunks) == digest_of_bytes([b"".join(chunks)])


def test_a_known_value_keeps_its_spelling_and_digest() -> None:
    value = {"b": [1, 2.5, None, True], "a": {"ü": "\u2028\n"}}

    assert canonical_json(value) == '{"a":{"ü":"\u2028\\n"},"b":[1,2.5,null,true]}'.encode()
    assert digest_of_json({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [{"a": math.nan}]])
def test_what_json_has_no_number_for_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        canonical_json(value)


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}])
def test_half_of_a_surrogate_pair_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        canonical_json(value)


@pytest.mark.parametrize("key", [1, 1.5, True, None, b"a", (1,)])
@pytest.mark.parametrize("wrap", [lambda inner: inner, lambda inner: [inner], lambda inner: {"a": inner}])
def test_a_key_that_is_not_text_is_refused_at_every_depth(key: Any, wrap: Any) -> None:
    with pytest.raises(TypeError, match="keys of canonical JSON must be strings, got"):
        canonical_json(wrap({key: "x"}))


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is not JSON serializable"):
        canonical_json(value)
