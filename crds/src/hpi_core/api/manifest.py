"""Text of a manifest → checked HPIPipeline, with messages for people."""

from __future__ import annotations

import re
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from hpi_core.api.base import DNS_LABEL
from hpi_core.api.document import MAX_SHOWN_CHARACTERS, read_mapping, shown
from hpi_core.api.v1alpha1.pipeline import DEVICE, MODEL_NAME, MODULE_NAME, MODULE_PATH, HPIPipeline
from hpi_core.digest import PATTERN as DIGEST_PATTERN
from hpi_core.errors import InvalidManifest
from hpi_core.spelling import did_you_mean

PATTERNS_IN_WORDS: Final = {
    DNS_LABEL: "must be 1 to 63 lower-case letters, digits and '-', with a letter or a digit at both ends",
    MODEL_NAME: "must be 1 to 128 letters, digits, '.', '_', '+' and '-', with a letter or a digit first",
    MODULE_NAME: "must be 1 to 64 lower-case letters, digits and '_', such as 'text_detection'",
    MODULE_PATH: "must be like 'SubModules.TextDetection' or 'SubPipelines.DocPreprocessor.SubModules.DocUnwarping'",
    DEVICE: "must be a device such as 'cpu', 'gpu:0' or 'gpu:0,1'",
    DIGEST_PATTERN.pattern: "must be 'sha256:' and 64 lower-case hexadecimal digits",
}
"""What each pattern of the kinds allows, for people."""


def read_pipeline(text: str, where: str) -> HPIPipeline:
    """Return the one HPIPipeline that a YAML or JSON text holds.

    Args:
        text: One YAML document.
        where: What to call the text in messages, such as its file name.

    Raises:
        InvalidManifest: The text is not one YAML mapping, or the mapping is not a valid HPIPipeline. Every problem is
            listed with the path of its field; for an unknown field the nearest known one is named.
    """
    document = read_mapping(text, where)
    try:
        return HPIPipeline.model_validate(document)
    except ValidationError as error:
        raise InvalidManifest(where, [_problem(item) for item in error.errors(include_url=False)]) from None


_TYPES_IN_WORDS: Final = {
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
}


def _problem(item: Any) -> str:
    path, kind, seen = _format_path(item["loc"]), item["type"], item["input"]
    if kind == "extra_forbidden":
        known = known_fields(item["loc"][:-1])
        return f"{path}: is not a known field{did_you_mean(str(item['loc'][-1]), known)}"
    if kind == "missing":
        return f"{path}: is required"
    if kind == "value_error":
        return f"{path}: {item['ctx']['error']}"
    if kind == "literal_error":
        allowed = [part.strip("'") for part in re.split(r", | or ", item["ctx"]["expected"])]
        wanted = f"one of {allowed}" if len(allowed) > 1 else repr(allowed[0])
        near = did_you_mean(seen, allowed, []) if isinstance(seen, str) else ""
        return f"{path}: must be {wanted}, got {shown(seen)}{near}"
    if kind == "string_pattern_mismatch":
        return f"{path}: {PATTERNS_IN_WORDS[item['ctx']['pattern']]}, got {shown(seen)}"
    words = _TYPES_IN_WORDS.get(kind, str(item["msg"]).replace("Input should", "must"))
    return f"{path}: {words.format(**item.get('ctx', {}))}, got {shown(seen)}{_advice(kind, seen)}"


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


def known_fields(location: tuple[int | str, ...]) -> list[str]:
    """Return the fields that the model at a location of an HPIPipeline declares, by their names on the wire."""
    model: type[BaseModel] | None = HPIPipeline
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
