"""Models become structural schemas: every type, bound, mark, rule and default, and what there is no word for."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field

from hpi_core.api.base import DNS_LABEL, ApiModel, JsonObject
from hpi_core.api.rules import Atomic, IntOrPercent, ListMap, ListSet, Opaque, Rule
from hpi_core.api.words import PATTERNS_IN_WORDS
from hpi_core.errors import Bug
from hpi_core.schema.structural import structural_schema

Text = Annotated[str, Field(pattern="^a+$", max_length=8)]
Moment = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]
POSITIVE = Rule("self > 0", "must be positive", lambda self: self > 0)
FINAL = Rule("self == oldSelf", "must not change")


class Inner(ApiModel):
    """A part."""

    name: Text
    """Name of the part."""

    size_bytes: Annotated[int, Field(ge=0, le=2**31 - 1)] = 5
    """How large
    it is."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.name != 'b'", "must not be b", lambda self: self.name != "b"),)


class Settings(ApiModel):
    """A part whose fields have defaults."""

    count: int = Field(default=3, ge=1, le=9)
    """A count."""

    mode: Literal["Fast", "Slow"] = "Fast"
    """A mode."""


class Wishes(ApiModel):
    """A part whose fields may be absent."""

    name: Text | None = None
    """A name."""


def field_of(annotation: Any, default: Any = ..., /, **more: Any) -> dict[str, Any]:
    """Return the schema of a field of a type, without its description."""
    model = type(
        "Sample",
        (ApiModel,),
        {"__annotations__": {"value": annotation}, "__module__": __name__, "value": Field(default, **more)},
    )
    schema: dict[str, Any] = structural_schema(model)["properties"]["value"]
    assert schema.pop("description") == ""
    return schema


TEXT = {"type": "string", "pattern": "^a+$", "maxLength": 8}
INNER = {
    "type": "object",
    "properties": {
        "name": {"description": "Name of the part.", **TEXT},
        "sizeBytes": {
            "description": "How large it is.",
            "default": 5,
            "type": "integer",
            "format": "int32",
            "minimum": 0,
            "maximum": 2**31 - 1,
        },
    },
    "required": ["name"],
    "x-kubernetes-validations": [{"rule": "self.name != 'b'", "message": "must not be b"}],
}
COUNT = {"x-kubernetes-int-or-string": True, "minimum": 0, "maximum": 10_000}


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (bool, {"type": "boolean"}),
        (Text, TEXT),
        (Moment, {"type": "string", "format": "date-time", "maxLength": 40}),
        (Annotated[str, Field(min_length=1, max_length=2)], {"type": "string", "minLength": 1, "maxLength": 2}),
        (Literal["A", "B"], {"type": "string", "enum": ["A", "B"]}),
        (Literal["A"], {"type": "string", "enum": ["A"]}),
        (IntOrPercent, {**COUNT, "pattern": "^(100|[1-9]?[0-9])%$", "maxLength": 4}),
        (Inner, INNER),
        (Annotated[JsonObject, Opaque()], {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
        (
            Annotated[dict[str, Text], Field(max_length=2), Atomic()],
            {"type": "object", "maxProperties": 2, "x-kubernetes-map-type": "atomic", "additionalProperties": TEXT},
        ),
        (
            Annotated[tuple[Text, ...], Field(max_length=2), ListSet()],
            {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "set", "items": TEXT},
        ),
        (
            Annotated[tuple[Text, ...], Field(min_length=1, max_length=2), Atomic()],
            {"type": "array", "minItems": 1, "maxItems": 2, "x-kubernetes-list-type": "atomic", "items": TEXT},
        ),
        (
            Annotated[tuple[Inner, ...], Field(max_length=2), ListMap(("name",))],
            {
                "type": "array",
                "maxItems": 2,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
                "items": INNER,
            },
        ),
    ],
)
def test_a_type_has_one_schema_whether_it_may_be_absent_or_not(annotation: Any, schema: dict[str, Any]) -> None:
    assert field_of(annotation) == schema
    assert field_of(annotation | None, None) == schema


@pytest.mark.parametrize(
    ("least", "most", "width"),
    [
        (-(2**31), 2**31 - 1, "int32"),
        (0, 2**31, "int64"),
        (-(2**31) - 1, 0, "int64"),
        (None, 5, "int64"),
        (5, None, "int64"),
    ],
)
def test_an_integer_is_as_wide_as_its_bounds_ask(least: int | None, most: int | None, width: str) -> None:
    schema = field_of(Annotated[int, Field(ge=least, le=most)])

    assert (schema["type"], schema["format"]) == ("integer", width)
    assert (schema.get("minimum"), schema.get("maximum")) == (least, most)


