"""Objects of our kinds, read by a release that may be older or newer than who wrote them; pure."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from hpi_operator.plan.intent import Manifest

Model = TypeVar("Model", bound=BaseModel)

MAX_PROBLEMS: Final = 5
UNKNOWN_FIELD: Final = "extra_forbidden"


def read(
    model: type[Model], manifest: Manifest, *, tolerant: Sequence[str] = ("status",)
) -> tuple[Model | None, tuple[str, ...]]:
    """Return an object, parsed, and what is wrong with it; None where this release cannot read it.

    What the API server adds to the metadata is left out. A field that this release does not know is dropped where
    programs wrote it, agents and operators one release ahead; where a person wrote it, it is a problem: what is not
    understood must not be ignored.

    Args:
        model: The kind.
        manifest: The object as it is stored.
        tolerant: Parts whose unknown fields are dropped.
    """
    document: dict[str, Any] = {
        key: manifest[key] for key in ("apiVersion", "kind", "spec", "status") if key in manifest
    }
    metadata = manifest["metadata"]
    document["metadata"] = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
    try:
        return model.model_validate(document), ()
    except ValidationError as error:
        unknown = [one["loc"] for one in error.errors(include_url=False) if one["type"] == UNKNOWN_FIELD]
    document = copy.deepcopy(document)
    for place in unknown:
        if place[0] in tolerant:
            _drop(document, place)
    try:
        return model.model_validate(document), ()
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)[:MAX_PROBLEMS]
        ]
        return None, tuple(problems)


def _drop(document: Any, place: Sequence[Any]) -> None:
    way, last = place[:-1], place[-1]
    for step in way:
        # A step that is no key of the data names a member of a union.
        if (isinstance(document, dict) and step in document) or (isinstance(document, list) and isinstance(step, int)):
            document = document[step]
    if isinstance(document, dict):
        document.pop(last, None)
