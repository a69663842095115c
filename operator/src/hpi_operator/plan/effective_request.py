"""What PaddleX arrives at for the models of a pipeline: their names, and the `hpi_config` of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hpi_core.api.v1alpha1.inference import Inference
from hpi_core.api.v1alpha1.model_source import ModelSource
from hpi_core.api.v1alpha1.pipeline import HPIPipeline

Format = Literal["Paddle", "ONNX", "OM"]


@dataclass(frozen=True)
class WantedModel:
    """One model of a pipeline, as far as the spec tells."""

    name: str
    digest: str | None
    """None: nobody has said."""
    format: Format
    """Format that the digest is of."""
    request: Mapping[str, Any]
    """The `hpi_config` that PaddleX arrives at."""


def wanted_models(pipeline: HPIPipeline) -> tuple[WantedModel, ...]:
    """Return the models of a pipeline by name: those that the spec names, and those that its YAML does.

    Of a pipeline of PaddleX's registry, whose YAML is not here, only those that the spec names.
    """
    spec = pipeline.spec
    general = hpi_settings(spec.inference)
    if spec.module is not None:
        return (_wanted(spec.module.model, general or {}),)
    config: Mapping[str, Any] = (spec.config.inline if spec.config is not None else None) or {}
    named = dict(_models_in(config))
    given = {one.path: one for one in spec.modules}
    found: dict[str, WantedModel] = {}
    for path in sorted({*named, *given}):
        module = given.get(path)
        inference = None if module is None else module.inference
        own = None if inference is None else hpi_settings(inference)
        request = inherited_settings(config, path, general, own)
        if module is not None and module.model is not None:
            found.setdefault(module.model.name, _wanted(module.model, request))
        elif path in named:
            found.setdefault(named[path], WantedModel(named[path], None, "Paddle", request))
    return tuple(found[name] for name in sorted(found))


def is_listed_whole(pipeline: HPIPipeline) -> bool:
    """Return whether `wanted_models` knows every model: a YAML of PaddleX's registry is not here."""
    return pipeline.spec.pipeline is None


def hpi_settings(inference: Inference) -> dict[str, Any] | None:
    """Return the settings of the engine `hpi` in PaddleX's words; None: there are none."""
    if inference.engine_config is not None:
        # PaddleX takes the settings of one engine, or those of several under the names of the engines.
        one = inference.engine_config.get("hpi", inference.engine_config)
        return dict(one) if isinstance(one, Mapping) else {}
    return None if inference.hpi_config is None else inference.hpi_config.to_paddlex()


def inherited_settings(
    config: Mapping[str, Any], path: str, argument: Mapping[str, Any] | None, own: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return the `hpi_config` that PaddleX arrives at for one model.

    Args:
        config: The pipeline's YAML.
        path: Where the model stands in it.
        argument: What the pipeline is made with; it replaces the YAML's own top-level value, None leaves it.
        own: Settings of the model's entry in `spec.modules`, which replace those of its part of the YAML.

    Source:
        paddlex 3.7.2, `inference/pipelines/base.py`: `{**parent, **child}` at each step.
    """
    top = argument if argument is not None else config.get("hpi_config")
    settings: dict[str, Any] = dict(top) if isinstance(top, Mapping) else {}
    here: Any = config
    steps = path.split(".")
    for place, step in enumerate(steps):
        here = here.get(step) if isinstance(here, Mapping) else None
        if place % 2 == 0:
            continue
        is_model = place == len(steps) - 1
        part = own if is_model and own is not None else (here or {}).get("hpi_config")
        if isinstance(part, Mapping):
            settings |= part
    return settings


def _wanted(model: ModelSource, request: Mapping[str, Any]) -> WantedModel:
    if model.format != "Auto":
        return WantedModel(model.name, model.digest, model.format, request)
    suffix = (model.source or "").partition("?")[0].rpartition(".")[2].lower()
    format_: Format = "ONNX" if suffix == "onnx" else "OM" if suffix == "om" else "Paddle"
    return WantedModel(model.name, model.digest, format_, request)


def _models_in(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and name of every model of a YAML."""
    for name, part in _parts(config, "SubModules"):
        if isinstance(part.get("model_name"), str):
            yield f"{prefix}SubModules.{name}", part["model_name"]
    for name, part in _parts(config, "SubPipelines"):
        yield from _models_in(part, f"{prefix}SubPipelines.{name}.")


def _parts(config: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    inner = config.get(key)
    for name, part in sorted(inner.items()) if isinstance(inner, Mapping) else ():
        if isinstance(part, Mapping):
            yield name, part
