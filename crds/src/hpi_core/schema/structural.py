"""A pydantic model → the structural schema of the same objects.

pydantic's own JSON schema is full of `$ref`, `anyOf` and `const`, which a structural schema may not hold, and knows
nothing of the rules and marks of `hpi_core.api.rules`. This walk is shorter than a repair of its output.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import MAX_COUNT, PERCENT, Atomic, ListMap, ListSet, Opaque, Rule, is_int_or_percent
from hpi_core.api.words import PATTERNS_IN_WORDS
from hpi_core.errors import Bug

JsonSchema = dict[str, Any]

_INT32: Final = 2**31
_BOUNDS: Final = {
    int: {"ge": "minimum", "le": "maximum"},
    str: {"pattern": "pattern", "min_length": "minLength", "max_length": "maxLength"},
    tuple: {"min_length": "minItems", "max_length": "maxItems"},
    dict: {"min_length": "minProperties", "max_length": "maxProperties"},
}
"""Names of pydantic's bounds → those of a schema."""
_COUNT_OR_SHARE: Final = {
    "x-kubernetes-int-or-string": True,
    "minimum": 0,
    "maximum": MAX_COUNT,
    "pattern": PERCENT,
    "maxLength": len("100%"),
}


def structural_schema(model: type[ApiModel]) -> JsonSchema:
    """Return the schema of the objects that a model describes, without a description of the whole.

    Raises:
        Bug: The model has something that a structural schema, or our conventions, have no word for.
    """
    return _value(model, (), model.__name__)


def in_one_line(text: str) -> str:
    """Return a docstring without the line breaks and the indentation of its source."""
    return " ".join(text.split())


def _field(field: FieldInfo, where: str) -> JsonSchema:
    schema = _value(field.annotation, (*field.metadata, field), where)
    default = _default_of(field, schema)
    written = {} if default is None else {"default": default}
    return {"description": in_one_line(field.description or ""), **written, **schema}


def _value(annotation: Any, marks: tuple[Any, ...], where: str) -> JsonSchema:
    bare, marks = _peel(annotation, marks)
    rules = (*_rules_of_type(bare, where), *(mark for mark in marks if isinstance(mark, Rule)))
    return {**_structure(bare, marks, where), **validations(rules)}


def _peel(annotation: Any, marks: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """Return a type without `Annotated` and `| None`, and all that is said of it, the innermost first."""
    if get_origin(annotation) is Annotated:
        bare, *own = get_args(annotation)
        said = [part for mark in own for part in ([*mark.metadata, mark] if isinstance(mark, FieldInfo) else [mark])]
        return _peel(bare, (*said, *marks))
    if get_origin(annotation) in (Union, types.UnionType):
        present = [part for part in get_args(annotation) if part is not types.NoneType]
        if len(present) == 1:
            return _peel(present[0], marks)
    return annotation, marks


def _structure(bare: Any, marks: tuple[Any, ...], where: str) -> JsonSchema:
    origin, arguments = get_origin(bare), get_args(bare)
    if any(is_int_or_percent(mark) for mark in marks):
        return dict(_COUNT_OR_SHARE)
    if _is_model(bare):
        return _object(bare, where)
    if origin is Literal and all(isinstance(value, str) for value in arguments):
        return {"type": "string", "enum": list(arguments)}
    if bare is bool:
        return {"type": "boolean"}
    if bare is str:
        return {"type": "string", **_format(marks), **_bounds(str, marks, where)}
    if bare is int:
        bounds = _bounds(int, marks, where)
        fits = -_INT32 <= bounds.get("minimum", -_INT32 - 1) <= bounds.get("maximum", _INT32) < _INT32
        return {"type": "integer", "format": "int32" if fits else "int64", **bounds}
    if origin is tuple and arguments[1:] == (...,):
        items = _value(arguments[0], (), f"{where}[]")
        return {"type": "array", **_bounds(tuple, marks, where), **_list_type(marks, where), "items": items}
    if origin is dict:
        return {"type": "object", **_bounds(dict, marks, where), **_map(arguments[1], marks, where)}
    raise Bug(f"{where}: a structural schema has no word for {bare!r}")


def _is_model(bare: Any) -> bool:
    return isinstance(bare, type) and issubclass(bare, ApiModel)


def _object(model: type[ApiModel], where: str) -> JsonSchema:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    properties = {name: _field(field, f"{where}.{name}") for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.is_required()]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _map(value: Any, marks: tuple[Any, ...], where: str) -> JsonSchema:
    atomic = {"x-kubernetes-map-type": "atomic"} if _has(marks, Atomic) else {}
    if _has(marks, Opaque):
        return {**atomic, "x-kubernetes-preserve-unknown-fields": True}
    if value is Any:
        raise Bug(f"{where}: a mapping whose inner structure is not ours must be marked Opaque")
    return {**atomic, "additionalProperties": _value(value, (), f"{where}.*")}


def _list_type(marks: tuple[Any, ...], where: str) -> JsonSchema:
    for mark in marks:
        if isinstance(mark, ListMap):
            return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(mark.keys)}
        if isinstance(mark, ListSet | Atomic):
            return {"x-kubernetes-list-type": "set" if isinstance(mark, ListSet) else "atomic"}
    raise Bug(f"{where}: a list must be marked ListMap, ListSet or Atomic")


