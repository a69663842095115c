"""The parts of keys that come from a manifest, a model's files and a site."""

from __future__ import annotations

from collections.abc import Mapping

from hpi_agent.building.files import ModelFiles
from hpi_agent.building.site import Site
from hpi_agent.convert.conversion import conversion_document
from hpi_agent.models.assemble import AssembledModel
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.device_key import Granularity
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.keys import Installation, ModelKey
from hpi_agent.select.wish import Wish
from hpi_core.api.v1alpha1.pipeline import Build
from hpi_core.formats import Backend


def accuracy_of(build: Build) -> Accuracy:
    """Return what a manifest asks of answers."""
    asked = build.accuracy
    parts = asked.tolerance_parts_per_million
    return Accuracy(asked.level, None if parts is None else parts / 1e6, asked.minimum_samples)


def granularity_of(build: Build) -> Granularity:
    """Return how far a manifest lets the facts of an accelerator count."""
    return Granularity(build.driver_match, build.device_memory_bytes)


def model_key(model: AssembledModel, site: Site, wish: Wish) -> ModelKey:
    """Return what names the model of a decision: the same before and after its files are converted."""
    # An offline model is a candidate of an NPU alone: elsewhere it is a file like any other.
    om_digest = model.om_digest if site.device.kind == "npu" else None
    if model.paddle is None:
        return ModelKey(model.name, model.onnx_digest or "", "onnx", om_digest=om_digest)
    conversion = None
    if site.environment is not None and wish.conversion_allowed:
        conversion = conversion_document(model.paddle, site.environment)
    return ModelKey(model.name, model.paddle.digest, "paddle", conversion, model.onnx_digest, om_digest)


def engine_model(model: AssembledModel, files: ModelFiles, candidate: Candidate) -> ModelKey:
    """Return what names the very file that an engine is made of."""
    if candidate.model_format == "om":
        return ModelKey(model.name, model.om_digest or "", "om")
    if candidate.model_format == "paddle" and model.paddle is not None:
        return ModelKey(model.name, model.paddle.digest, "paddle")
    if files.onnx_digest is not None or model.paddle is None:
        return ModelKey(model.name, files.onnx_digest or "", "onnx")
    return ModelKey(model.name, model.paddle.digest, "paddle", files.conversion)


def installation_of(site: Site) -> Installation:
    """Return what is installed, as keys say it."""
    lock = None if site.environment is None else site.environment.lock_digest
    return Installation(_named(site.runtimes), site.plugin, lock, _named(site.device_runtimes))


def _named(runtimes: Mapping[Backend, str | None]) -> dict[str, str | None]:
    return dict(runtimes.items())
