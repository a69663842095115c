"""A report whose every text may be printed: names of products and last words of containers come from anybody."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

from hpi_operator.kubectl.reports.base import Report
from hpi_operator.kubectl.text.terminal import clean

_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{12})[0-9a-f]{52}")

AnyReport = TypeVar("AnyReport", bound=Report)


def safe(report: AnyReport) -> AnyReport:
    """Return the report with every text on one line, without anything that a terminal obeys, its digests short."""
    return type(report).model_construct(**_fields(report))


def _fields(report: Report) -> dict[str, Any]:
    return {name: _safe(getattr(report, name)) for name in type(report).model_fields}


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return _DIGEST.sub(r"sha256:\1…", clean(value))
    if isinstance(value, Report):
        return type(value).model_construct(**_fields(value))
    if isinstance(value, tuple):
        return tuple(_safe(one) for one in value)
    if isinstance(value, dict):
        return {clean(key): _safe(one) for key, one in value.items()}
    return value