def _has(marks: tuple[Any, ...], kind: type) -> bool:
    return any(isinstance(mark, kind) for mark in marks)


def _bounds(kind: type, marks: tuple[Any, ...], where: str) -> JsonSchema:
    stated = [(word, getattr(mark, name, None)) for mark in marks for name, word in _BOUNDS[kind].items()]
    bounds = [(word, bound) for word, bound in stated if bound is not None]
    # Which of the two pydantic would check depends on where they are written.
    if len(bounds) > len(dict(bounds)):
        raise Bug(f"{where}: a bound is stated twice: {bounds}")
    return dict(bounds)


def _format(marks: tuple[Any, ...]) -> JsonSchema:
    """Return the format of a text, for which pydantic keeps a place but no check."""
    extras = [mark.json_schema_extra for mark in marks if isinstance(mark, FieldInfo)]
    formats = [extra["format"] for extra in extras if isinstance(extra, dict)]
    return {"format": formats[-1]} if formats else {}


def validations(rules: tuple[Rule, ...]) -> JsonSchema:
    """Return the part of a schema that states rules."""
    written = [{"rule": rule.cel, "message": rule.message} for rule in rules]
    return {"x-kubernetes-validations": written} if written else {}


def _rules_of_type(bare: Any, where: str) -> tuple[Rule, ...]:
    """Return the rules of a model, or the one that bounds the keys of a mapping, for which a schema has no word."""
    if _is_model(bare):
        return tuple(bare.rules)
    if get_origin(bare) is not dict:
        return ()
    key, marks = _peel(get_args(bare)[0], ())
    bounds = _bounds(str, marks, where)
    if key is not str or (bounds and not {"pattern", "maxLength"} <= bounds.keys()):
        raise Bug(
            f"{where}: the keys of a mapping must be text, with pattern and largest length or neither, got {key!r}"
        )
    if not bounds:
        return ()
    cel = f"self.all(key, key.size() <= {bounds['maxLength']} && key.matches(r'{bounds['pattern']}'))"
    words = PATTERNS_IN_WORDS[bounds["pattern"]]
    return (Rule(cel, f"each key {words}, and have at most {bounds['maxLength']} characters"),)


def _default_of(field: FieldInfo, schema: JsonSchema) -> Any:
    """Return the default that the API server fills in, None for none; what is empty is absent."""
    if field.is_required():
        return None
    default = field.get_default(call_default_factory=True)
    written = _written(default)
    if isinstance(default, ApiModel):
        has_defaults = any("default" in inner for inner in schema["properties"].values())
        return written if written or has_defaults else None
    return None if written in ([], {}) else written


def _written(value: Any) -> Any:
    """Return a default as it is stated: of a part, what the defaults of its fields do not say, which is mostly `{}`.

    A part with rules is written out, because the server checks a stated default by them before it fills in the rest.
    """
    if isinstance(value, tuple):
        return [_written(element) for element in value]
    if not isinstance(value, ApiModel):
        return value
    has_rules = bool(type(value).rules)
    return _without_empties(value.model_dump(mode="json", by_alias=True, exclude_defaults=not has_rules))


def _without_empties(value: dict[str, Any]) -> dict[str, Any]:
    inner = {name: _without_empties(part) if isinstance(part, dict) else part for name, part in value.items()}
    return {name: part for name, part in inner.items() if part not in (None, [], {})}
