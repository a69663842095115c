"""Gather the inputs on which a model's engines are judged and timed.

In this order: the user's folder, the renderer of the model's task family, seeded noise at the declared shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.base import TensorSpec, format_shape
from hpi_agent.samples.drawing import BUILT_IN, font_identity
from hpi_agent.samples.files import is_picture
from hpi_agent.samples.folder import FolderDigest, folder_of, folder_samples, list_files, read_files
from hpi_agent.samples.noise import NOISE_VERSION, noise_samples
from hpi_agent.samples.operators import UnknownPreparation
from hpi_agent.samples.preparation import Preparation
from hpi_agent.samples.profile import Profile, declared_input_data, declared_profile
from hpi_agent.samples.read_preparation import read_preparation
from hpi_agent.samples.render import rendered_samples, renderer_identity
from hpi_agent.samples.sample import ModelInputs, Origin, Sample, SampleSet
from hpi_agent.select.answers import TaskFamily, family_of
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused

__all__ = ["ModelInputs", "Sample", "SampleSet", "gather", "sample_identity"]

SEED: Final = 20_260_101
"""Where the random choices of the renderer and the noise begin."""


@dataclass(frozen=True)
class _Plan:
    """Where the samples of a model come from; decided without the model file and without making them."""

    origin: Origin
    family: TaskFamily | None
    preparation: Preparation | None
    note: str
    files: tuple[Path, ...]


def gather(
    model: ModelInputs,
    *,
    folder: Path | None = None,
    only_model: bool = False,
    seed: int = SEED,
    wished: Profile | None = None,
) -> SampleSet:
    """Return the samples of a model; the same for the same arguments and the same files.

    Args:
        model: What is known of the model.
        folder: The user's folder of samples, or None.
        only_model: Whether the pipeline has this model alone: its samples may then lie in the folder itself.
        seed: Where random choices begin, at least 0.
        wished: Shapes that take the place of the declared ones, input by input: what an engine is compiled for is what
            it is judged on.

    Raises:
        Refused: `inference.yml` contradicts the model file, or a file of the user's cannot be used.
        TooLarge: The user's samples exceed a limit.
    """
    plan = _plan(model, folder, only_model)
    profile = {**declared_profile(model.inference, plan.family, model.specs), **(wished or {})}
    data = declared_input_data(model.inference, profile)
    if plan.origin == "folder":
        samples, digest = _from_folder(model, plan, profile)
    else:
        digest = _digest(model, plan, seed)
        if plan.preparation is None:
            samples = noise_samples(model.specs, profile, data, seed)
        else:
            samples = rendered_samples(_only_input(model, plan), profile, plan.preparation, seed)
    return SampleSet(samples, plan.origin, plan.family, digest, "; ".join(filter(None, (plan.note, _font_note(plan)))))


def sample_identity(
    model: ModelInputs, folder: Path | None = None, *, only_model: bool = False, seed: int = SEED
) -> dict[str, str]:
    """Return origin and digest of what `gather` would return, without rendering; for keys.

    Neither depends on `model.specs`: the digest of the model stands in the same key.

    Raises:
        Refused: `inference.yml` is malformed, or a file of the user's cannot be read.
        TooLarge: The user's samples exceed a limit.
    """
    plan = _plan(model, folder, only_model)
    if plan.origin != "folder":
        return {"origin": plan.origin, "digest": _digest(model, plan, seed)}
    digest = FolderDigest()
    for path, content in read_files(plan.files):
        digest.add(path, content)
    return {"origin": plan.origin, "digest": _folder_digest(model, plan, digest)}


def _plan(model: ModelInputs, folder: Path | None, only_model: bool) -> _Plan:
    family = family_of(model.inference)
    preparation, note = _preparation(model, family)
    if folder is not None:
        own = folder_of(model.name, folder, only_model)
        if own is not None:
            return _Plan("folder", family, preparation, note, list_files(own))
        note = f"{folder} has no folder {model.name!r}" + (f"; {note}" if note else "")
    # The family stays on noise too: whoever compares answers sees by the origin that there is nothing to compare.
    return _Plan("noise" if preparation is None else "rendered", family, preparation, note, ())


def _preparation(model: ModelInputs, family: TaskFamily | None) -> tuple[Preparation | None, str]:
    if family is None:
        return None, "the PostProcess of inference.yml names no task whose pictures are known here"
    try:
        return read_preparation(model.name, family, model.inference, model.settings), ""
    except UnknownPreparation as error:
        return None, str(error)


def _font_note(plan: _Plan) -> str:
    if plan.origin != "rendered" or font_identity() != BUILT_IN:
        return ""
    return f"drawn with {BUILT_IN}: font-source-sans-pro is not installed"


def _only_input(model: ModelInputs, plan: _Plan) -> TensorSpec:
    """Return the one input of a model that takes pictures."""
    fits = len(model.specs) == 1 and model.specs[0].dtype == "float32" and len(model.specs[0].shape) == 4
    if not fits or model.specs[0].shape[1] not in (None, 3):
        seen = [f"{spec.name} {spec.dtype} {format_shape(spec.shape)}" for spec in model.specs]
        raise Refused(
            f"inference.yml of {model.name} in {model.directory} is that of a {plan.family} model, which takes one "
            f"float32 tensor (?, 3, ?, ?); the model file declares {seen}; one of them is wrong"
        )
    return model.specs[0]


def _from_folder(model: ModelInputs, plan: _Plan, profile: Profile) -> tuple[tuple[Sample, ...], str]:
    files = list(read_files(plan.files))
    digest = FolderDigest()
    for path, content in files:
        digest.add(path, content)
    shapes = None
    if plan.preparation is not None and any(is_picture(path) for path, _ in files):
        shapes = profile[_only_input(model, plan).name]
    samples = folder_samples(files, model.specs, plan.preparation, shapes, plan.note)
    return samples, _folder_digest(model, plan, digest)


def _folder_digest(model: ModelInputs, plan: _Plan, files: FolderDigest) -> str:
    return digest_of_json({"files": files.value, **_prepared(model, plan)})


def _digest(model: ModelInputs, plan: _Plan, seed: int) -> str:
    if plan.preparation is None:
        return digest_of_json({"noise": {"version": NOISE_VERSION, "seed": seed}, **_prepared(model, plan)})
    return digest_of_json({"rendered": renderer_identity(seed), **_prepared(model, plan)})


def _prepared(model: ModelInputs, plan: _Plan) -> Mapping[str, Any]:
    """Return what of `inference.yml` and the pipeline's settings shapes the samples."""
    preparation = None if plan.preparation is None else asdict(plan.preparation)
    return {"family": plan.family, "preparation": preparation, "declared": _declared(model.inference)}


def _declared(inference: Mapping[str, Any]) -> str:
    hpi = inference.get("Hpi")
    # As text: a malformed part may hold what JSON has no word for, and is refused when the samples are made.
    return repr(hpi.get("backend_configs") if isinstance(hpi, Mapping) else hpi)
