"""HPIPipeline → the effective PaddleX configuration of one machine, and what is not applicable here (pure)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

from hpi_agent.engines.base import Device
from hpi_agent.pipelines.inference_settings import (
    build_problems,
    device_of,
    hpi_settings,
    inference_problems,
)
from hpi_agent.pipelines.ocr_config import (
    JsonObject,
    find_missing,
    find_unknown,
    part_at,
    switched_off_by,
    walk_models,
)
from hpi_agent.pipelines.serving_settings import serving_problems
from hpi_agent.select.wish import check_device, read_wish
from hpi_core.api.v1alpha1.pipeline import (
    CLUSTER_ONLY,
    Build,
    HPIPipeline,
    ModelSource,
    Module,
    PipelineSpec,
)
from hpi_core.errors import InvalidManifest, Refused
from hpi_core.spelling import did_you_mean


@dataclass(frozen=True)
class ModelUse:
    """One model that has to be there before the pipeline can be built."""

    path: str
    """Where it stands in the pipeline's YAML; for a single module, the module's name."""
    name: str
    source: str
    digest: str | None
    settings: JsonObject
    """The `hpi_config` that PaddleX arrives at for this model, by its own rules of inheritance."""
    part: JsonObject
    """The model's part of the pipeline's YAML; empty for a single module."""
    format: Literal["Auto", "Paddle", "ONNX", "OM"] = "Auto"
    alone: bool = False
    """Whether it is served without a pipeline."""
    endpoint: str | None = None
    """Address of the service behind the source, or None: the public one."""
    credentials: str | None = None
    """Name of the Secret with the source's credentials, or None."""


@dataclass(frozen=True)
class Effective:
    """What one machine runs for one HPIPipeline."""

    name: str
    """Name of the object."""
    pipeline_name: str | None
    """PaddleX's pipeline, or None for a single module."""
    config: JsonObject
    """PaddleX's YAML with the settings of the spec in it; models have no `model_dir` yet. Empty for a single module."""
    models: tuple[ModelUse, ...]
    device: Device
    """What computes; whether the machine has it, `hpi_agent.building.site` finds out."""
    hpi_config: JsonObject | None
    visualize: bool
    """Whether answers carry pictures when a request does not say."""
    not_applicable: tuple[str, ...]
    """One line per field that is set and that only a cluster can honour."""

    def with_directories(self, directories: Mapping[str, str]) -> JsonObject:
        """Return the configuration with `model_dir` set from a mapping of model paths to directories."""
        config = copy.deepcopy(self.config)
        for path, directory in directories.items():
            part_at(config, path)["model_dir"] = directory
        return config


OfficialModel = Callable[[str, str], "str | None"]
"""Returns the source of PaddleX's official model of a name in a format of the manifest's words, or None."""


def effective(
    manifest: HPIPipeline,
    registry: Callable[[str], JsonObject | None],
    official: OfficialModel = lambda name, wanted_format: None,
    given: str | None = None,
) -> Effective:
    """Return what one machine runs for a manifest.

    Args:
        manifest: A checked manifest.
        registry: Returns the YAML of a pipeline of PaddleX's registry by name, or None.
        official: Where a model comes from that has no source; without it such a model is refused.
        given: The device that a pod was given ($HPI_DEVICE); None: this is no pod of a cluster.

    Raises:
        InvalidManifest: A setting would change the answer and cannot be honoured here; every problem is listed.
    """
    spec = manifest.spec
    where = f"HPIPipeline {manifest.metadata.name}"
    problems = [
        *inference_problems(spec.inference, "spec.inference"),
        *build_problems(spec.build),
        *serving_problems(spec),
    ]
    device = device_of(spec.inference.device, given, problems)
    not_applicable = tuple(_not_applicable(manifest))
    if spec.module is not None:
        source = spec.module.model
        address = source.source or official(source.name, source.format)
        if address is None:
            problems.append(_without_source("spec.module.model", source.name, source.format))
        _raise(where, problems)
        settings = hpi_settings(spec.inference) or {}
        use = ModelUse(
            spec.module.name, source.name, address or "", source.digest, settings, {}, source.format, alone=True
        )
        use = _with_access(use, source)
        _raise(where, list(_wish_problems((use,), device, spec.build)))
        return Effective(
            manifest.metadata.name,
            None,
            {},
            (use,),
            device,
            hpi_settings(spec.inference),
            False,
            not_applicable,
        )
    config = _base_config(manifest, registry, problems)
    _raise(where, problems)
    for index, module in enumerate(spec.modules):
        problems += _apply_module(config, module, f"spec.modules[{index}]")
    problems += find_unknown(config)
    problems += find_missing(config)
    _raise(where, problems)
    models = tuple(_models(config, spec, official, problems))
    problems += _wish_problems(models, device, spec.build)
    _raise(where, problems)
    return Effective(
        manifest.metadata.name,
        config["pipeline_name"],
        config,
        models,
        device,
        hpi_settings(spec.inference),
        bool(config.get("Serving", {}).get("visualize", True)),
        not_applicable,
    )


def _raise(where: str, problems: list[str]) -> None:
    if problems:
        raise InvalidManifest(where, problems)


def _not_applicable(manifest: HPIPipeline) -> Iterator[str]:
    written = manifest.spec.model_dump(by_alias=True, exclude_unset=True)
    for name in CLUSTER_ONLY:
        if name in written:
            yield f"spec.{name}"
    if manifest.metadata.namespace is not None:
        yield "metadata.namespace"


