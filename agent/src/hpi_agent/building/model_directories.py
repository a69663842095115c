"""The model directories of a plan: what every role, building, serving or explaining, begins with."""

from __future__ import annotations

from hpi_agent.configuration import configs_directory
from hpi_agent.models.assemble import AssembledModel, assemble
from hpi_agent.pipelines.effective import Effective
from hpi_agent.store.directory import Store


def assemble_models(plan: Effective, store: Store) -> tuple[AssembledModel, ...]:
    """Return the model directories of a plan, in the order of its models.

    Raises:
        HpiError: A source cannot deliver, or a digest differs.
    """
    from hpi_agent.engines.onnxruntime import read_metadata

    folder = configs_directory() / "models"
    return tuple(
        assemble(
            use.name,
            use.source,
            use.digest,
            store=store,
            models=folder,
            read_metadata=read_metadata,
            wanted_format=use.format,
        )
        for use in plan.models
    )
