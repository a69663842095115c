"""Rules and marks that pydantic has no word for and a structural schema of Kubernetes has.

Rule       x-kubernetes-validations    a CEL expression, and the same in Python
ListMap    x-kubernetes-list-type map  elements are told apart by some of their fields
ListSet    x-kubernetes-list-type set  each element once
Atomic     x-kubernetes-list-type atomic, x-kubernetes-map-type atomic: replaced whole
Opaque     x-kubernetes-preserve-unknown-fields: the inner structure is not ours
IntOrPercent  x-kubernetes-int-or-string: a number, or a share such as `25%`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

PERCENT: Final = r"^(100|[1-9]?[0-9])%$"
"""A whole share from 0 % to 100 %."""


@dataclass(frozen=True)
class Rule:
    """What the fields of one object, or one field, must satisfy together."""

    cel: str
    """Common Expression Language; `self` is the object (or the field), `oldSelf` what it was before an update."""
    message: str
    """What a person is told when it does not hold: what is allowed."""
    holds: Callable[[Any], bool] | None = None
    """The same in Python, on the parsed model; None for a rule of transition, which one manifest cannot break."""


@dataclass(frozen=True)
class ListMap:
    """A list whose elements are told apart by some of their fields; server-side apply merges it by them."""

    keys: tuple[str, ...]
    """Names on the wire."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse a list with two elements of one key."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, elements: Sequence[Any]) -> Sequence[Any]:
        _refuse_repeated([self._key_of(element) for element in elements], f"each {', '.join(self.keys)}")
        return elements

    def _key_of(self, element: Any) -> tuple[Any, ...]:
        fields = {field.alias or name: name for name, field in type(element).model_fields.items()}
        return tuple(getattr(element, fields[key]) for key in self.keys)


@dataclass(frozen=True)
class ListSet:
    """A list of scalars, each once, in no order that means anything."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse a list with a repeated element."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, elements: Sequence[Any]) -> Sequence[Any]:
        _refuse_repeated([(element,) for element in elements], "each element")
        return elements


@dataclass(frozen=True)
class Atomic:
    """A list or a mapping that one writer owns whole."""


@dataclass(frozen=True)
class Opaque:
    """A mapping whose inner structure is not ours."""


@dataclass(frozen=True)
class _IntOrPercent:
    """A number, or a share."""

    largest: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take a whole number within bounds, or text with a share."""
        return core_schema.no_info_plain_validator_function(
            self._check, serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value)
        )

    def _check(self, value: Any) -> int | str:
        if (type(value) is int and 0 <= value <= self.largest) or (
            isinstance(value, str) and re.fullmatch(PERCENT.strip("^$"), value)
        ):
            return value
        raise PydanticCustomError(
            "int_or_percent", f"must be a whole number from 0 to {self.largest} or a share such as '25%'"
        )


MAX_COUNT: Final = 10_000

IntOrPercent = Annotated[int | str, _IntOrPercent(MAX_COUNT)]
"""A count from 0 to 10,000, or a share from `0%` to `100%`."""


def is_int_or_percent(mark: object) -> bool:
    """Return whether a piece of a field's metadata marks a number or a share."""
    return isinstance(mark, _IntOrPercent)


def _refuse_repeated(keys: list[tuple[Any, ...]], what: str) -> None:
    repeated = sorted({", ".join(map(str, key)) for key in keys if keys.count(key) > 1})
    if repeated:
        raise ValueError(f"{what} must appear once, repeated: {repeated}")