@pytest.mark.parametrize(
    ("annotation", "rules"),
    [
        (Annotated[int, POSITIVE], [POSITIVE]),
        (Annotated[int, POSITIVE, FINAL] | None, [POSITIVE, FINAL]),
        (Annotated[Inner, FINAL], [*Inner.rules, FINAL]),
        (Annotated[tuple[Text, ...], Atomic(), FINAL], [FINAL]),
    ],
)
def test_rules_of_a_type_and_of_a_field_are_all_stated(annotation: Any, rules: list[Rule]) -> None:
    stated = field_of(annotation)["x-kubernetes-validations"]

    assert stated == [{"rule": rule.cel, "message": rule.message} for rule in rules]


def test_the_keys_of_a_mapping_are_bounded_by_a_rule() -> None:
    key = Annotated[str, Field(pattern=DNS_LABEL, max_length=63)]

    stated = field_of(dict[key, Text])["x-kubernetes-validations"]

    assert stated == [
        {
            "rule": f"self.all(key, key.size() <= 63 && key.matches(r'{DNS_LABEL}'))",
            "message": f"each key {PATTERNS_IN_WORDS[DNS_LABEL]}, and have at most 63 characters",
        }
    ]


@pytest.mark.parametrize(
    ("annotation", "default", "stated"),
    [
        (bool, False, False),
        (int, 0, 0),
        (str, "", ""),
        (Literal["A"], "A", "A"),
        (IntOrPercent, "25%", "25%"),
        (Annotated[tuple[str, ...], ListSet()], ("a", "b"), ["a", "b"]),
        (Annotated[tuple[Settings, ...], Atomic()], (Settings(count=4),), [{"count": 4}]),
        (Settings, Settings(), {}),
        (Settings, Settings(count=4), {"count": 4}),
    ],
)
def test_a_default_is_stated_without_what_the_server_fills_in_below_it(
    annotation: Any, default: Any, stated: Any
) -> None:
    assert field_of(annotation, default)["default"] == stated


def test_a_default_with_rules_is_stated_whole_because_the_server_checks_it_as_it_stands() -> None:
    assert field_of(Inner, Inner(name="a"))["default"] == {"name": "a", "sizeBytes": 5}
    assert field_of(Annotated[tuple[Inner, ...], Atomic()], (Inner(name="a"),))["default"] == [
        {"name": "a", "sizeBytes": 5}
    ]


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (int, ...),
        (int | None, None),
        (Settings | None, None),
        (Annotated[tuple[str, ...], Atomic()], ()),
        (dict[str, str], {}),
        (Wishes, Wishes()),
    ],
)
def test_what_is_required_absent_or_empty_has_no_default(annotation: Any, default: Any) -> None:
    assert "default" not in field_of(annotation, default)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (float, "Sample.value: a structural schema has no word for <class 'float'>"),
        (int | str, r"Sample.value: a structural schema has no word for int \| str"),
        (Literal[1, 2], r"Sample.value: a structural schema has no word for .*Literal\[1, 2\]"),
        (list[str], r"Sample.value: a structural schema has no word for list\[str\]"),
        (tuple[str, int], r"Sample.value: a structural schema has no word for tuple\[str, int\]"),
        (tuple[str, ...], "Sample.value: a list must be marked ListMap, ListSet or Atomic"),
        (Annotated[tuple[tuple[str, ...], ...], Atomic()], r"Sample.value\[\]: a list must be marked"),
        (JsonObject, "Sample.value: a mapping whose inner structure is not ours must be marked Opaque"),
        (dict[int, str], "Sample.value: the keys of a mapping must be text, .* got <class 'int'>"),
        (dict[Annotated[str, Field(max_length=3)], str], "Sample.value: the keys of a mapping must be text, with patt"),
        (dict[str, float], r"Sample.value.\*: a structural schema has no word for"),
    ],
)
def test_what_a_structural_schema_has_no_word_for_is_our_mistake(annotation: Any, words: str) -> None:
    with pytest.raises(Bug, match=words):
        field_of(annotation)


def test_a_bound_that_a_type_and_its_field_both_state_is_our_mistake() -> None:
    with pytest.raises(Bug, match=r"Sample.value: a bound is stated twice: .*'maxLength', 8"):
        field_of(Text, max_length=4)
