"""Model source → model directory: `inference.onnx` beside `inference.yml`, published in the store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from hpi_agent.models.source import WeightsFile, locate
from hpi_agent.store.directory import Store, digest_of_file
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused, Retry, SourceFailed

ASSEMBLY_FORMAT: Final = 1
"""Raised when the same inputs are assembled into something else; a part of the digest."""

FROM_METADATA: Final = "onnx_metadata"

MAX_INFERENCE_YML_BYTES: Final = 16 * 2**20
"""Largest `inference.yml` read; a dictionary of 18,708 characters makes 0.2 MB."""

MAX_INFERENCE_YML_DEPTH: Final = 64
"""Deepest nesting of an `inference.yml`: libyaml recurses in C and would take the process down."""

MetadataReader = Callable[[Path], dict[str, str]]
"""Returns the custom metadata of an ONNX file; raises EngineFailed when the file is not a model."""


@dataclass(frozen=True)
class AssembledModel:
    """A model directory that is ready to be loaded."""

    name: str
    directory: Path
    digest: str
    """SHA-256 of the weights file, as `sha256:<hex>`."""

    @property
    def onnx(self) -> Path:
        """The weights file."""
        return self.directory / "inference.onnx"


def assemble(
    name: str, source: str, wanted_digest: str | None, *, store: Store, models: Path, read_metadata: MetadataReader
) -> AssembledModel:
    """Return the model directory of one source; a directory of the user's is used in place, never written.

    Args:
        name: PaddleX's name of the model.
        source: Where the files come from; see `hpi_agent.models.source`.
        wanted_digest: `sha256:<hex>` that the weights must have, or None.
        store: Where assembled directories are published.
        models: Folder with `<name>.yml`, the part of `inference.yml` that weights files lack.
        read_metadata: Reads the custom metadata of an ONNX file.

    Raises:
        Refused: The digest differs, or the directory belongs to a model of another name.
        SourceFailed: The source cannot deliver, or the project has no `inference.yml` part for the model.
        Retry: The weights changed while they were read.
    """
    found = locate(source)
    weights = found.path if isinstance(found, WeightsFile) else found.path / "inference.onnx"
    try:
        digest = digest_of_file(weights)
    except OSError as error:
        raise SourceFailed(f"model {name!r}: {weights} cannot be read: {error.strerror}") from error
    if wanted_digest not in (None, digest):
        raise Refused(
            f"model {name!r}: {source} has {digest}, the manifest demands {wanted_digest}; one of them is wrong"
        )
    if not isinstance(found, WeightsFile):
        _check_name(name, found.path / "inference.yml")
        return AssembledModel(name, found.path, digest)
    part = _inference_part(name, models)
    key = digest_of_json({"format": ASSEMBLY_FORMAT, "weights": digest, "inference": part})
    directory = store.publish("models", key, partial(_write, weights, digest, part, read_metadata))
    return AssembledModel(name, directory, digest)


def _inference_part(name: str, models: Path) -> dict[str, Any]:
    path = models / f"{name}.yml"
    if not path.is_file():
        known = sorted(entry.stem for entry in models.glob("*.yml"))
        raise SourceFailed(
            f"model {name!r}: its source is a weights file alone and configs/models has no {name}.yml to complete it; "
            f"known: {known}. Use a model directory instead (file:///DIRECTORY)"
        )
    part: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return part


def _write(weights: Path, digest: str, part: dict[str, Any], read_metadata: MetadataReader, directory: Path) -> None:
    target = directory / "inference.onnx"
    shutil.copyfile(weights, target)
    if (copied := digest_of_file(target)) != digest:
        raise Retry(f"{weights} changed while it was read: it had {digest}, the copy has {copied}; start again")
    completed = dict(part)
    dictionary = part.get("PostProcess", {}).get("character_dict")
    if isinstance(dictionary, dict):
        characters = _characters(read_metadata(target), dictionary[FROM_METADATA])
        completed["PostProcess"] = {**part["PostProcess"], "character_dict": characters}
    (directory / "inference.yml").write_text(
        yaml.dump(completed, Dumper=_DUMPER, allow_unicode=True, sort_keys=False, width=1000), encoding="utf-8"
    )


def _characters(metadata: dict[str, str], key: str) -> list[str]:
    if key not in metadata:
        raise SourceFailed(f"the ONNX file must carry its characters as metadata {key!r}; it has {sorted(metadata)}")
    # Split at line feeds only: some characters of the dictionary are line separators to str.splitlines.
    return metadata[key].removesuffix("\n").split("\n")


def _check_name(name: str, path: Path) -> None:
    try:
        seen = _read_inference_yml(path)["Global"]["model_name"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        raise SourceFailed(f"model {name!r}: {path} must be YAML with Global.model_name: {error}") from error
    if seen != name:
        raise Refused(f"model {name!r}: {path} belongs to the model {seen!r}; correct the name or the source")


def _read_inference_yml(path: Path) -> Any:
    with path.open("rb") as file:
        data = file.read(MAX_INFERENCE_YML_BYTES + 1)
    if len(data) > MAX_INFERENCE_YML_BYTES:
        raise ValueError(f"it is larger than {MAX_INFERENCE_YML_BYTES} bytes")
    depth = 0
    for event in yaml.parse(data, Loader=PLAIN_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_INFERENCE_YML_DEPTH:
            raise ValueError(f"it nests deeper than {MAX_INFERENCE_YML_DEPTH} levels")
    return yaml.load(data, Loader=PLAIN_LOADER)  # noqa: S506 - a safe loader


# libyaml reads and writes the 18,708 characters of one dictionary about ten times faster; the result is the same.
PLAIN_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
