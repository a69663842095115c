"""The model directories of a plan: what every role, building, serving or explaining, begins with."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hpi_agent.configuration import configs_directory
from hpi_agent.models.assemble import AssembledModel, Fetching, assemble
from hpi_agent.models.sources.fetched import Progress
from hpi_agent.models.sources.settings import SourceSettings
from hpi_agent.pipelines.effective import Effective, ModelUse
from hpi_agent.store.directory import Store

Say = Callable[[dict[str, Any]], None]
"""Receives events: `fetching` while files of a model come, `fetched` with what a person should know of them."""


def tell_nobody(_: dict[str, Any]) -> None:
    """Tell nobody of any event."""


def assemble_models(
    plan: Effective, store: Store, sources: SourceSettings | None = None, say: Say = tell_nobody
) -> tuple[AssembledModel, ...]:
    """Return the model directories of a plan, in the order of its models.

    Args:
        plan: What the models are.
        store: Where what is fetched or assembled is kept.
        sources: How sources are had; None: as the environment says.
        say: Receives events.

    Raises:
        HpiError: A source cannot deliver, or a digest differs.
    """
    settings = SourceSettings.read(os.environ) if sources is None else sources
    return tuple(_assembled(use, store, settings, say) for use in plan.models)


def _assembled(use: ModelUse, store: Store, settings: SourceSettings, say: Say) -> AssembledModel:
    from hpi_agent.engines.onnxruntime import read_metadata

    is_told = False

    def tell(progress: Progress) -> None:
        nonlocal is_told
        is_told = True
        say(fetching_event(use.name, progress))

    model = assemble(
        use.name,
        use.source,
        use.digest,
        store=store,
        models=configs_directory() / "models",
        read_metadata=read_metadata,
        wanted_format=use.format,
        fetching=Fetching(use.endpoint, use.credentials, settings, tell),
    )
    if is_told or model.notes:
        say({"event": "fetched", "model": use.name, "notes": list(model.notes)})
    return model


def fetching_event(model: str, progress: Progress) -> dict[str, Any]:
    """Return the event that tells how far the files of a model have come."""
    return {
        "event": "fetching",
        "model": model,
        "doneBytes": progress.done_bytes,
        "totalBytes": progress.total_bytes,
        "waiting": progress.is_waiting,
    }
