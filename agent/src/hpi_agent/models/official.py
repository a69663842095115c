"""Where the official model of a name is: on a model hub, or as an archive of PaddleX's own; pure but for the reader."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from hpi_agent.configuration import configs_directory
from hpi_core.formats import ModelFormat

Hub = Literal["hf", "modelscope"]
"""Scheme of a hub's sources; both have the same repositories."""

NAME: Final = "NAME"
"""Stands for the model's name in the address of archives."""

Names = Annotated[frozenset[str], Field(min_length=1)]


class OfficialModels(BaseModel):
    """The content of `configs/knowledge/official_models.yml`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1]
    source: str
    owner: str
    """Of the repositories on the hubs."""
    hub: Names
    """Models that the hubs have in Paddle's format."""
    onnx: Names
    """Models that the hubs have as ONNX files, in repositories of their own."""
    archive: str
    archives: Names
    """Models in Paddle's format that are archives and on no hub."""
    other_formats: Names
    """Models in formats that no engine here runs."""


def official_source(name: str, model_format: ModelFormat, models: OfficialModels, hub: Hub = "hf") -> str | None:
    """Return the source of an official model in some format, or None when there is none.

    Args:
        name: PaddleX's name of the model.
        model_format: What is wanted.
        models: What there is.
        hub: Which hub to take.
    """
    if model_format == "onnx":
        return f"{hub}://{models.owner}/{name}_onnx" if name in models.onnx else None
    if model_format != "paddle":
        # Nobody offers the offline models of Ascend.
        return None
    if name in models.hub:
        return f"{hub}://{models.owner}/{name}"
    return models.archive.replace(NAME, name) if name in models.archives else None


FORMATS: Final[dict[str, tuple[ModelFormat, ...]]] = {
    "Auto": ("onnx", "paddle"),
    "ONNX": ("onnx",),
    "Paddle": ("paddle",),
}
"""Formats to look for, by the manifest's word. An official ONNX file comes first: it needs no conversion."""


def official_model(name: str, wanted_format: str) -> str | None:
    """Return the source of PaddleX's official model of a name, or None where there is none in that format.

    Args:
        name: PaddleX's name of the model.
        wanted_format: The manifest's word: `Auto`, `ONNX`, `Paddle` or `OM`.
    """
    models = _own_table()
    found = (official_source(name, one, models) for one in FORMATS.get(wanted_format, ()))
    return next((source for source in found if source is not None), None)


@cache
def _own_table() -> OfficialModels:
    return read_official_models()


def read_official_models(path: Path | None = None) -> OfficialModels:
    """Return the table of official models.

    Args:
        path: The file; None: the project's own.

    Raises:
        ValidationError: It is not such a table.
        OSError: It cannot be read.
    """
    path = path or configs_directory() / "knowledge" / "official_models.yml"
    return OfficialModels.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
