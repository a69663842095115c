"""An object is written when the intent changed or somebody changed what it states, and never otherwise."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_core.names import APPLIED
from hpi_operator.act.drift import differs, drift, stamped, why

KEYS = st.sampled_from(["a", "b", "replicas", "image", "name", "args"])
LEAVES = st.one_of(st.text(max_size=4), st.integers(-3, 3), st.booleans())
NAMED = st.lists(
    st.fixed_dictionaries({"name": st.text("xyz", min_size=1, max_size=3), "value": LEAVES}),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one["name"],
)
VALUES = st.recursive(
    st.one_of(LEAVES, NAMED),
    lambda inner: st.one_of(st.dictionaries(KEYS, inner, max_size=4), st.lists(LEAVES, max_size=3)),
    max_leaves=20,
)
SPECS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=5)


def an_intent(spec: dict[str, Any]) -> dict[str, Any]:
    return dict(stamped({"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec}))


def with_foreign_fields(value: Any) -> Any:
    """Return a value as other writers and defaults leave it: more keys everywhere, more named elements."""
    if isinstance(value, dict):
        return {**{key: with_foreign_fields(one) for key, one in value.items()}, "zz-foreign": 1}
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        side_car = {"name": "zz-side-car", "value": 0}
        return [side_car, *(with_foreign_fields(one) for one in value)]
    return value


@given(SPECS)
def test_an_object_that_is_what_was_meant_is_not_written(spec: dict[str, Any]) -> None:
    intent = an_intent(spec)

    assert not differs(copy.deepcopy(intent), intent)


@given(SPECS)
def test_fields_and_named_elements_of_others_are_no_difference(spec: dict[str, Any]) -> None:
    intent = an_intent(spec)

    assert drift(with_foreign_fields(intent), intent) is None


def leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [found for key, one in value.items() for found in leaves(one, (*place, key))]
    if isinstance(value, list):
        return [found for number, one in enumerate(value) for found in leaves(one, (*place, number))]
    return [place]


@given(SPECS, st.data())
def test_any_leaf_that_somebody_changed_is_a_difference(spec: dict[str, Any], data: st.DataObject) -> None:
    intent = an_intent(spec)
    places = leaves(intent["spec"], ("spec",))
    if not places:
        return
    live = copy.deepcopy(intent)
    *way, last = data.draw(st.sampled_from(places))
    part: Any = live
    for step in way:
        part = part[step]

    part[last] = "changed by somebody"

    assert differs(live, intent)
    assert why(live, intent).startswith("drifted at ")


@given(SPECS, st.data())
def test_a_field_that_is_taken_out_of_the_intent_is_a_difference(spec: dict[str, Any], data: st.DataObject) -> None:
    live = an_intent(spec)
    key = data.draw(st.sampled_from(sorted(spec)))

    intent = an_intent({name: value for name, value in spec.items() if name != key})

    assert differs(live, intent)
    assert why(live, intent) == "changed"


def test_an_object_that_is_not_there_is_written_and_called_new() -> None:
    intent = an_intent({"a": 1})

    assert (differs(None, intent), why(None, intent)) == (True, "new")


@pytest.mark.parametrize("empty", [0, False, "", [], {}])
def test_what_the_api_server_leaves_out_because_it_is_empty_is_no_difference(empty: object) -> None:
    assert drift({"spec": {}}, {"spec": {"a": empty}}) is None


@pytest.mark.parametrize(
    ("live", "intent", "path"),
    [
        ({"a": 1}, {"a": 2}, "a"),
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, "a.b[0]"),
        ({"a": [1]}, {"a": [1, 2]}, "a"),
        ({"c": [{"name": "x", "image": "old"}]}, {"c": [{"name": "x", "image": "new"}]}, "c[x].image"),
        ({"c": [{"name": "y"}]}, {"c": [{"name": "x"}]}, "c[x]"),
        ({"c": [{"port": 80}]}, {"c": [{"port": 80}, {"port": 443}]}, "c[443]"),
        ({"a": "text"}, {"a": {"b": 1}}, "a"),
        ({"a": "text"}, {"a": ["text"]}, "a"),
        ({}, {"a": 1}, "a"),
    ],
)
def test_the_first_field_that_differs_is_named(live: Any, intent: Any, path: str) -> None:
    assert drift(live, intent) == path


def test_the_stamp_is_the_digest_of_the_intent_and_leaves_other_annotations() -> None:
    plain = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "annotations": {"a": "b"}}, "spec": {"a": 1}}

    first, again = stamped(plain), stamped(copy.deepcopy(plain))
    other = stamped({**plain, "spec": {"a": 2}})

    assert first == again
    assert first["metadata"]["annotations"]["a"] == "b"
    assert first["metadata"]["annotations"][APPLIED] != other["metadata"]["annotations"][APPLIED]
