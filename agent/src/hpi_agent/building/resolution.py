"""One resolution: everything that shapes the choice for one model on this machine, and the candidates it leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast, get_args

from hpi_agent.building.files import ModelFiles, find_files, make_files
from hpi_agent.building.progress import ModelProgress
from hpi_agent.building.site import Site
from hpi_agent.building.trial import Bounds
from hpi_agent.convert.conversion import conversion_document
from hpi_agent.engines.base import TensorSpec
from hpi_agent.engines.onnx_file import read_onnx
from hpi_agent.models.assemble import INFERENCE_YML, AssembledModel, read_inference_yml
from hpi_agent.models.paddle_files import read_inputs
from hpi_agent.pipelines.effective import Effective, ModelUse
from hpi_agent.samples.gather import ModelInputs, sample_identity
from hpi_agent.samples.profile import Profile, declared_profile
from hpi_agent.select.answers import Settings, family_of, settings_of
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.candidates import Candidates, ModelFacts, Offer, enumerate_candidates
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.keys import Document, Installation, ModelKey, engine_document, resolution_document
from hpi_agent.select.knowledge import Row, environment_of
from hpi_agent.select.wish import Wish, read_wish
from hpi_core.api.v1alpha1.pipeline import Build
from hpi_core.digest import digest_of_json
from hpi_core.errors import Bug
from hpi_core.formats import DType

BFLOAT16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})
"""Instruction sets that compute in bfloat16."""

DTYPES: Final = frozenset(get_args(DType))

WITHOUT_ONEDNN: Final = (("run_mode", "paddle"),)
AS_WRITTEN: Final = (("graph_optimization", "off"),)


@dataclass(frozen=True)
class Resolution:
    """What has to be decided for one model, and everything the decision depends on."""

    site: Site
    use: ModelUse
    model: AssembledModel
    files: ModelFiles
    wish: Wish
    build: Build
    inputs: ModelInputs
    profile: Profile
    row: Row
    candidates: Candidates
    document: Document
    """Its digest names the decision."""

    @property
    def key(self) -> str:
        """`sha256:<hex>` of the document."""
        return digest_of_json(self.document)

    @property
    def accuracy(self) -> Accuracy:
        """What is asked of a candidate's answers."""
        return accuracy_of(self.build)

    @property
    def settings(self) -> Settings:
        """The part of the model's post-processing that decides what is an answer."""
        return settings_of(self.inputs.inference)

    @property
    def references(self) -> tuple[Candidate, ...]:
        """Who gives the answers that count: Paddle without oneDNN, else ONNX Runtime on the graph as it is written.

        The second stands in where Paddle cannot load its own program: version 4 of PIR in Paddle 3.2.2, say.
        """
        found = []
        if self.model.paddle is not None and self.site.runtimes["paddle"] is not None:
            found.append(Candidate("paddle", "float32", self.site.threads, WITHOUT_ONEDNN))
        if self.files.onnx is not None:
            found.append(Candidate("onnxruntime", "float32", self.site.threads, AS_WRITTEN))
        return tuple(found)

    def reference_name(self, reference: Candidate) -> str:
        """Return a reference in words."""
        how = "without oneDNN" if reference.backend == "paddle" else "on the graph as it is written"
        return f"{reference.backend} {self.site.runtimes[reference.backend]} {how}, float32"

    @property
    def order_reason(self) -> str:
        """Why a candidate that was not measured is tried where it is tried."""
        if self.wish.backend is not None:
            return "asked for"
        known = (
            "the knowledge table" if self.row.known else "the order of the architecture: the table has no such model"
        )
        return f"not measured yet; first that loads, by {known}"

    def model_path(self, candidate: Candidate) -> Path:
        """Return the file that a candidate is made of."""
        if candidate.model_format == "paddle":
            if self.model.paddle is None:
                raise Bug(f"model {self.model.name!r} has no files in Paddle's format, {candidate.name} wants them")
            return self.model.paddle.program
        if self.files.onnx is None:
            raise Bug(f"model {self.model.name!r} has no ONNX file, {candidate.name} wants one: {self.files.no_onnx}")
        return self.files.onnx

    def engine_document(self, candidate: Candidate) -> Document:
        """Return everything that shapes the engine of a candidate."""
        model = _engine_model(self.model, self.files, candidate)
        return engine_document(model, candidate, self.profile, self.site.hardware, _installation(self.site))

    def engine_key(self, candidate: Candidate) -> str:
        """Return the name of a candidate's engine in the store, `sha256:<hex>`."""
        return digest_of_json(self.engine_document(candidate))

    def with_files_made(self, bounds: Bounds, progress: ModelProgress) -> Resolution:
        """Return the same resolution with its model files compared and converted as far as they can be."""
        if self.site.environment is None:
            return self
        files = make_files(
            self.files,
            self.model,
            self.site.store,
            self.site.environment,
            self.profile,
            bounds,
            progress,
            conversion_allowed=self.wish.conversion_allowed,
        )
        candidates = _candidates(self.site, self.model, files, self.wish, self.row, self.build)
        return replace(self, files=files, candidates=candidates)