def _without_source(place: str, name: str, wanted_format: str) -> str:
    wanted = "" if wanted_format == "Auto" else f" in the format {wanted_format}"
    return f"{place}.source: must be set: PaddleX has no official model {name!r}{wanted} that this release can run"


def _base_config(
    manifest: HPIPipeline, registry: Callable[[str], JsonObject | None], problems: list[str]
) -> JsonObject:
    spec = manifest.spec
    if spec.config is not None and spec.config.inline is None:
        problems.append("spec.config.configMapKeyRef: needs a cluster; write the YAML under spec.config.inline")
        return {}
    config = (
        copy.deepcopy(spec.config.inline)
        if spec.config is not None and spec.config.inline is not None
        else registry(spec.pipeline or "")
    )
    if config is None:
        advice = did_you_mean(spec.pipeline or "", ["OCR"], []) or "; this release serves 'OCR'"
        problems.append(f"spec.pipeline: {spec.pipeline!r} is not in PaddleX's registry{advice}")
        return {}
    if config.get("pipeline_name") != "OCR":
        place = "spec.pipeline" if spec.config is None else "config pipeline_name"
        problems.append(f"{place}: this release serves the pipeline 'OCR', got {config.get('pipeline_name')!r}")
    return config


def _apply_module(config: JsonObject, module: Module, where: str) -> Iterator[str]:
    try:
        target = part_at(config, module.path)
    except KeyError:
        paths = sorted(path for path, _ in walk_models(config))
        yield f"{where}.path: the pipeline has no {module.path!r}{did_you_mean(module.path, paths)}"
        return
    switch = switched_off_by(config, module.path)
    if switch is not None:
        yield (
            f"{where}: its settings would be ignored, because {switch} is false and {module.path} is not built; "
            f"take the entry out, or set {switch} to true"
        )
    if module.model is not None:
        target["model_name"] = module.model.name
    if module.inference is None:
        return
    yield from inference_problems(module.inference, f"{where}.inference")
    if module.inference.device is not None:
        yield f"{where}.inference.device: must be set in spec.inference: PaddleX has one device for a pipeline"
    if module.inference.use_hpip:
        target["use_hpip"] = True
    if module.inference.engine is not None:
        target["engine"] = module.inference.engine
    settings = hpi_settings(module.inference)
    if settings is not None:
        target["hpi_config"] = settings


def _models(config: JsonObject, spec: PipelineSpec, official: OfficialModel, problems: list[str]) -> Iterator[ModelUse]:
    given = {module.path: module.model for module in spec.modules if module.model is not None}
    for path, tree in walk_models(config):
        if switched_off_by(config, path) is not None:
            continue
        model = given.get(path)
        directory = tree.pop("model_dir", None)
        if not isinstance(tree.get("model_name"), str):
            problems.append(f"config {path}.model_name: must be the name of a model, got {tree.get('model_name')!r}")
            continue
        if directory is not None and not (isinstance(directory, str) and directory.startswith("/")):
            problems.append(f"config {path}.model_dir: must be an absolute path, got {directory!r}")
            continue
        if model is not None and model.source is not None and directory is not None:
            problems.append(f"config {path}.model_dir: must not be set when spec.modules gives a source for {path}")
        source = model.source if model is not None and model.source is not None else None
        if source is None and directory is not None:
            source = f"file://{quote(directory)}"
        wanted_format = "Auto" if model is None else model.format
        if source is None:
            source = official(tree["model_name"], wanted_format)
        if source is None:
            place = f"spec.modules[path={path}].model"
            problems.append(_without_source(place, tree["model_name"], wanted_format))
            continue
        settings = inherited_settings(config, path, hpi_settings(spec.inference))
        if model is None:
            yield ModelUse(path, tree["model_name"], source, None, settings, tree)
        else:
            use = ModelUse(path, tree["model_name"], source, model.digest, settings, tree, model.format)
            yield _with_access(use, model)


def _with_access(use: ModelUse, model: ModelSource) -> ModelUse:
    secret = model.credentials_secret_ref
    return replace(use, endpoint=model.endpoint, credentials=None if secret is None else secret.name)


def _wish_problems(models: tuple[ModelUse, ...], device: Device, build: Build) -> Iterator[str]:
    """Yield what models' settings ask that is not known, or that the device cannot honour; each once."""
    told: set[str] = set()
    for use in models:
        place = f"hpi_config of {use.name}"
        try:
            check_device(
                place, read_wish(place, use.settings), device.kind, fallback_allowed=build.fallback == "Allowed"
            )
        except Refused as refused:
            if str(refused) not in told:
                yield str(refused)
            told.add(str(refused))


def inherited_settings(config: JsonObject, path: str, argument: JsonObject | None) -> JsonObject:
    """Return the `hpi_config` that PaddleX arrives at for one model of a pipeline.

    Args:
        config: The pipeline's YAML.
        path: Where the model stands in it, such as `SubPipelines.DocPreprocessor.SubModules.DocUnwarping`.
        argument: What `create_pipeline` is given; it replaces the YAML's own top-level value, None leaves it.

    Source:
        paddlex 3.7.2, `inference/pipelines/base.py`: `{**parent, **child}` at each step, so that a child's
        `backend_config` replaces the parent's whole.
    """
    settings: JsonObject = dict(argument if argument is not None else config.get("hpi_config") or {})
    steps = path.split(".")
    for end in range(2, len(steps) + 1, 2):
        settings |= part_at(config, ".".join(steps[:end])).get("hpi_config") or {}
    return settings
