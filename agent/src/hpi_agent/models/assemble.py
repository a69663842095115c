"""Model source → model directory: the model beside `inference.yml`; in the store unless it is a user's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from hpi_agent.models.paddle_files import PaddleModel, find_paddle_model
from hpi_agent.models.sources.fetch import fetch
from hpi_agent.models.sources.fetched import Tell, tell_nobody
from hpi_agent.models.sources.files import INFERENCE_YML, OM, ONNX, ModelDirectory
from hpi_agent.models.sources.link import link
from hpi_agent.models.sources.settings import DEFAULT_SETTINGS, SourceRequest, SourceSettings
from hpi_agent.models.sources.url import shown_address
from hpi_agent.store.directory import Store, digest_of_file
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused, Retry, SourceFailed
from hpi_core.formats import ModelFormat

ASSEMBLY_FORMAT: Final = 1
"""Raised when the same inputs are assembled into something else; a part of the digest."""

FROM_METADATA: Final = "onnx_metadata"

MAX_INFERENCE_YML_BYTES: Final = 16 * 2**20
"""Largest `inference.yml` read; a dictionary of 18,708 characters makes 0.2 MB."""

MAX_INFERENCE_YML_DEPTH: Final = 64
"""Deepest nesting of an `inference.yml`: libyaml recurses in C and would take the process down."""

MAX_PARSED: Final = 32
"""Most documents that are kept parsed: more than any pipeline has models."""

MetadataReader = Callable[[Path], dict[str, str]]
"""Returns the custom metadata of an ONNX file; raises EngineFailed when the file is not a model."""


WantedFormat = Literal["Auto", "Paddle", "ONNX", "OM"]
"""`Auto` takes every format that is there."""


@dataclass(frozen=True)
class AssembledModel:
    """A model directory: `inference.yml` beside the model in one format or in several."""

    name: str
    directory: Path
    digest: str
    """What a manifest's digest is compared with: that of the ONNX file, else of the model in Paddle's format, else of
    the offline model of Ascend; only formats that are there and wanted count. `sha256:<hex>`."""
    onnx: Path | None
    """The ONNX file, or None: there is none, or another format is wanted."""
    onnx_digest: str | None
    """`sha256:<hex>` of the ONNX file."""
    paddle: PaddleModel | None = None
    """The model in Paddle's format, or None: there is none, or another format is wanted."""
    om: Path | None = None
    """The offline model of Ascend, or None: there is none, or another format is wanted."""
    om_digest: str | None = None
    """`sha256:<hex>` of the offline model."""
    notes: tuple[str, ...] = ()
    """What a person should know of how its files were had, one sentence each: a server that did not answer, say."""

    @property
    def formats(self) -> tuple[ModelFormat, ...]:
        """The formats that are there and wanted; at least one."""
        held: tuple[tuple[ModelFormat, object], ...] = (
            ("onnx", self.onnx),
            ("paddle", self.paddle),
            ("om", self.om),
        )
        return tuple(name for name, there in held if there is not None)


@dataclass(frozen=True)
class Fetching:
    """What is needed where a source is not on this machine."""

    endpoint: str | None = None
    """Address of the service behind the source, or None: the public one."""
    credentials: str | None = None
    """Name of the Secret with its credentials, or None."""
    settings: SourceSettings = DEFAULT_SETTINGS
    tell: Tell = tell_nobody
    """Receives the progress."""


LOCAL: Final = Fetching()


def assemble(
    name: str,
    source: str,
    wanted_digest: str | None,
    *,
    store: Store,
    models: Path,
    read_metadata: MetadataReader,
    wanted_format: WantedFormat = "Auto",
    fetching: Fetching = LOCAL,
) -> AssembledModel:
    """Return the model directory of one source; a directory of the user's is used in place, never written.

    Nothing is converted here: a model in Paddle's format alone has no ONNX file yet (see `complete`).

    Args:
        name: PaddleX's name of the model.
        source: Where the files come from; see `hpi_agent.models.sources`.
        wanted_digest: `sha256:<hex>` that the model must have (see `AssembledModel.digest`), or None.
        store: Where assembled directories are published.
        models: Folder with `<name>.yml`, the part of `inference.yml` that weights files lack.
        read_metadata: Reads the custom metadata of an ONNX file.
        wanted_format: The format to take where a directory holds several.
        fetching: How a source that is not on this machine is had.

    Raises:
        Refused: The digest differs, the wanted format is not there, or the directory belongs to a model of another
            name.
        SourceFailed: The source cannot deliver, or the project has no `inference.yml` part for the model.
        Stop: The store cannot be written.
        Retry: The weights changed while they were read.
    """
    shown = shown_address(source)

    def digest_in(directory: Path) -> str:
        model = _in_directory(name, shown, directory, wanted_format)
        _check_digest(name, shown, model.digest, wanted_digest)
        return model.digest

    request = SourceRequest(source, fetching.endpoint, fetching.credentials, wanted_digest)
    fetched = fetch(request, fetching.settings, store, check=digest_in, tell=fetching.tell)
    found = fetched.located
    if isinstance(found, ModelDirectory):
        model = _in_directory(name, shown, found.path, wanted_format)
        _check_digest(name, shown, model.digest, wanted_digest)
        _check_name(name, found.path / INFERENCE_YML)
        return replace(model, notes=fetched.notes)
    if wanted_format in ("Paddle", "OM"):
        raise Refused(
            f"model {name!r}: {shown} is an ONNX file, the manifest wants the format {wanted_format}; correct one"
        )
    digest = _digest(name, found.path)
    _check_digest(name, shown, digest, wanted_digest)
    part = _inference_part(name, models)
    key = digest_of_json({"format": ASSEMBLY_FORMAT, "weights": digest, "inference": part})
    # What is in the store never changes, so that a second name for it will do.
    copy = _link if found.path.is_relative_to(store.root) else _copy
    write = partial(_write, copy, found.path, digest, part, read_metadata)
    directory = store.publish("models", key, write, about={"model": name})
    return AssembledModel(name, directory, digest, directory / ONNX, digest, notes=fetched.notes)


