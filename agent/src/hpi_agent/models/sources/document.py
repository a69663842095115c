"""Small JSON documents of servers: read within bounds, checked against a model, never shown in full."""

from __future__ import annotations

from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from hpi_agent.models.sources.http_client import MAX_DOCUMENT_BYTES, Answer
from hpi_core.errors import SourceFailed

Document = TypeVar("Document", bound=BaseModel)

_MAX_PROBLEMS: Final = 3


def read_document(answer: Answer, model: type[Document], what: str) -> Document:
    """Return the body of an answer as a document.

    Raises:
        Retry: It is cut.
        SourceFailed: It is too large, or not what such a document must be.
    """
    return parse_document(answer.read(MAX_DOCUMENT_BYTES), model, f"{answer.url} must answer with {what}")


def parse_document(content: bytes, model: type[Document], must: str) -> Document:
    """Return JSON as a document.

    Args:
        content: The JSON.
        model: What it must be.
        must: Begins the error: which place must hold what.

    Raises:
        SourceFailed: It is something else.
    """
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        # Names of fields and no values: what a server sends in place of a document may be anything.
        problems = [f"{'.'.join(map(str, one['loc'])) or 'document'}: {one['msg']}" for one in error.errors()]
    raise SourceFailed(
        f"{must}; it is another document ({'; '.join(problems[:_MAX_PROBLEMS])}): correct the source or endpoint"
    )
