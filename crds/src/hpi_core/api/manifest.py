"""Text of a manifest → checked object of one of the kinds, with messages for people."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from hpi_core.api.base import API_VERSION, ApiModel
from hpi_core.api.document import MAX_SHOWN_CHARACTERS, read_mapping, shown
from hpi_core.api.rules import Rule
from hpi_core.api.v1alpha1.pipeline import NAME_RULE, HPIPipeline
from hpi_core.api.words import PATTERNS_IN_WORDS, TYPES_IN_WORDS
from hpi_core.errors import InvalidManifest
from hpi_core.spelling import did_you_mean

Model = TypeVar("Model", bound=ApiModel)

_KEY: Final = "[key]"
"""What pydantic adds to the path of a mapping's key to tell it from the value below it."""


def read_manifest(text: str, where: str) -> ApiModel:
    """Return the one object that a YAML or JSON text holds, as the model of its kind.

    Args:
        text: One YAML document.
        where: What to call the text in messages, such as its file name.

    Raises:
        InvalidManifest: The text is not one YAML mapping, or the mapping is not a valid object of one of our kinds.
            Every problem is listed with the path of its field; for an unknown field the nearest known one is named.
    """
    # Who reads pipelines alone need not wait for the models of the other kinds: a tenth of a second.
    from hpi_core.api.v1alpha1.kinds import KINDS

    document = read_mapping(text, where)
    kinds = {kind.name: kind for kind in KINDS}
    problems = [
        *_problems_of_word(document, "apiVersion", [API_VERSION]),
        *_problems_of_word(document, "kind", list(kinds)),
    ]
    if problems:
        raise InvalidManifest(where, problems)
    kind = kinds[document["kind"]]
    return _checked(kind.model, kind.rules, document, where)


def read_pipeline(text: str, where: str) -> HPIPipeline:
    """Return the one HPIPipeline that a YAML or JSON text holds; see `read_manifest`.

    Raises:
        InvalidManifest: The text is not one YAML mapping, or the mapping is not a valid HPIPipeline.
    """
    return _checked(HPIPipeline, (NAME_RULE,), read_mapping(text, where), where)


def _problems_of_word(document: dict[str, Any], field: str, allowed: list[str]) -> Iterable[str]:
    if field not in document:
        yield f"{field}: is required"
    elif document[field] not in allowed:
        yield f"{field}: {_unlike(document[field], allowed)}"


def _checked(model: type[Model], rules: tuple[Rule, ...], document: dict[str, Any], where: str) -> Model:
    try:
        read = model.model_validate(document)
    except ValidationError as error:
        items = error.errors(include_url=False)
        problems = [_problem(item, model) for item in items if not _counts_wrong_elements_out(item)]
        raise InvalidManifest(where, problems) from None
    broken = [rule.message for rule in rules if rule.holds is not None and not rule.holds(read)]
    if broken:
        raise InvalidManifest(where, broken)
    return read


def _counts_wrong_elements_out(item: Any) -> bool:
    """Return whether a list is called too short only because a wrong element of it is not counted."""
    return bool(item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"])


def _problem(item: Any, model: type[ApiModel]) -> str:
    location, kind, seen = item["loc"], item["type"], item["input"]
    if location[-1:] == (_KEY,) and location[-2] == seen:
        return f"{_format_path(location[:-2])}: the key {shown(seen)} {_allowed(item)}"
    path = _format_path(location)
    if kind == "extra_forbidden":
        known = known_fields(location[:-1], model)
        return f"{path}: is not a known field{did_you_mean(str(location[-1]), known)}"
    if kind == "missing":
        return f"{path}: is required"
    if kind == "value_error":
        return f"{path}: {item['ctx']['error']}"
    if kind == "literal_error":
        allowed = [part.strip("'") for part in re.split(r", | or ", item["ctx"]["expected"])]
        return f"{path}: {_unlike(seen, allowed)}"
    if seen in ("", []) and item.get("ctx", {}).get("min_length") == 1:
        return f"{path}: must not be empty"
    # Of a list that is too long or too short, its length tells more than that it is one.
    got = item.get("ctx", {}).get("actual_length", shown(seen)) if isinstance(seen, list) else shown(seen)
    return f"{path}: {_allowed(item)}, got {got}{_advice(kind, seen)}"


def _unlike(seen: Any, allowed: list[str]) -> str:
    wanted = f"one of {allowed}" if len(allowed) > 1 else repr(allowed[0])
    near = did_you_mean(seen, allowed, []) if isinstance(seen, str) else ""
    return f"must be {wanted}, got {shown(seen)}{near}"


def _allowed(item: Any) -> str:
    if item["type"] == "string_pattern_mismatch":
        return PATTERNS_IN_WORDS[item["ctx"]["pattern"]]
    words = TYPES_IN_WORDS.get(item["type"], str(item["msg"]).replace("Input should", "must"))
    return words.format(**item.get("ctx", {}))


def _advice(kind: str, seen: Any) -> str:
    if seen is None:
        return "; leave the field out"
    if kind == "string_type" and isinstance(seen, bool | int | float):
        return "; write it in quotes"
    return "; write it without quotes" if kind in ("int_type", "bool_type") and isinstance(seen, str) else ""


def _format_path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            word = part if part.isprintable() and len(part) <= MAX_SHOWN_CHARACTERS else shown(part)
            path += f".{word}" if path else word
    return path or "(document)"


def known_fields(location: tuple[int | str, ...], root: type[BaseModel] = HPIPipeline) -> list[str]:
    """Return the fields that the model at a location of an object declares, by their names on the wire."""
    model: type[BaseModel] | None = root
    for part in location:
        if isinstance(part, int) or model is None:
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        model = _model_inside(fields[part].annotation) if part in fields else None
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_inside(part)) is not None), None)
