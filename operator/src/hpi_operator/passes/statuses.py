"""Statuses in one spelling, so that what is stored can be compared with what should be: defaults written out."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ValidationError

from hpi_core.api.v1alpha1.node_pool import NodePoolStatus
from hpi_core.api.v1alpha1.pipeline_status import PipelineStatus
from hpi_core.api.v1alpha1.runtime import RuntimeStatus
from hpi_operator.plan.intent import Manifest

MODELS: Final[dict[str, type[BaseModel]]] = {
    "HPIPipeline": PipelineStatus,
    "HPINodePool": NodePoolStatus,
    "HPIRuntime": RuntimeStatus,
}


def spelled(kind: str, status: Manifest | None) -> dict[str, Any] | None:
    """Return a status with every default written out and what is absent left out; None where it cannot be read."""
    if status is None:
        return None
    try:
        written: dict[str, Any] = (
            MODELS[kind].model_validate(status).model_dump(mode="json", by_alias=True, exclude_none=True)
        )
    except ValidationError:
        return None
    return written
