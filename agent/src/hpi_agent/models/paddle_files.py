"""Models in Paddle's own format: a program and its weights, in one directory, in one of two generations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from hpi_agent.store.directory import digest_of_file
from hpi_core.digest import digest_of_json
from hpi_core.errors import SourceFailed

Generation = Literal["pir", "legacy"]

PROGRAMS: Final[tuple[tuple[str, Generation], ...]] = (("inference.json", "pir"), ("inference.pdmodel", "legacy"))
"""Program files in order of preference, as PaddleX takes them (paddlex 3.7.2, `model_paths.py`)."""
WEIGHTS: Final = "inference.pdiparams"

MAX_PROGRAM_BYTES: Final = 64 * 2**20
"""Largest program that is read; those of PP-OCR have 0.1 to 2 MB. Unit: bytes."""
MAX_PIR_VERSION: Final = 1000
"""Beyond it a version is no version: Paddle 3.3.1 writes 4."""


@dataclass(frozen=True)
class PaddleModel:
    """One model in Paddle's own format."""

    directory: Path
    program: Path
    weights: Path
    generation: Generation
    """`pir`: `inference.json`, written since Paddle 3; `legacy`: `inference.pdmodel`."""
    pir_version: int | None
    """`base_code.version` of a PIR program: 1 from Paddle 3.0.0, 3 from 3.2.2, 4 from 3.3.1. None: a legacy program."""
    digest: str
    """`sha256:<hex>` over the digests of program and weights."""


def find_paddle_model(directory: Path) -> PaddleModel | None:
    """Return the model in Paddle's format that a directory holds, or None when it holds no file of one.

    Raises:
        SourceFailed: It holds half a model, or a program that cannot be read or is none.
    """
    programs = [(directory / name, generation) for name, generation in PROGRAMS if (directory / name).is_file()]
    weights = directory / WEIGHTS
    if not programs and not weights.is_file():
        return None
    if not programs or not weights.is_file():
        seen = [path.name for path, _ in programs] or [WEIGHTS]
        raise SourceFailed(
            f"{directory} holds half a model of Paddle: {seen} without "
            f"{'its program' if not programs else WEIGHTS}; a whole one is {WEIGHTS} beside "
            f"{' or '.join(name for name, _ in PROGRAMS)}. Deliver it again"
        )
    program, generation = programs[0]
    try:
        if weights.stat().st_size == 0:
            raise SourceFailed(f"{weights} is empty; deliver the model again")
        if generation == "legacy":
            _check_size(program)
        version = read_pir_program(program)["base_code"]["version"] if generation == "pir" else None
        digest = digest_of_paddle_files(program, weights)
    except OSError as error:
        raise SourceFailed(f"the model in {directory} cannot be read: {error.strerror} ({error.filename})") from error
    return PaddleModel(directory, program, weights, generation, version, digest)


def digest_of_paddle_files(program: Path, weights: Path) -> str:
    """Return the digest of a model: SHA-256 of canonical JSON with the digests of both files.

    Raises:
        OSError: A file cannot be read.
    """
    return digest_of_json({"program": digest_of_file(program), "weights": digest_of_file(weights)})


def read_pir_program(program: Path) -> dict[str, Any]:
    """Return a PIR program as it was written.

    Raises:
        SourceFailed: It is too large, no JSON, or no program of PIR.
        OSError: It cannot be read.
    """
    try:
        with program.open("rb") as file:
            data = file.read(MAX_PROGRAM_BYTES + 1)
        if len(data) > MAX_PROGRAM_BYTES:
            raise ValueError(f"it is larger than {MAX_PROGRAM_BYTES} bytes")
        document: Any = json.loads(data)
        base = document["base_code"]
        version = base["version"]
        if base["magic"] != "pir" or type(version) is not int or not 0 <= version <= MAX_PIR_VERSION:
            raise ValueError(f"its base_code is {str(base)[:200]}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        # RecursionError: nested more deeply than any program is.
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise SourceFailed(
            f"{program} must be JSON with base_code.magic 'pir' and a version from 0 to {MAX_PIR_VERSION}: {what}; "
            "deliver or export the model again"
        ) from error
    assert isinstance(document, dict)  # noqa: S101 - it has the key base_code
    return document


@dataclass(frozen=True)
class DeclaredInput:
    """One input as a program declares it."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    """None stands for a dimension that the caller chooses."""


def read_inputs(model: PaddleModel) -> tuple[DeclaredInput, ...] | None:
    """Return the inputs of a PIR program in order, or None where only Paddle itself can tell: a legacy program, say.

    Raises:
        SourceFailed: The program cannot be read.
    """
    if model.generation != "pir":
        return None
    try:
        operations = read_pir_program(model.program)["program"]["regions"][0]["blocks"][0]["ops"]
        return tuple(_input_of(operation) for operation in operations if operation["#"].rpartition(".")[2] == "data")
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        # Another layout than those of versions 1 to 4: what the program declares is known once Paddle has loaded it.
        return None
    except OSError as error:
        raise SourceFailed(f"{model.program} cannot be read: {error.strerror}") from error


def _input_of(operation: dict[str, Any]) -> DeclaredInput:
    attributes = {attribute["N"]: attribute["AT"]["D"] for attribute in operation["A"]}
    shape = tuple(None if size < 0 else int(size) for size in attributes["shape"])
    return DeclaredInput(str(attributes["name"]), str(attributes["dtype"]), shape)


def _check_size(program: Path) -> None:
    size = program.stat().st_size
    if not 0 < size <= MAX_PROGRAM_BYTES:
        raise SourceFailed(f"{program} has {size} bytes; 1 to {MAX_PROGRAM_BYTES} are allowed; deliver the model again")