def accuracy_of(build: Build) -> Accuracy:
    """Return what a manifest asks of answers."""
    asked = build.accuracy
    parts = asked.tolerance_parts_per_million
    return Accuracy(asked.level, None if parts is None else parts / 1e6, asked.minimum_samples)


def resolve_plan(
    plan: Effective, models: tuple[AssembledModel, ...], build: Build, site: Site
) -> tuple[Resolution, ...]:
    """Return a resolution for every model of a plan, each model once."""
    found: dict[str, Resolution] = {}
    for use, model in zip(plan.models, models, strict=True):
        wish = read_wish(f"hpi_config of {use.name}", use.settings)
        found.setdefault(use.name, resolve(use, model, wish, build, site))
    return tuple(found.values())


def resolve(use: ModelUse, model: AssembledModel, wish: Wish, build: Build, site: Site) -> Resolution:
    """Return what has to be decided for one model; nothing is built, converted or written.

    Raises:
        Refused: `inference.yml` contradicts the model file, or a sample of the user's cannot be used.
    """
    inference = read_inference_yml(model.directory / INFERENCE_YML)
    specs = _declared_inputs(model)
    inputs = ModelInputs(model.name, specs or (), inference, model.directory, use.part)
    profile = declared_profile(inference, family_of(inference), specs)
    environment = environment_of(site.hardware.architecture)
    row = site.knowledge.row(model.name, environment, site.hardware.architecture)
    files = find_files(model, site.store, site.environment, profile, conversion_allowed=wish.conversion_allowed)
    document = resolution_document(
        _model_key(model, site, wish),
        wish,
        accuracy_of(build),
        profile,
        sample_identity(inputs, site.samples, only_model=use.alone),
        row,
        site.hardware,
        _installation(site),
        fallback_allowed=build.fallback == "Allowed",
        settings=settings_of(inference),
    )
    candidates = _candidates(site, model, files, wish, row, build)
    return Resolution(site, use, model, files, wish, build, inputs, profile, row, candidates, document)


def _declared_inputs(model: AssembledModel) -> tuple[TensorSpec, ...] | None:
    """Return what the model files declare of their inputs, or None where only Paddle itself can tell."""
    if model.onnx is not None:
        return read_onnx(model.onnx, weights=False).inputs
    declared = None if model.paddle is None else read_inputs(model.paddle)
    if declared is None or any(one.dtype not in DTYPES for one in declared):
        return None
    return tuple(TensorSpec(one.name, cast(DType, one.dtype), one.shape) for one in declared)


def _candidates(site: Site, model: AssembledModel, files: ModelFiles, wish: Wish, row: Row, build: Build) -> Candidates:
    facts = ModelFacts(files.onnx is not None, files.convertible, model.paddle is not None, files.no_onnx)
    bfloat16 = not BFLOAT16_FLAGS.isdisjoint(site.hardware.isa_flags)
    offer = Offer(site.hardware.architecture, site.threads, site.runtimes, bfloat16)
    allowed = build.fallback == "Allowed"
    return enumerate_candidates(facts, wish, row, offer, accuracy_of(build), fallback_allowed=allowed)


def _model_key(model: AssembledModel, site: Site, wish: Wish) -> ModelKey:
    """Return what names the model of a decision: the same before and after its files are converted."""
    if model.paddle is None:
        return ModelKey(model.name, model.onnx_digest or "", "onnx")
    conversion = None
    if site.environment is not None and wish.conversion_allowed:
        conversion = conversion_document(model.paddle, site.environment)
    return ModelKey(model.name, model.paddle.digest, "paddle", conversion, model.onnx_digest)


def _engine_model(model: AssembledModel, files: ModelFiles, candidate: Candidate) -> ModelKey:
    """Return what names the very file that an engine is made of."""
    if candidate.model_format == "paddle" and model.paddle is not None:
        return ModelKey(model.name, model.paddle.digest, "paddle")
    if files.onnx_digest is not None or model.paddle is None:
        return ModelKey(model.name, files.onnx_digest or "", "onnx")
    return ModelKey(model.name, model.paddle.digest, "paddle", files.conversion)


def _installation(site: Site) -> Installation:
    lock = None if site.environment is None else site.environment.lock_digest
    runtimes: dict[str, str | None] = dict(site.runtimes.items())
    return Installation(runtimes, site.plugin, lock)
