"""Text of a manifest: which YAML is read, and what is said of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpi_core.api.document import MAX_DEPTH, MAX_MANIFEST_BYTES
from hpi_core.api.manifest import read_pipeline
from hpi_core.errors import InvalidManifest
from support.manifests import an_ocr_pipeline, problems_of

HEAD = "apiVersion: hpi.paddlex.io/v1alpha1\nkind: HPIPipeline\nmetadata: {name: ocr}\n"

NOT_YAML = "(document): cannot be read as YAML: "


def with_inline(inline: str) -> str:
    """Return a manifest whose `spec.config.inline`, a free mapping, is a text of the test's."""
    return f"{HEAD}spec:\n  config:\n    inline: {inline}\n"


def inline_of(text: str) -> Any:
    config = read_pipeline(text, "test.yaml").spec.config
    assert config is not None
    return config.inline


def test_yaml_and_json_of_one_manifest_are_the_same() -> None:
    yaml_text = f"{HEAD}spec:\n  pipeline: OCR\n  replicas: 2 # a comment\n"

    json_text = json.dumps(an_ocr_pipeline(config=..., modules=..., pipeline="OCR", replicas=2))

    assert read_pipeline(yaml_text, "a.yaml") == read_pipeline(json_text, "a.json")


def test_empty_documents_around_the_manifest_are_passed_over() -> None:
    text = f"---\n---\n{HEAD}spec: {{pipeline: OCR}}\n---\n"

    assert read_pipeline(text, "a.yaml").metadata.name == "ocr"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "nothing"),
        ("# a comment\n", "nothing"),
        ("---\n---\n", "nothing"),
        ("a: 1\n---\nb: 2\n", "2 documents"),
        ("[1, 2]", "a list"),
        ("word", "'word'"),
        ("5", "5"),
    ],
)
def test_a_text_that_is_not_one_mapping_is_refused_with_what_it_is(text: str, seen: str) -> None:
    assert problems_of(text) == [f"(document): must be exactly one mapping, got {seen}"]


def test_the_message_names_the_file() -> None:
    with pytest.raises(InvalidManifest, match=r"^configs/a\.yaml: 1 problem\(s\)\n"):
        read_pipeline("", "configs/a.yaml")


@pytest.mark.parametrize(
    "text", ["a: b: c", "{", 'a: "', "\tx: 1", "a: \x00", "a: \ud800", "%YAML 9.9\n---\na: 1", "@"]
)
def test_a_text_that_is_not_yaml_is_refused(text: str) -> None:
    [problem] = problems_of(text)

    assert problem.startswith(NOT_YAML)
    assert "\n" not in problem


@pytest.mark.parametrize("levels", [10_000, 200_000])
@pytest.mark.parametrize("opening", ["[", '{"a":', "- ", "? ", "{? "])
def test_nesting_of_thousands_of_levels_is_refused(opening: str, levels: int) -> None:
    assert problems_of(opening * levels) == [f"(document): must not nest deeper than {MAX_DEPTH} levels"]


def test_the_deepest_nesting_allowed_is_read_and_one_level_more_is_not() -> None:
    # The document, its spec, the config and the mapping inside are the first four levels.
    lists = MAX_DEPTH - 4
    deepest = f"{{a: {'[' * lists}{']' * lists}}}"
    deeper = f"{{a: {'[' * (lists + 1)}{']' * (lists + 1)}}}"

    assert str(inline_of(with_inline(deepest))).count("[") == lists
    assert problems_of(with_inline(deeper)) == [f"(document): must not nest deeper than {MAX_DEPTH} levels"]


@pytest.mark.parametrize("character", ["x", "é"], ids=["one byte each", "two bytes each"])
def test_the_largest_manifest_is_read_and_one_byte_more_is_not(character: str) -> None:
    text = with_inline("{}") + "#"
    largest = text + character * ((MAX_MANIFEST_BYTES - len(text)) // len(character.encode()))
    largest += "x" * (MAX_MANIFEST_BYTES - len(largest.encode()))

    assert inline_of(largest) == {}
    assert problems_of(largest + "x") == [f"(document): must not be larger than {MAX_MANIFEST_BYTES} bytes"]


def test_a_key_that_appears_twice_is_refused_with_its_line() -> None:
    text = f"{HEAD}spec:\n  replicas: 1\n  pipeline: OCR\n  replicas: 2\n"

    assert problems_of(text) == [f"{NOT_YAML}key 'replicas' appears twice, the second time at line 7"]


@pytest.mark.parametrize("inline", ["{a: {b: 1, b: 2}}", "[{b: 1, b: 2}]", '{"b": 1, b: 2}'])
def test_a_key_that_appears_twice_is_refused_at_every_depth(inline: str) -> None:
    assert problems_of(with_inline(inline)) == [f"{NOT_YAML}key 'b' appears twice, the second time at line 6"]


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("1", "1"),
        ("1.5", "1.5"),
        ("true", "True"),
        ("null", "nothing"),
        ("? [a]\n", "a list"),
        ("? {a: b}\n", "a mapping"),
    ],
)
def test_a_key_that_is_not_text_is_refused(key: str, shown: str) -> None:
    assert problems_of(with_inline(f"{{{key}: x}}")) == [f"{NOT_YAML}keys must be strings, got {shown} (line 6)"]