def complete(model: AssembledModel, onnx: Path, store: Store) -> Path:
    """Return a published directory with an ONNX file and the `inference.yml` of the model that it was converted from.

    Args:
        model: Where `inference.yml` comes from.
        onnx: The ONNX file, as converted; in the store or elsewhere.
        store: Where the directory is published.

    Raises:
        SourceFailed: A file cannot be read.
        Retry: A file changed while it was copied.
    """
    yml = model.directory / INFERENCE_YML
    digests = {onnx: _digest(model.name, onnx), yml: _digest(model.name, yml)}
    key = digest_of_json({"format": ASSEMBLY_FORMAT, "weights": digests[onnx], "inference.yml": digests[yml]})

    def write(directory: Path) -> None:
        _copy(onnx, directory / ONNX, digests[onnx])
        _copy(yml, directory / INFERENCE_YML, digests[yml])

    return store.publish("models", key, write, about={"model": model.name})


def _in_directory(name: str, source: str, directory: Path, wanted: WantedFormat) -> AssembledModel:
    onnx = directory / ONNX if wanted in ("Auto", "ONNX") and (directory / ONNX).is_file() else None
    # Half a model of Paddle stops nobody who wants another format.
    paddle = find_paddle_model(directory) if wanted in ("Auto", "Paddle") else None
    om = directory / OM if wanted in ("Auto", "OM") and (directory / OM).is_file() else None
    if onnx is None and paddle is None and om is None:
        raise Refused(
            f"model {name!r}: the manifest wants the format {wanted}, {source} holds no such model; deliver it, or "
            "set format: Auto"
        )
    onnx_digest = None if onnx is None else _digest(name, onnx)
    om_digest = None if om is None else _digest(name, om)
    digest = onnx_digest or (paddle.digest if paddle else None) or om_digest or ""
    return AssembledModel(name, directory, digest, onnx, onnx_digest, paddle, om, om_digest)


def _check_digest(name: str, source: str, seen: str, wanted: str | None) -> None:
    if wanted not in (None, seen):
        raise Refused(f"model {name!r}: {source} has {seen}, the manifest demands {wanted}; one of them is wrong")


def _digest(name: str, file: Path) -> str:
    try:
        return digest_of_file(file)
    except OSError as error:
        raise SourceFailed(f"model {name!r}: {file} cannot be read: {error.strerror}") from error


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


def _write(
    copy: Callable[[Path, Path, str], None],
    weights: Path,
    digest: str,
    part: dict[str, Any],
    read_metadata: MetadataReader,
    directory: Path,
) -> None:
    target = directory / ONNX
    copy(weights, target, digest)
    completed = dict(part)
    dictionary = part.get("PostProcess", {}).get("character_dict")
    if isinstance(dictionary, dict):
        characters = _characters(read_metadata(target), dictionary[FROM_METADATA])
        completed["PostProcess"] = {**part["PostProcess"], "character_dict": characters}
    (directory / INFERENCE_YML).write_text(
        yaml.dump(completed, Dumper=_DUMPER, allow_unicode=True, sort_keys=False, width=1000), encoding="utf-8"
    )


def _link(source: Path, target: Path, _: str) -> None:
    link(source, target)


def _copy(source: Path, target: Path, digest: str) -> None:
    shutil.copyfile(source, target)
    if (copied := digest_of_file(target)) != digest:
        raise Retry(f"{source} changed while it was read: it had {digest}, the copy has {copied}; start again")


def _characters(metadata: dict[str, str], key: str) -> list[str]:
    if key not in metadata:
        raise SourceFailed(f"the ONNX file must carry its characters as metadata {key!r}; it has {sorted(metadata)}")
    # Split at line feeds only: some characters of the dictionary are line separators to str.splitlines.
    return metadata[key].removesuffix("\n").split("\n")


def _check_name(name: str, path: Path) -> None:
    try:
        seen = _read_yml(path)["Global"]["model_name"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        raise SourceFailed(f"model {name!r}: {path} must be YAML with Global.model_name: {error}") from error
    if seen != name:
        raise Refused(f"model {name!r}: {path} belongs to the model {seen!r}; correct the name or the source")


def read_inference_yml(path: Path) -> dict[str, Any]:
    """Return the `inference.yml` of a model directory; parsed once a process as long as the file stays the same.

    The document is shared between its callers: none of them may change it.

    Raises:
        SourceFailed: It cannot be read, is too large or too deep, or is no mapping.
    """
    try:
        document = _read_yml(path)
        if not isinstance(document, dict):
            raise ValueError(f"it is {type(document).__name__}")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SourceFailed(f"{path} must be YAML with a mapping: {error}; deliver the model again") from error
    return document


def _read_yml(path: Path) -> Any:
    status = path.stat()
    return _parsed(path, (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))


# The 18,708 characters of one recogniser take 0.08 s, and a starting worker needs them twice: for the key of the
# decision, and in PaddleX.
@lru_cache(maxsize=MAX_PARSED)
def _parsed(path: Path, _: tuple[int, ...]) -> Any:
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
