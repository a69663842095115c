"""The settings of a backend that a request may carry, by name."""

from __future__ import annotations

from collections.abc import Mapping

from hpi_agent.engines.base import EngineRequest
from hpi_core.errors import Refused
from hpi_core.spelling import did_you_mean


def read_options(request: EngineRequest, defaults: Mapping[str, str | int]) -> dict[str, str | int]:
    """Return every setting of a backend: those of the request, and the defaults of the others.

    Args:
        request: What is asked.
        defaults: The settings that the backend has, with their defaults.

    Raises:
        Refused: The request names one that the backend does not have.
    """
    for name, _ in request.options:
        if name not in defaults:
            hint = did_you_mean(name, list(defaults))
            raise Refused(f"option {name!r} is not known to the backend {request.backend}{hint}")
    return {**defaults, **dict(request.options)}