def test_an_alias_is_refused_before_it_can_stand_for_gigabytes() -> None:
    laughs = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    laughs += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, 10)]

    assert problems_of("\n".join(laughs)) == [
        f"{NOT_YAML}aliases (*name) are not allowed; write the value out (line 2)"
    ]


def test_a_merge_key_is_refused() -> None:
    assert problems_of(with_inline("{<<: {a: 1}}")) == [
        f"{NOT_YAML}merge keys (<<) are not allowed; write the fields out (line 6)"
    ]


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system [ls]",
        "!!python/name:os.system ''",
        "!!python/tuple [1]",
        "!!binary aGk=",
        "!!set {a}",
        "!!timestamp 2024-01-01",
        '!!int ""',
        "!!bool x",
        "!!str 5",
        "!local {}",
        "! x",
    ],
)
def test_a_tag_is_refused(value: str) -> None:
    [problem] = problems_of(with_inline(f"{{a: {value}}}"))

    assert problem.startswith(f"{NOT_YAML}tags (")
    assert problem.endswith(") are not allowed; write the value alone (line 6)")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("5", 5),
        ("-5", -5),
        ("0x1F", 31),
        (str(2**63 - 1), 2**63 - 1),
        (str(-(2**63)), -(2**63)),
        ("1.5", 1.5),
        ("1.0e+3", 1000.0),
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-1e+16", -1e16),
        (".5", 0.5),
        ("1_000", 1000),
        ("8080:80", "8080:80"),
        ("1.2.3", "1.2.3"),
        ("08", "08"),
        ("true", True),
        ("no", False),
        ("~", None),
        ("2024-01-01", "2024-01-01"),
        ("2024-13-45", "2024-13-45"),
        ("'5'", "5"),
        ("=", "="),
        ("'<<'", "<<"),
        (r'"\ud83d\ude00"', "😀"),
        ('"😀"', "😀"),
    ],
)
def test_a_plain_value_is_read_as_json_would_have_it(written: str, read: Any) -> None:
    inline = inline_of(with_inline(f"{{a: {written}}}"))

    assert inline == {"a": read}
    assert type(inline["a"]) is type(read)


@pytest.mark.parametrize(
    "value",
    [
        str(2**63),
        str(-(2**63) - 1),
        "0x" + "f" * 17,
        "9" * 5_000,
        "0x" + "f" * 5_000,
        ".nan",
        ".inf",
        "-.inf",
        "1.0e+400",
    ],
    ids=lambda value: value[:20],
)
def test_a_number_that_json_or_64_bits_cannot_hold_is_refused(value: str) -> None:
    [problem] = problems_of(with_inline(f"{{a: {value}}}"))

    assert problem.startswith(NOT_YAML)
    assert problem.endswith("is not a number of 64 bits (line 6)")
    assert len(problem) < 250


@pytest.mark.parametrize("text", [r'"\ud83d"', r'"\ude00\ud83d"', r'"\udfff"'])
def test_half_of_a_surrogate_pair_is_refused(text: str) -> None:
    [problem] = problems_of(with_inline(f"{{a: {text}}}"))

    assert problem.endswith("holds half of a surrogate pair (line 6)")


# A key of YAML has at most 1,024 characters where no question mark announces it; escapes count.
keys = st.text(st.characters(codec="utf-8"), max_size=40)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(keys, json_values, max_size=3))
@example({"tiny": 5e-324, "huge": -1.5e300, "whole": 1e16, "text": "1e16"})
def test_every_json_mapping_is_read_as_it_was_written(inline: dict[str, Any]) -> None:
    text = json.dumps(an_ocr_pipeline(config={"inline": inline}))

    assert inline_of(text) == inline


@settings(deadline=None)
@given(st.text(st.characters()) | st.binary().map(lambda data: data.decode("latin-1")))
def test_every_text_is_read_or_refused_and_never_breaks_the_reader(text: str) -> None:
    with pytest.raises(InvalidManifest):
        read_pipeline(text, "test.yaml")


@settings(deadline=None)
@given(st.text("0123456789abxefn_+-.:~\"'#", min_size=1))
def test_every_scalar_is_read_or_refused_and_never_breaks_the_reader(scalar: str) -> None:
    try:
        inline = inline_of(with_inline(f"{{a: {scalar}\n}}"))
    except InvalidManifest:
        return

    assert isinstance(inline, dict)
