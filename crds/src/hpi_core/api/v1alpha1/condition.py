"""Conditions: observations of now, one per type, as every Kubernetes object has them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import ListMap
from hpi_core.api.v1alpha1.scalars import Timestamp

CONDITION_TYPE: Final = r"^[A-Z][A-Za-z]*$"
CONDITION_STATUS: Final = r"^(True|False|Unknown)$"
CONDITION_REASON: Final = r"^[A-Z][A-Za-z0-9]*$"

MAX_CONDITIONS: Final = 12
MAX_MESSAGE_CHARACTERS: Final = 512


class Condition(ApiModel):
    """One observation. `Ready` only sums the others up."""

    type: Annotated[str, Field(pattern=CONDITION_TYPE, min_length=1, max_length=40)]
    """What is observed, an adjective or a participle, such as `Ready` or `EnginesReady`."""

    status: Annotated[str, Field(pattern=CONDITION_STATUS, max_length=7)]
    """`True`, `False` or `Unknown`."""

    reason: Annotated[str, Field(pattern=CONDITION_REASON, min_length=1, max_length=64)]
    """Why, one word for programs, such as `NoMatchingNode`."""

    message: Annotated[str, Field(max_length=MAX_MESSAGE_CHARACTERS)] = ""
    """Why, for people: what was seen, what is needed, what to do next."""

    observed_generation: Annotated[int, Field(ge=0, le=2**53)] | None = None
    """Generation of the spec that the observation is about."""

    last_transition_time: Timestamp
    """When the status last changed."""


Conditions = Annotated[tuple[Condition, ...], Field(strict=False, max_length=MAX_CONDITIONS), ListMap(("type",))]
"""Observations, one per type."""

Generation = Annotated[int, Field(ge=0, le=2**53)]
"""Generation of the spec that a status is about; an older one says that its writer has not looked yet."""
