"""One resolution: everything that shapes the choice for one model on this machine, and the candidates it leaves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast, get_args

from hpi_agent.building.candidates import candidates_of
from hpi_agent.building.files import ModelFiles, find_files, make_files
from hpi_agent.building.key_parts import accuracy_of, engine_model, granularity_of, installation_of, model_key
from hpi_agent.building.placement import Placement
from hpi_agent.building.progress import ModelProgress
from hpi_agent.building.site import Site
from hpi_agent.building.trial import Bounds
from hpi_agent.engines.base import TensorSpec
from hpi_agent.engines.onnx_file import read_onnx
from hpi_agent.models.assemble import AssembledModel, read_inference_yml
from hpi_agent.models.paddle_files import read_inputs
from hpi_agent.models.sources.files import INFERENCE_YML
from hpi_agent.pipelines.effective import Effective, ModelUse
from hpi_agent.samples.compiled_shapes import compiled_profile, shape_profiles
from hpi_agent.samples.gather import ModelInputs, sample_identity
from hpi_agent.samples.profile import Profile, declared_profile
from hpi_agent.select.answers import Settings, family_of, settings_of
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.candidates import Candidates
from hpi_agent.select.decision import Decision
from hpi_agent.select.device_key import Granularity, device_document
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.keys import Document, engine_document, resolution_document
from hpi_agent.select.knowledge import Row, environment_of
from hpi_agent.select.wish import Wish, check_device, read_wish
from hpi_core.api.v1alpha1.pipeline import Build
from hpi_core.digest import PREFIX, digest_of_json
from hpi_core.errors import Bug
from hpi_core.formats import DType

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
    """Shapes by input: those that the model declares; on an accelerator those that engines are compiled for."""
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

        Both on the processors, whatever device was asked for: what a device computes is to be judged. The second stands
        in where Paddle cannot load its own program: version 4 of PIR in Paddle 3.2.2, say.
        """
        found = []
        if self.model.paddle is not None and self.site.runtimes["paddle"] is not None:
            found.append(Candidate("paddle", "float32", self.site.threads, WITHOUT_ONEDNN))
        if self.files.onnx is not None and self.site.runtimes["onnxruntime"] is not None:
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
        kind = "architecture" if self.site.device.kind == "cpu" else "device"
        known = "the knowledge table" if self.row.known else f"the order of the {kind}: the table has no such model"
        return f"not measured yet; first that loads, by {known}"

    @property
    def unverified_reason(self) -> str:
        """Why something else serves until the decided engine is verified under the driver of this machine."""
        return f"stands in: the decided engine was not verified under the driver {self._driver} yet"

    @property
    def granularity(self) -> Granularity:
        """How far the facts of an accelerator count in keys."""
        return granularity_of(self.build)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the order of candidates has to know: what stands in for what, and why."""
        return self.site.knowledge.notes(self.row, environment_of(self.site.hardware))

    @property
    def _driver(self) -> str | None:
        accelerator = self.site.hardware.accelerator
        return None if accelerator is None else accelerator.driver

    def is_verified(self, decision: Decision) -> bool:
        """Say whether a decision of this resolution holds under the driver of this machine."""
        if self._driver is None or self.build.driver_match != "Verified":
            return True
        return self._driver in decision.verified_on_drivers

    def verified_on_drivers(self, decision: Decision | None, chosen: str | None) -> tuple[str, ...]:
        """Return the drivers under which a new choice holds.

        Args:
            decision: What was decided before, or None.
            chosen: Name in the store of the engine that is chosen now.
        """
        if self._driver is None:
            return ()
        # Another engine was chosen under those drivers: what is chosen now was not judged under them.
        same = decision is not None and decision.chosen is not None and decision.chosen.engine_key == chosen
        before = decision.verified_on_drivers if decision is not None and same else ()
        return (*(one for one in before if one != self._driver), self._driver)

    def placement(self, candidate: Candidate) -> Placement:
        """Return where a candidate computes on this machine, and what it is compiled for."""
        if candidate.device == "cpu":
            return Placement()
        access = self.site.access
        profiles = shape_profiles(self.profile) if candidate.is_compiled else ()
        return Placement(access.device, profiles, self.build.device_memory_bytes, access.environment)

    def timing_cache(self, candidate: Candidate) -> Path | None:
        """Return the file of the store with measurements of kernels for a candidate's compiler and device.

        It is no entry of the store: nothing depends on it but the time of the next build.
        """
        if not candidate.is_compiled:
            return None
        measured = {
            "compiler": self.site.device_runtimes.get("tensorrt"),
            "backend": candidate.backend,
            "device": device_document(candidate, self.site.hardware, Granularity()),
        }
        digits = digest_of_json(measured).removeprefix(PREFIX)
        return self.site.store.root / "timing" / f"{candidate.backend}-{digits[:16]}.cache"

    def model_path(self, candidate: Candidate) -> Path:
        """Return the file that a candidate is made of."""
        if candidate.model_format == "om":
            if self.model.om is None:
                raise Bug(f"model {self.model.name!r} has no offline model, {candidate.name} wants one")
            return self.model.om
        if candidate.model_format == "paddle":
            if self.model.paddle is None:
                raise Bug(f"model {self.model.name!r} has no files in Paddle's format, {candidate.name} wants them")
            return self.model.paddle.program
        if self.files.onnx is None:
            raise Bug(f"model {self.model.name!r} has no ONNX file, {candidate.name} wants one: {self.files.no_onnx}")
        return self.files.onnx

    def engine_document(self, candidate: Candidate) -> Document:
        """Return everything that shapes the engine of a candidate."""
        model = engine_model(self.model, self.files, candidate)
        return engine_document(
            model, candidate, self.profile, self.site.hardware, installation_of(self.site), self.granularity
        )

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
        candidates = candidates_of(self.site, self.model, files, self.wish, self.row, self.build)
        return replace(self, files=files, candidates=candidates)


def resolve_plan(
    plan: Effective, models: tuple[AssembledModel, ...], build: Build, site: Site
) -> tuple[Resolution, ...]:
    """Return a resolution for every model of a plan, each model once.

    Raises:
        Refused: A model's settings cannot be honoured.
        Bug: The plan is for another device than the site.
    """
    if plan.device != site.device:
        raise Bug(f"the plan is for the device {plan.device}, the site was read for {site.device}")
    found: dict[str, Resolution] = {}
    for use, model in zip(plan.models, models, strict=True):
        wish = read_wish(f"hpi_config of {use.name}", use.settings)
        found.setdefault(use.name, resolve(use, model, wish, build, site))
    return tuple(found.values())


def resolve(use: ModelUse, model: AssembledModel, wish: Wish, build: Build, site: Site) -> Resolution:
    """Return what has to be decided for one model; nothing is built, converted or written.

    Raises:
        Refused: The device cannot honour the wish, `inference.yml` contradicts the model file, or a sample of the
            user's cannot be used.
    """
    allowed = build.fallback == "Allowed"
    check_device(f"hpi_config of {model.name}", wish, site.device.kind, fallback_allowed=allowed)
    inference = read_inference_yml(model.directory / INFERENCE_YML)
    specs = _declared_inputs(model)
    inputs = ModelInputs(model.name, specs or (), inference, model.directory, use.part)
    profile = declared_profile(inference, family_of(inference), specs)
    if site.device.kind != "cpu":
        profile = compiled_profile(profile, specs, wish, use.part)
    environment = environment_of(site.hardware)
    row = site.knowledge.row(model.name, environment.name, environment.unknown)
    files = find_files(model, site.store, site.environment, profile, conversion_allowed=wish.conversion_allowed)
    document = resolution_document(
        model_key(model, site, wish),
        wish,
        accuracy_of(build),
        profile,
        sample_identity(inputs, site.samples, only_model=use.alone),
        row,
        site.hardware,
        installation_of(site),
        fallback_allowed=allowed,
        settings=settings_of(inference),
        granularity=granularity_of(build),
    )
    candidates = candidates_of(site, model, files, wish, row, build)
    return Resolution(site, use, model, files, wish, build, inputs, profile, row, candidates, document)


def _declared_inputs(model: AssembledModel) -> tuple[TensorSpec, ...] | None:
    """Return what the model files declare of their inputs, or None where only Paddle itself can tell."""
    if model.onnx is not None:
        return read_onnx(model.onnx, weights=False).inputs
    declared = None if model.paddle is None else read_inputs(model.paddle)
    if declared is None or any(one.dtype not in DTYPES for one in declared):
        return None
    return tuple(TensorSpec(one.name, cast(DType, one.dtype), one.shape) for one in declared)
